//! Starts over a broken rules folder, with a last good set in the store and without.

use std::os::unix::fs::symlink;

use crate::site::{
    Change, FILE, GOOD, chmod, gateway, has_trouble, holds, obeys, publish, refused, restore,
    status, without_privileges, write,
};

#[test]
fn to_run_without_rules_they_are_taken_out_of_the_configuration() {
    let mut gateway = gateway();
    gateway.start();
    obeys(&gateway, "with/rules");
    gateway.terminate();
    let path = gateway.path("gateway.toml");
    let with = std::fs::read_to_string(&path).expect("a configuration");
    let without = with.replace("rules = \"rules\"\n", "");
    assert_ne!(with, without);
    std::fs::write(&path, without).expect("it is ours");
    gateway.start();
    publish(&gateway, "without/rules");
    gateway.wait_until("it goes to every upstream", || {
        holds(&gateway, "meant.jsonl", "without/rules")
            && holds(&gateway, "other.jsonl", "without/rules")
    });
    gateway.terminate();
    // That was meant: the old rules do not come back.
    std::fs::write(&path, with).expect("it is ours");
    std::fs::write(gateway.path(FILE), "rule broken").expect("it is ours");
    gateway.launch();
    assert_eq!(gateway.ended().code(), Some(78));
}

/// How a folder may be at a start.
const AT_START: [(&str, Change); 10] = [
    ("no form", |f| write(f, FILE, "rule keep")),
    ("no such upstream", |f| {
        write(f, FILE, "rule keep { on \"#\" send to nobody }")
    }),
    ("two declarations", |f| {
        let event = |name: &str| format!("event {name} {{ topic \"a/#\" }}\n");
        write(f, FILE, &format!("{}{}{GOOD}", event("a"), event("b")));
    }),
    ("no UTF-8", |f| {
        std::fs::write(f.join(FILE), b"rule \xff").expect("it is ours")
    }),
    ("closed", |f| chmod(f.join(FILE), 0o000)),
    ("a link to nowhere", |f| {
        std::fs::remove_file(f.join(FILE)).expect("it is ours");
        symlink("nowhere", f.join(FILE)).expect("it is ours");
    }),
    ("no folder", |f| {
        std::fs::remove_dir_all(f.join("rules")).expect("it is ours")
    }),
    ("empty", |f| {
        std::fs::remove_file(f.join(FILE)).expect("it is ours")
    }),
    ("cut off", |f| write(f, FILE, "")),
    ("commented out", |f| write(f, FILE, "# rule keep\n")),
];
/// Of these, the ones that hold no rules, without being wrong.
const WITHOUT_RULES: [&str; 3] = ["empty", "cut off", "commented out"];

#[test]
fn a_start_over_a_broken_folder_runs_the_last_good_rules_and_says_so() {
    let mut gateway = gateway();
    without_privileges(&mut gateway);
    gateway.start();
    let folder = gateway.dir.path().to_path_buf();
    for (number, (what, change)) in AT_START.into_iter().enumerate() {
        // Stopped in order, or not.
        if number % 2 == 0 {
            gateway.kill();
        } else {
            gateway.terminate();
        }
        change(&folder);
        gateway.start();
        gateway.wait_until("it is told", || refused(&gateway).is_some());
        assert!(has_trouble(&gateway, "the last good set"), "{what}");
        let rules = status(&gateway)["rules"].clone();
        assert!(
            rules["last_good_ms"].is_i64() && rules["rules"] == 1,
            "{what}: {rules}"
        );
        let shown = gateway.ask(&["status"]).stdout;
        let shown = String::from_utf8_lossy(&shown).into_owned();
        assert!(shown.contains("the last good set, of "), "{what}: {shown}");
        gateway.wait_until("the log tells", || gateway.log().contains("rules refused"));
        obeys(&gateway, &format!("start/{number}"));
        restore(&folder);
        gateway.wait_until("it is mended", || refused(&gateway).is_none());
        assert!(
            status(&gateway)["rules"]["last_good_ms"].is_null(),
            "{what}"
        );
    }
}

