//! Issue 13, number 5, through the package: a release that is never ready is installed by dpkg over one that works. One that
//! lacks a library; the long form has one that hangs, one that crashes and one for another machine, too.

use tidegate_tests::peer::debian::base::{self, Architecture};
use tidegate_tests::peer::debian::lifecycle::{CENTRAL, Machine};
use tidegate_tests::peer::debian::{Manager, deb};
use tidegate_tests::{gateway, wait};

const EVENTS: u32 = 500;
/// The unit's five minutes, three times, are too long for a test.
const QUICK: &str = "[Service]\nTimeoutStartSec=12s\n";
const QUICK_FILE: &str = "/etc/systemd/system/tidegate.service.d/quick.conf";
const HANGS: &[u8] = b"#!/bin/sh\nexec sleep 100000\n";
const CRASHES: &[u8] = b"#!/bin/sh\nkill -SEGV $$\n";
/// Number of the machine in the head of a program, and that of RISC-V.
const MACHINE: std::ops::Range<usize> = 18..20;
const RISC_V: [u8; 2] = [0xf3, 0];
/// A library that the program needs, and one that no machine has.
const LIBRARY: &[u8] = b"libgcc_s.so.1\0";
const NO_LIBRARY: &[u8] = b"libgcc_s.so.9\0";

fn of_another_machine(works: &[u8]) -> Vec<u8> {
    let mut program = works.to_vec();
    program[MACHINE].copy_from_slice(&RISC_V);
    program
}

fn without_a_library(works: &[u8]) -> Vec<u8> {
    let mut program = works.to_vec();
    let place = program
        .windows(LIBRARY.len())
        .position(|piece| piece == LIBRARY);
    let place = place.expect("it needs this library");
    program[place..place + LIBRARY.len()].copy_from_slice(NO_LIBRARY);
    program
}

/// A gateway whose package of before works, and what became of those that do not.
struct Trials {
    machine: Machine,
    count: usize,
}

impl Trials {
    /// Installs a package whose program is never ready, and waits until the one before it runs again.
    fn fails(&mut self, command: &str, version: &str) -> String {
        self.count += 1;
        let (machine, count) = (&self.machine, self.count);
        let root = &machine.root;
        let said = root.done(command);
        assert_eq!(machine.version(), format!("ii {version}"), "{said}");
        // Asked by the one that works: the other one hangs, whatever it is asked.
        wait::find("the one before is put back and runs", || {
            let told = root.said("/root/works status");
            let is_told = told.contains("was not ready in three starts");
            let events = root.said(
                "/root/works events list --type dev.tidegate.gateway.put_back --format json | grep -o '\"dev.tidegate.gateway.put_back\"' | wc -l",
            );
            let is_new = events.trim().parse() == Ok(count);
            (is_told && is_new).then_some(()).ok_or(told + &events)
        });
        root.done("systemctl is-active tidegate && cmp /usr/bin/tidegate /root/works");
        // As the README says it.
        assert_eq!(machine.version(), format!("ii {version}"));
        let verified = root.said("dpkg -V tidegate");
        let is_changed =
            |line: &str| line.starts_with("??5") && line.ends_with(" /usr/bin/tidegate");
        assert!(verified.lines().any(is_changed), "{verified}");
        let log = root.done("journalctl --no-pager -u tidegate");
        for words in ["start 1 of 3", "start 2 of 3", "start 3 of 3"] {
            assert_eq!(log.matches(words).count(), count, "{words}: {log}");
        }
        assert!(log.contains("was put back in its place"), "{log}");
        // It takes what comes, and has all that waited.
        root.done("mosquitto_pub -q 1 -t other/press -m 1");
        assert!(machine.waiting(CENTRAL) > Some(EVENTS.into()));
        said
    }
}

#[test]
fn a_package_whose_program_is_never_ready_is_put_back_and_nothing_is_lost() {
    if !base::possible("package") {
        return;
    }
    let machine = Machine::fresh(Architecture::Amd64, Manager::Systemd);
    let root = &machine.root;
    let package = deb::package(Architecture::Amd64, "0.0.8-1");
    let works = std::fs::read(gateway::binary::tidegate()).expect("the program");
    let bring =
        |version: &str, program: &[u8]| root.bring(&deb::with_program(&package, version, program));
    let kinds: [(&str, Vec<u8>, &str); 4] = [
        ("0.1.1-1", without_a_library(&works), "lacks a library"),
        ("0.1.2-1", HANGS.to_vec(), "hangs"),
        ("0.1.3-1", CRASHES.to_vec(), "crashes"),
        (
            "0.1.4-1",
            of_another_machine(&works),
            "is of another machine",
        ),
    ];
    let is_long = std::env::var_os("TIDEGATE_LONG").is_some();
    let kinds = kinds.into_iter().take(if is_long { 4 } else { 1 });
    let packages: Vec<_> = kinds
        .map(|(version, program, what)| (bring(version, &program), version, what))
        .collect();
    let good = bring("0.1.5-1", &[&works[..], b"another release"].concat());

    machine.is_installed_and_runs();
    root.done("cp /usr/bin/tidegate /root/works");
    root.write(QUICK_FILE, QUICK);
    root.done("systemctl daemon-reload");
    machine.holds_events(EVENTS);
    let mut trials = Trials { machine, count: 0 };
    for (file, version, what) in &packages {
        let said = trials.fails(&format!("dpkg -i {file}"), version);
        println!("one that {what} is put back");
        assert!(
            said.contains("the service is not running yet"),
            "{what}: {said}"
        );
    }
    // Once more is three starts more.
    let (file, version, _) = packages.last().expect("one at least");
    trials.fails(&format!("apt-get install -y --reinstall {file}"), version);

    let machine = trials.machine;
    let root = &machine.root;
    root.done(&format!("rm {QUICK_FILE}; systemctl daemon-reload"));
    root.done(&format!("apt-get install -y {good}"));
    root.done("systemctl is-active tidegate");
    assert_eq!(machine.version(), "ii 0.1.5-1");
    assert!(
        !root.holds("cmp -s /usr/bin/tidegate /root/works"),
        "the new one runs"
    );
    let told = root.done("tidegate status && { dpkg -V tidegate || true; }");
    assert!(
        !told.contains("was not ready") && !told.contains("/usr/bin/tidegate"),
        "{told}"
    );
    machine.delivers_events(EVENTS);
}
