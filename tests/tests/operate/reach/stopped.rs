//! A store that no gateway has open is looked at by the group as well, under every umask and after every end, and on a
//! disk that takes nothing; nothing of it is written, its keys stay closed, and a gateway that starts meanwhile is not
//! held up.

use std::path::Path;
use std::process::Command;
use std::sync::atomic::{AtomicBool, Ordering};

use tidegate_tests::gateway::user::may_change;
use tidegate_tests::gateway::{End, Gateway};
use tidegate_tests::peer::small_disk::{Kind, SmallDisk};

use super::{Answer, CONFIG, MEMBER, OWNER, RULES, STRANGER, check, fill, gateway, said};

/// All that is in a folder: names, modes, owners, times, contents.
fn everything(folder: &Path) -> String {
    let line = "find . -printf '%P %m %u:%g %s %T@ %C@\\n' | sort; find . -type f | sort | xargs cat | sha256sum";
    let output = Command::new("sh")
        .args(["-c", line])
        .current_dir(folder)
        .output()
        .expect("sh runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// Runs the gateway as its owner under a umask.
fn under_umask(gateway: &mut Gateway, umask: &str) {
    let mut words = OWNER.words();
    let line = format!("umask {umask}; exec \"$@\"");
    words.extend(["sh", "-c", &line, "sh"].map(Into::into));
    gateway.under(words);
}

#[test]
fn number_8_the_group_looks_at_a_store_that_no_gateway_has_open() {
    if !may_change("who may look at a store without a gateway") {
        return;
    }
    let cases = [
        ("077", End::Terminated),
        ("077", End::Killed),
        ("022", End::Killed),
        ("027", End::Terminated),
    ];
    for (umask, end) in cases {
        let mut gateway = gateway("group = \"games\"");
        under_umask(&mut gateway, umask);
        gateway.start();
        let [letter, _] = fill(&gateway);
        // A change of the rules is kept, with the key of the audit, among the documents.
        let id = gateway.events(&["--topic", "fine/#"])[0]["event"]["id"].clone();
        gateway.end(end);
        let data = gateway.path("data");
        let before = everything(&data);
        let looks: [&[&str]; 7] = [
            &["events", "list"],
            &["events", "show", id.as_str().expect("an id")],
            &["dead-letters", "list"],
            &["dead-letters", "show", &letter],
            &["store", "status"],
            &["store", "verify"],
            &["store", "lanes", "list"],
        ];
        for request in looks {
            for user in [&OWNER, &MEMBER] {
                check(&gateway, user, request, Answer::Done);
                assert_eq!(everything(&data), before, "umask {umask} {request:?}");
            }
            check(&gateway, &STRANGER, request, Answer::Closed);
        }
        changes_are_refused(&gateway, &letter);
        assert_eq!(everything(&data), before, "umask {umask}: refused changes");
        documents_are_closed(&gateway);
        gateway.start();
        check(&gateway, &MEMBER, &["events", "list"], Answer::Done);
        assert_eq!(gateway.dead_letters().len(), 2, "umask {umask}");
    }
}

/// Whatever a member asks to be changed is refused with who may.
fn changes_are_refused(gateway: &Gateway, letter: &str) {
    let config = gateway.path("gateway.toml").display().to_string();
    let backup = gateway.path("data/backup").display().to_string();
    let requests: [(&[&str], &[&str]); 5] = [
        (
            &["dead-letters", "drop", letter],
            &["sudo -u daemon", "may not change", "www-data"],
        ),
        (
            &["dead-letters", "drop", "--yes", "--all"],
            &["sudo -u daemon", "may not change", "www-data"],
        ),
        (
            &["dead-letters", "retry", letter],
            &["only a running gateway"],
        ),
        (
            &["store", "lanes", "drop", "old"],
            &["only a running gateway"],
        ),
        (
            &["store", "backup", &backup],
            &["sudo -u daemon", "may not change", "www-data"],
        ),
    ];
    for (request, words) in requests {
        let output = MEMBER.run(gateway, &[request, &["--config", &config]].concat());
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{request:?}: {text}");
        for word in words {
            assert!(text.contains(word), "{word} for {request:?}: {text}");
        }
    }
}

/// Among the documents is the key under which secrets are audited.
fn documents_are_closed(gateway: &Gateway) {
    let documents = gateway.path("data/store/documents");
    assert!(documents.join("audit").exists(), "there is one");
    for user in [&MEMBER, &STRANGER] {
        let words = user.words();
        let listed = Command::new(&words[0])
            .args(&words[1..])
            .args(["ls", "-R"])
            .arg(&documents)
            .output();
        assert!(!listed.expect("ls runs").status.success(), "{}", user.name);
    }
}

#[test]
fn number_8_who_looks_holds_up_no_gateway() {
    if !may_change("who looks at a store while its gateway starts") {
        return;
    }
    let mut gateway = gateway("group = \"games\"");
    gateway.start();
    fill(&gateway);
    gateway.end(End::Killed);
    let config = gateway.path("gateway.toml").display().to_string();
    let copies = tempfile::tempdir().expect("a folder");
    let open = std::os::unix::fs::PermissionsExt::from_mode(0o777);
    std::fs::set_permissions(copies.path(), open).expect("it is ours");
    let is_over = AtomicBool::new(false);
    let looked = std::thread::scope(|scope| {
        let look = || {
            // The gateway itself is not shared between threads.
            let words = MEMBER.words();
            let (mut fine, mut told) = (0, 0);
            while !is_over.load(Ordering::Relaxed) {
                let output = Command::new(&words[0])
                    .args(&words[1..])
                    .arg(tidegate_tests::gateway::binary::tidegate())
                    .args(["events", "list", "--config", &config])
                    .env("TMPDIR", copies.path())
                    .output()
                    .expect("setpriv runs");
                let text = said(&output);
                match output.status.success() {
                    true => fine += 1,
                    false => {
                        let asks = ["is it starting or stopping", "ask again", "went away"];
                        assert!(asks.iter().any(|word| text.contains(word)), "{text}");
                        told += 1;
                    }
                }
            }
            (fine, told)
        };
        let lookers: Vec<_> = (0..3).map(|_| scope.spawn(look)).collect();
        for end in [End::Terminated, End::Killed].repeat(3) {
            gateway.start();
            assert_eq!(gateway.dead_letters().len(), 2);
            gateway.end(end);
        }
        is_over.store(true, Ordering::Relaxed);
        let looked = lookers.into_iter().map(|one| one.join().expect("it looks"));
        looked.fold((0, 0), |all, one| (all.0 + one.0, all.1 + one.1))
    });
    assert!(looked.0 > 0, "{looked:?}");
    let log = gateway.whole_log();
    assert!(!log.contains("in use"), "{log}");
    let left = std::fs::read_dir(copies.path())
        .expect("it is there")
        .count();
    assert_eq!(left, 0, "copies go when they are open");
}

#[test]
fn number_8_a_disk_that_takes_nothing_is_looked_at() {
    let test = "a store on a disk that takes nothing";
    let kinds = [Kind::Tmpfs, Kind::Ext4 { inodes: 2000 }];
    for (kind, is_full) in kinds
        .into_iter()
        .flat_map(|kind| [(kind, false), (kind, true)])
    {
        let mut gateway = Gateway::new(CONFIG);
        gateway.write("rules/a.rules", RULES);
        gateway.write("cloud.password", "secret");
        let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
        std::fs::set_permissions(gateway.path("cloud.password"), closed).expect("it is ours");
        let Some(mut disk) = SmallDisk::mount(gateway.path("data"), kind, 120, test) else {
            return;
        };
        gateway.start();
        let [letter, _] = fill(&gateway);
        gateway.end(End::Killed);
        match is_full {
            true => disk.fill(),
            false => {
                let data = gateway.path("data");
                let remount = ["-o", "remount,ro"];
                let mounted = Command::new("mount").args(remount).arg(&data).status();
                assert!(mounted.expect("mount runs").success());
            }
        }
        let before = everything(&gateway.path("data/store"));
        let looks: [&[&str]; 6] = [
            &["events", "list"],
            &["dead-letters", "list"],
            &["dead-letters", "show", &letter],
            &["store", "status"],
            &["store", "verify"],
            &["store", "lanes", "list"],
        ];
        for request in looks {
            let output = gateway.ask(request);
            let text = said(&output);
            assert!(
                output.status.success(),
                "{kind:?} {is_full} {request:?}: {text}"
            );
        }
        assert_eq!(gateway.events(&["--topic", "fine/#"]).len(), 1, "{kind:?}");
        assert_eq!(everything(&gateway.path("data/store")), before, "{kind:?}");
        let backup = tempfile::tempdir().expect("a folder");
        let to = backup.path().join("copy").display().to_string();
        let output = gateway.ask(&["store", "backup", &to]);
        let text = said(&output);
        assert!(output.status.success(), "{kind:?} {is_full}: {text}");
    }
}
