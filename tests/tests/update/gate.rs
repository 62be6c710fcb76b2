//! What the gate decides, start by start.

use std::process::{Command, Stdio};
use std::time::{Duration, Instant};

use tidegate_tests::gateway::told::troubles;
use tidegate_tests::gateway::user::OtherUser;
use tidegate_tests::wait::{self, PATIENCE};
use tidegate_tests::{mqtt, peer, trace};

use crate::site::Site;

/// A release that makes another store of it and ends.
const MIGRATES: &str = "[ \"$1\" = run ] || exit 2\n\
                        printf 'tidegate-store 5\\n' > data/store/format\n\
                        rm -rf data/store/generations data/store/documents\n\
                        echo all new > data/store/heap\n\
                        exit 1";

/// Three starts that fail, and the one after them: the release from before runs, and has its events.
fn is_put_back(site: &mut Site, store: &str) {
    for number in 1..=3 {
        let said = site.fails();
        assert!(said.contains(&format!("start {number} of 3")), "{said}");
        assert!(!site.is_old());
    }
    let said = site.start();
    assert!(said.contains("was put back in its place"), "{said}");
    assert!(said.contains(store), "{said}");
    assert!(site.is_old());
    assert_eq!(site.waiting(), 30);
    // It takes more.
    site.publish(1);
    assert_eq!(site.waiting(), 31);
}

#[test]
fn a_release_that_is_never_ready_in_three_starts_is_put_back_and_told_everywhere() {
    let mut site = Site::with_events(30);
    site.install("exit 1");
    is_put_back(&mut site, "the store is untouched");

    let gateway = &site.gateway;
    let found = troubles(gateway);
    let told =
        |line: &String| line.contains("was not ready in three starts") && line.contains("dpkg -l");
    assert!(found.iter().any(told), "{found:?}");
    assert!(gateway.whole_log().contains("was put back in its place"));
    let events = || gateway.events(&["--type", "dev.tidegate.gateway.put_back"]);
    wait::find("the event", || {
        let events = events();
        (events.len() == 1)
            .then_some(())
            .ok_or(format!("{events:?}"))
    });
    assert!(site.gateway.path("lib/previous/refused").exists());
    assert!(!site.data("before-upgrade").exists());

    // Once: a start later it is the same trouble, and no news.
    assert!(site.gateway.terminate().success());
    assert!(site.start().contains("ready before"));
    site.publish(1);
    assert!(troubles(&site.gateway).iter().any(told));
    assert_eq!(
        site.gateway
            .events(&["--type", "dev.tidegate.gateway.put_back"])
            .len(),
        1
    );

    // Whoever installs something has seen it.
    assert!(site.gateway.terminate().success());
    assert_eq!(site.keep()["kept"], true);
    site.start();
    assert!(!troubles(&site.gateway).iter().any(told));

    // The same once more is news again.
    assert!(site.gateway.terminate().success());
    site.keep();
    site.install("exit 1");
    for _ in 0..3 {
        site.fails();
    }
    site.start();
    wait::until("the second event", || {
        site.gateway
            .events(&["--type", "dev.tidegate.gateway.put_back"])
            .len()
            == 2
    });
}

#[test]
fn whatever_keeps_a_release_from_being_ready_it_is_put_back() {
    // A loader that is missing is what a missing library looks like.
    for broken in ["#!/no/such/loader\n", "not even a program", ""] {
        let mut site = Site::with_events(30);
        site.install_bytes(broken.as_bytes());
        is_put_back(&mut site, "the store is untouched");
    }
}

#[test]
fn a_release_that_hangs_is_put_back() {
    let mut site = Site::with_events(30);
    site.install("exec sleep 100000");
    for _ in 0..3 {
        site.passed();
        let mut process = site.gateway.command().spawn().expect("it starts");
        std::thread::sleep(Duration::from_millis(100));
        // What the service manager does at the end of `TimeoutStartSec`.
        process.kill().expect("it runs");
        process.wait().expect("a child");
    }
    let said = site.start();
    assert!(said.contains("was put back"), "{said}");
    assert_eq!(site.waiting(), 30);
}

