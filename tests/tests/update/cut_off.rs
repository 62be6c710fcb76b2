//! The gate is killed at each of its steps, and does the rest at the next start: whatever the power is cut between.

use std::process::{Command, Output};

use tidegate_tests::peer;

use crate::site::{Site, copy};

/// Calls that change what is on the disk.
const CALLS: &str =
    "rename,renameat,renameat2,link,linkat,unlink,unlinkat,rmdir,mkdir,mkdirat,fsync,fdatasync";
/// More than any gate makes.
const CALLS_MAX: usize = 600;
/// What the gate works at.
const FOLDERS: [&str; 4] = ["bin", "lib", "state", "data"];

const MIGRATES: &str = "[ \"$1\" = run ] || exit 2\n\
                        printf 'tidegate-store 5\\n' > data/store/format\n\
                        rm -rf data/store/generations\n\
                        exit 1";

/// The gate, killed at its `number`-th call, as is its process for the store.
fn cut_off(site: &Site, number: usize) -> Output {
    let gate = site.gate_command();
    let mut command = Command::new("strace");
    command
        .args(["-f", "-o", "/dev/null", "-e"])
        .arg(format!("trace={CALLS}"))
        .arg("-e")
        .arg(format!("inject={CALLS}:signal=KILL:when={number}"))
        .arg(gate.get_program())
        .args(gate.get_args());
    command.output().expect("strace runs")
}

fn keep_all(site: &Site) {
    let kept = site.gateway.path("kept");
    std::fs::create_dir(&kept).expect("a folder");
    for folder in FOLDERS {
        std::fs::create_dir_all(site.gateway.path(folder)).expect("a folder");
        copy(&site.gateway.path(folder), &kept.join(folder));
    }
}

fn as_kept(site: &Site) {
    for folder in FOLDERS {
        let path = site.gateway.path(folder);
        std::fs::remove_dir_all(&path).expect("it is there");
        copy(&site.gateway.path("kept").join(folder), &path);
    }
}

/// Kills the gate at its first call, its second …, until it needs no more of them; `then` looks at what comes of each.
fn at_each_step(site: &mut Site, mut then: impl FnMut(&mut Site, usize)) {
    keep_all(site);
    for number in 1..CALLS_MAX {
        as_kept(site);
        let ended = cut_off(site, number);
        let is_whole = ended.status.success();
        then(site, number);
        if is_whole && !String::from_utf8_lossy(&ended.stdout).contains("cannot") {
            assert!(number > 5, "the calls are found: {ended:?}");
            return;
        }
    }
    panic!("it makes more than {CALLS_MAX} calls");
}

#[test]
fn a_gate_that_is_cut_off_while_it_puts_back_does_the_rest() {
    let test = "a_gate_that_is_cut_off_while_it_puts_back_does_the_rest";
    if peer::find("strace", test).is_none() {
        return;
    }
    let mut site = Site::with_events(30);
    site.install(MIGRATES);
    for _ in 0..3 {
        site.fails();
    }
    at_each_step(&mut site, |site, number| {
        site.start();
        assert!(site.is_old(), "cut off at call {number}");
        assert_eq!(site.waiting(), 30, "cut off at call {number}");
        assert!(
            !site.data("store.refused").exists(),
            "cut off at call {number}"
        );
        assert!(
            !site.data("before-upgrade").exists(),
            "cut off at call {number}"
        );
        assert!(!site.gateway.path("bin/tidegate.gate").exists());
        site.gateway.kill();
    });
}

#[test]
fn a_gate_that_is_cut_off_while_it_makes_a_backup_makes_another() {
    let test = "a_gate_that_is_cut_off_while_it_makes_a_backup_makes_another";
    if peer::find("strace", test).is_none() {
        return;
    }
    let mut site = Site::with_events(30);
    site.install(MIGRATES);
    at_each_step(&mut site, |site, number| {
        // A backup that could not be made is why a release is put back at once; one that was cut off is made again.
        for _ in 0..4 {
            site.passed();
            if site.is_old() {
                break;
            }
            let ended = site.gateway.command().status();
            assert!(!ended.expect("it starts").success());
        }
        site.start();
        assert!(site.is_old(), "cut off at call {number}");
        assert_eq!(site.waiting(), 30, "cut off at call {number}");
        site.gateway.kill();
    });
}