#[test]
fn without_a_last_good_set_a_start_over_a_broken_folder_ends() {
    for (what, change) in AT_START {
        let mut gateway = gateway();
        without_privileges(&mut gateway);
        change(gateway.dir.path());
        if WITHOUT_RULES.contains(&what) {
            gateway.start();
            publish(&gateway, "new/gateway");
            gateway.wait_until("it goes to every upstream", || {
                holds(&gateway, "other.jsonl", "new/gateway")
            });
            assert!(has_trouble(&gateway, "holds no rules"), "{what}");
            restore(gateway.dir.path());
            gateway.wait_until("rules end the trouble", || {
                !has_trouble(&gateway, "holds no rules")
            });
            // Now there are some, and they stay.
            change(gateway.dir.path());
            gateway.wait_until("it is told", || refused(&gateway).is_some());
            let topic = "with/rules";
            publish(&gateway, topic);
            gateway.wait_until("they are obeyed", || holds(&gateway, "meant.jsonl", topic));
            assert!(!holds(&gateway, "other.jsonl", topic), "{what}");
        } else {
            gateway.launch();
            assert_eq!(
                gateway.ended().code(),
                Some(78),
                "{what}: {}",
                gateway.log()
            );
            assert!(gateway.log().contains("rules"), "{what}: {}", gateway.log());
        }
    }
}

#[test]
fn a_last_good_set_that_names_an_upstream_which_is_gone_cannot_be_run() {
    for (what, change) in AT_START {
        let mut gateway = gateway();
        without_privileges(&mut gateway);
        gateway.start();
        gateway.terminate();
        let path = gateway.path("gateway.toml");
        let config = std::fs::read_to_string(&path).expect("a configuration");
        let renamed = config.replace("[upstreams.meant]", "[upstreams.another]");
        std::fs::write(&path, renamed).expect("it is ours");
        change(gateway.dir.path());
        gateway.launch();
        assert_eq!(
            gateway.ended().code(),
            Some(78),
            "{what}: {}",
            gateway.log()
        );
        let log = gateway.log();
        assert!(
            log.contains("cannot be used either") && log.contains("`meant`"),
            "{what}: {log}"
        );
    }
}

/// What becomes of the last good set in the store.
const DAMAGE: [(&str, Change); 4] = [
    ("cut off", |f| write(f, KEPT, "")),
    ("other bytes", |f| {
        write(f, KEPT, "{\"version\":1,\"kept_ms\":1,\"files\":[]}")
    }),
    ("one byte less", |f| {
        let bytes = std::fs::read(f.join(KEPT)).expect("it is ours");
        std::fs::write(f.join(KEPT), &bytes[1..]).expect("it is ours");
    }),
    ("a folder in its place", |f| {
        std::fs::remove_file(f.join(KEPT)).expect("it is ours");
        std::fs::create_dir(f.join(KEPT)).expect("it is ours");
    }),
];
const KEPT: &str = "data/store/documents/rules";

#[test]
fn a_damaged_last_good_set_does_not_let_go_of_the_rules_either() {
    for (what, damage) in DAMAGE {
        let mut gateway = gateway();
        gateway.start();
        gateway.kill();
        damage(gateway.dir.path());
        std::fs::remove_file(gateway.path(FILE)).expect("it is ours");
        gateway.launch();
        assert_eq!(
            gateway.ended().code(),
            Some(78),
            "{what}: {}",
            gateway.log()
        );
        let log = gateway.log();
        assert!(log.contains("cannot be used either"), "{what}: {log}");
        // A folder that is right needs no other set.
        restore(gateway.dir.path());
        gateway.start();
        obeys(&gateway, "with/rules");
    }
}

#[test]
fn a_full_disk_or_a_closed_store_keeps_no_rules_from_being_changed() {
    let mut gateway = gateway();
    gateway.start();
    // Nothing can be written where the last good set is kept.
    std::fs::remove_dir_all(gateway.path("data/store/documents")).expect("it is ours");
    std::fs::write(gateway.path("data/store/documents"), "").expect("it is ours");
    gateway.write(FILE, &format!("# changed\n{GOOD}"));
    gateway.wait_until("it is in force", || {
        status(&gateway)["rules"]["generation"] == 2
    });
    gateway.wait_until("that it is not kept is told", || {
        has_trouble(&gateway, "cannot be kept")
    });
    obeys(&gateway, "not/kept");
    std::fs::remove_file(gateway.path("data/store/documents")).expect("it is ours");
    gateway.write(FILE, &format!("# changed again\n{GOOD}"));
    gateway.wait_until("it is kept again", || {
        !has_trouble(&gateway, "cannot be kept")
    });
}