#[test]
fn a_store_that_a_failed_release_made_another_of_is_the_one_from_before_again() {
    let mut site = Site::with_events(30);
    site.install(MIGRATES);
    site.passed();
    assert!(site.data("before-upgrade/store/format").exists());
    is_put_back_after_first(&mut site);
    assert_eq!(site.waiting(), 31);
    assert!(!site.data("before-upgrade").exists());
    assert!(!site.data("store.refused").exists());
    assert!(site.data("store/documents").exists());
}

/// The same where its first start was let through already.
fn is_put_back_after_first(site: &mut Site) {
    let mut first = site.gateway.command().spawn().expect("it starts");
    assert!(!first.wait().expect("a child").success());
    for number in 2..=3 {
        assert!(site.fails().contains(&format!("start {number} of 3")));
    }
    let said = site.start();
    assert!(said.contains("the store is the backup"), "{said}");
    assert_eq!(site.waiting(), 30);
    site.publish(1);
}

#[test]
fn a_release_that_becomes_ready_is_known_from_then_on_and_its_backup_goes() {
    let mut site = Site::with_events(30);
    site.install("exit 1");
    site.fails();
    site.install_working();
    assert!(site.start().contains("start 1 of 3"));
    site.publish(1);
    site.gateway.kill();
    assert!(site.start().contains("ready before"));
    assert!(!site.data("before-upgrade").exists());
    assert_eq!(site.waiting(), 31);
    // However it ends from now on, it stays.
    for _ in 0..5 {
        site.gateway.kill();
        assert!(site.start().contains("ready before"));
    }
}

#[test]
fn nothing_goes_to_and_fro_where_the_release_from_before_does_not_start_either() {
    let mut site = Site::with_events(30);
    let config = site.gateway.path("gateway.toml");
    let sound = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, format!("{sound}\nwrong = 1\n")).expect("a configuration");
    site.install("exit 1");
    for _ in 0..3 {
        site.fails();
    }
    for _ in 0..5 {
        site.fails();
        assert!(site.is_old());
    }
    std::fs::write(&config, sound).expect("a configuration");
    site.start();
    assert_eq!(site.waiting(), 30);
}

#[test]
fn a_configuration_that_a_new_release_refuses_is_tried_again_and_its_words_are_told() {
    let mut site = Site::with_events(30);
    site.install_working();
    let config = site.gateway.path("gateway.toml");
    let sound = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, format!("{sound}\nwrong = 1\n")).expect("a configuration");
    for _ in 0..3 {
        site.passed();
        // 78 would be the end of it for the service manager.
        let ended = site.gateway.command().status().expect("it runs");
        assert_eq!(ended.code(), Some(1), "{}", site.gateway.log());
    }
    std::fs::write(&config, sound).expect("a configuration");
    let said = site.start();
    assert!(said.contains("(last: the configuration"), "{said}");
}

#[test]
fn without_another_program_there_is_no_way_back_and_the_start_goes_on() {
    let mut site = Site::bare();
    site.install("exit 1");
    for _ in 0..5 {
        assert!(site.fails().contains("no program from before is kept"));
    }
    // One that was never ready is kept only where there is nothing else.
    assert_eq!(site.keep()["kept"], true);
    site.install_working();
    assert_eq!(site.keep()["kept"], false);
    assert!(site.start().contains("start 1 of 3"));
    assert!(site.gateway.terminate().success());
    assert_eq!(site.keep()["kept"], true);
}

#[test]
fn a_state_that_is_rubbish_is_set_aside_and_a_reboot_does_not_count() {
    let mut site = Site::with_events(30);
    site.install(MIGRATES);
    site.fails();
    site.fails();
    // The backup is of the store before the first start all the same.
    std::fs::write(site.gateway.path("state/state.json"), "\0\0\0rubbish").expect("rubbish");
    assert!(site.fails().contains("start 1 of 3"));
    assert!(site.gateway.path("state/state.json.unreadable").exists());
    for _ in 0..4 {
        site.change_state(|state| state["trial"]["boot"] = "another".into());
        assert!(site.fails().contains("start 1 of 3"));
    }
    assert!(site.fails().contains("start 2 of 3"));
    assert!(site.fails().contains("start 3 of 3"));
    site.start();
    assert!(site.is_old());
    // The format of the store is not known any more from the state, but from the backup.
    assert_eq!(site.waiting(), 30);
}

#[test]
fn a_gateway_that_runs_is_no_start_to_decide_about() {
    let mut site = Site::with_events(30);
    site.install_working();
    site.start();
    let before = site.state();
    for _ in 0..5 {
        assert!(site.passed().contains("a gateway runs"));
    }
    assert_eq!(site.state(), before);
}

#[test]
fn whoever_takes_a_failed_release_back_by_hand_has_the_store_from_before() {
    let mut site = Site::with_events(30);
    let old = std::fs::read(site.previous()).expect("the one before");
    site.install(MIGRATES);
    site.fails();
    site.install_bytes(&old);
    site.start();
    assert_eq!(site.waiting(), 30);
}

#[test]
fn nothing_is_acknowledged_before_the_mark_is_on_the_disk() {
    let test = "nothing_is_acknowledged_before_the_mark_is_on_the_disk";
    let mut site = Site::with_events(30);
    let mark = site.data("ready.json");
    let Some(_) = trace::tracer(&site.gateway.path("tried"), test) else {
        return;
    };
    let before = std::fs::read(&mark).expect("a mark");
    let tracer = [
        "strace",
        "-D",
        "-f",
        "-o",
        "/dev/null",
        "-e",
        "trace=rename",
        "-e",
    ];
    let tracer = tracer.map(Into::into).into_iter();
    let tracer = tracer.chain(["inject=rename:delay_enter=3000000".into(), "-P".into()]);
    let traced = tracer.chain([mark.clone().into_os_string()]).collect();
    site.gateway.under(traced);
    site.passed();
    site.gateway.start();
    let mut stream = mqtt::connect(site.gateway.address, "press", true).expect("it listens");
    let began = Instant::now();
    mqtt::publish_acknowledged(&mut stream, "hall/n", 1, b"{}");
    assert_ne!(std::fs::read(&mark).expect("a mark"), before);
    assert!(began.elapsed() < PATIENCE);
}

#[test]
fn what_the_gate_says_is_for_programs_too() {
    let site = Site::with_events(1);
    site.install("exit 1");
    let mut command = site.gate_command();
    let said = command
        .args(["--format", "json"])
        .stderr(Stdio::null())
        .output();
    let said: serde_json::Value =
        serde_json::from_slice(&said.expect("it runs").stdout).expect("JSON");
    assert_eq!(said["outcome"], "starts");
    assert_eq!(said["start"], 1);
    let help = Command::new(site.previous())
        .args(["self", "--help"])
        .output();
    let help = String::from_utf8(help.expect("it runs").stdout).expect("UTF-8");
    assert!(!help.contains("store-step"), "{help}");
}

#[test]
fn what_root_puts_back_stays_the_property_of_its_owner() {
    if !rustix::process::geteuid().is_root() {
        return peer::skip("what_root_puts_back", "this takes root");
    }
    let owner = OtherUser::named("daemon", None);
    let mut site = Site::bare();
    site.open_to_all();
    std::os::unix::fs::chown(site.data(""), Some(1), Some(1)).expect("root may");
    site.gateway.under(owner.words());
    site.install_bytes(
        &std::fs::read(tidegate_tests::gateway::binary::tidegate()).expect("a program"),
    );
    site.start();
    site.publish(30);
    assert!(site.gateway.terminate().success());
    site.keep();
    site.install(MIGRATES);
    site.passed();
    is_put_back_after_first(&mut site);
    // It reads what root remembers.
    let found = troubles(&site.gateway);
    let is_told = found
        .iter()
        .any(|line| line.contains("was not ready in three starts"));
    assert!(is_told, "{found:?}");
    let foreign = Command::new("find")
        .arg(site.data(""))
        .args(["-not", "-user", "daemon"])
        .output();
    assert_eq!(
        String::from_utf8_lossy(&foreign.expect("find runs").stdout),
        ""
    );
    // Whose data it is may lead root nowhere.
    assert!(site.gateway.terminate().success());
    site.install(MIGRATES);
    for _ in 0..3 {
        site.fails();
    }
    let victim = site.gateway.path("victim");
    std::fs::create_dir(&victim).expect("a folder");
    std::fs::remove_dir_all(site.data("store")).expect("it is there");
    std::os::unix::fs::symlink(&victim, site.data("store")).expect("a link");
    site.gate();
    assert!(victim.exists());
}
