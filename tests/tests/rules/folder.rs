//! A rules folder in the field: moments without rules, changes that hide, and starts over a broken one. Rules are never
//! lost by them.

use std::io::{Read, Write};
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::{mqtt, wait};

/// Without rules an event goes to both.
const UPSTREAMS: &str = "[upstreams.meant]\ntype = \"file\"\npath = \"meant.jsonl\"\n\n\
                         [upstreams.other]\ntype = \"file\"\npath = \"other.jsonl\"\n";
const GOOD: &str = "rule keep {\n  on \"#\"\n  send to meant\n}\n";
const FILE: &str = "rules/keep.rules";

/// A gateway whose rules send to one upstream alone.
fn gateway() -> Gateway {
    let gateway = Gateway::new(UPSTREAMS);
    gateway.write(FILE, GOOD);
    gateway
}

/// Root reads what nobody may: without these capabilities it does not.
fn without_privileges(gateway: &mut Gateway) {
    let caps = "--bounding-set=-dac_override,-dac_read_search";
    gateway.under(["setpriv", caps].map(Into::into).to_vec());
}

fn run(program: &str, arguments: &[&str], folder: &Path) {
    let done = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .status();
    assert!(
        done.is_ok_and(|done| done.success()),
        "{program} {arguments:?}"
    );
}

fn status(gateway: &Gateway) -> Value {
    let answer = gateway.control("/status");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// The one line of what is refused, if anything is.
fn refused(gateway: &Gateway) -> Option<String> {
    let all = status(gateway)["rules"]["refused"].as_array().cloned();
    let all = all.expect("a list");
    (!all.is_empty()).then(|| all[0].as_str().expect("text").to_owned())
}

fn has_trouble(gateway: &Gateway, part: &str) -> bool {
    let status = status(gateway);
    let troubles = status["troubles"].as_array().expect("a list").iter();
    troubles
        .filter_map(Value::as_str)
        .any(|one| one.contains(part))
}

/// Publishes once and waits for the acknowledgement.
fn publish(gateway: &Gateway, topic: &str) {
    let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("it listens");
    stream
        .write_all(&mqtt::publish(topic, 1, b"{}"))
        .expect("it listens");
    let mut buffer = Vec::new();
    let mut bytes = [0; 64];
    while mqtt::take(&mut buffer).is_none() {
        let count = stream.read(&mut bytes).expect("an answer");
        assert!(count > 0, "the connection ended");
        buffer.extend_from_slice(&bytes[..count]);
    }
}

fn holds(gateway: &Gateway, file: &str, topic: &str) -> bool {
    let text = std::fs::read_to_string(gateway.path(file)).unwrap_or_default();
    text.contains(&format!("\"{topic}\""))
}

/// An event goes where the rules say, and nowhere else.
fn obeys(gateway: &Gateway, topic: &str) {
    publish(gateway, topic);
    gateway.wait_until("the event is where the rules send it", || {
        holds(gateway, "meant.jsonl", topic)
    });
    let after = format!("{topic}/after");
    publish(gateway, &after);
    gateway.wait_until("and the next one", || holds(gateway, "meant.jsonl", &after));
    assert!(
        !holds(gateway, "other.jsonl", topic),
        "{topic} went to every upstream"
    );
}

/// What becomes of the folder at `path`, in which the one file is.
type Change = fn(&Path);

fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("it is ours");
}

fn rename(folder: &Path, from: &str, to: &str) {
    std::fs::rename(folder.join(from), folder.join(to)).expect("it is ours");
}

fn chmod(path: PathBuf, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is ours");
}

/// Ways to have no rules for a moment, and what is said of it.
const MOMENTS: [(&str, Change, &str); 22] = [
    (
        "an editor renames",
        |f| rename(f, FILE, "rules/keep.rules~"),
        "no rules any more",
    ),
    (
        "a file is cut off",
        |f| write(f, FILE, ""),
        "is empty and was not",
    ),
    (
        "only blanks are left",
        |f| write(f, FILE, " \n\n\t"),
        "is empty and was not",
    ),
    (
        "a power cut left NULs",
        |f| write(f, FILE, "\0\0\0\0\0\0"),
        "is empty and was not",
    ),
    (
        "all is commented out",
        |f| write(f, FILE, "# rule keep {\n# }\n"),
        "no rules any more",
    ),
    (
        "an event alone is left",
        |f| write(f, FILE, "event e { topic \"t\" }\n"),
        "no rules any more",
    ),
    (
        "upper case",
        |f| rename(f, FILE, "rules/keep.RULES"),
        "no rules any more",
    ),
    (
        "one letter less",
        |f| rename(f, FILE, "rules/keep.rule"),
        "no rules any more",
    ),
    (
        "hidden",
        |f| rename(f, FILE, "rules/.keep.rules"),
        "no rules any more",
    ),
    (
        "moved into a folder",
        |f| {
            std::fs::create_dir(f.join("rules/old")).expect("it is ours");
            rename(f, FILE, "rules/old/keep.rules");
        },
        "no rules any more",
    ),
    (
        "removed",
        |f| std::fs::remove_file(f.join(FILE)).expect("it is ours"),
        "no rules any more",
    ),
    (
        "the folder is removed",
        |f| std::fs::remove_dir_all(f.join("rules")).expect("it is ours"),
        "cannot be read",
    ),
    (
        "the folder is renamed",
        |f| rename(f, "rules", "rules.new"),
        "cannot be read",
    ),
    (
        "an empty folder in its place",
        |f| {
            rename(f, "rules", "rules.new");
            std::fs::create_dir(f.join("rules")).expect("it is ours");
        },
        "no rules any more",
    ),
    (
        "a file in its place",
        |f| {
            rename(f, "rules", "rules.new");
            write(f, "rules", GOOD);
        },
        "cannot be read",
    ),
    (
        "the folder is closed",
        |f| chmod(f.join("rules"), 0o000),
        "cannot be read",
    ),
    (
        "the file is closed",
        |f| chmod(f.join(FILE), 0o000),
        "cannot be read",
    ),
    (
        "a link to nowhere",
        |f| {
            std::fs::remove_file(f.join(FILE)).expect("it is ours");
            symlink("nowhere", f.join(FILE)).expect("it is ours");
        },
        "cannot be read",
    ),
    (
        "a folder of its name",
        |f| {
            std::fs::remove_file(f.join(FILE)).expect("it is ours");
            std::fs::create_dir(f.join(FILE)).expect("it is ours");
        },
        "it is no file",
    ),
    (
        "no UTF-8",
        |f| std::fs::write(f.join(FILE), b"rule \xff").expect("it is ours"),
        "UTF-8",
    ),
    (
        "far too large",
        |f| write(f, FILE, &" ".repeat(1_048_577)),
        "at most 1048576",
    ),
    (
        "a mistake",
        |f| write(f, FILE, "rule keep { on \"#\" send to nobody }"),
        "unknown destination",
    ),
];

/// The folder as it was.
fn restore(folder: &Path) {
    let rules = folder.join("rules");
    if std::fs::symlink_metadata(&rules).is_ok_and(|found| found.is_dir()) {
        chmod(rules.clone(), 0o755);
        std::fs::remove_dir_all(&rules).expect("it is ours");
    } else {
        let _ = std::fs::remove_file(&rules);
    }
    let _ = std::fs::remove_dir_all(folder.join("rules.new"));
    std::fs::create_dir(&rules).expect("it is ours");
    write(folder, FILE, GOOD);
}

#[test]
fn a_moment_without_rules_is_refused_and_told() {
    let mut gateway = gateway();
    without_privileges(&mut gateway);
    gateway.start();
    let folder = gateway.dir.path().to_path_buf();
    for (number, (what, change, said)) in MOMENTS.into_iter().enumerate() {
        change(&folder);
        let told = wait::find(what, || refused(&gateway).ok_or_else(|| gateway.log()));
        assert!(told.contains(said), "{what}: {told}");
        assert!(has_trouble(&gateway, said), "{what}");
        obeys(&gateway, &format!("case/{number}"));
        restore(&folder);
        gateway.wait_until("it is mended", || refused(&gateway).is_none());
        assert!(!has_trouble(&gateway, "rules"), "{what}");
        assert_eq!(status(&gateway)["rules"]["generation"], 1, "{what}");
    }
    obeys(&gateway, "at/the/end");
    let log = gateway.whole_log();
    let count = log
        .matches("rules refused, the last good set goes on")
        .count();
    // Where a change takes two steps, the first may be told as well.
    assert!(
        (MOMENTS.len()..2 * MOMENTS.len()).contains(&count),
        "{count}"
    );
}

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

/// Writes a set of `count` rules as the file `path`.
fn set(path: &Path, count: usize) {
    let rule = |at: usize| format!("rule r{at} {{ on \"#\" send to meant }}\n");
    let text: String = (1..=count).map(rule).collect();
    std::fs::write(path, text).expect("it is ours");
}

/// Ways to change the folder to `count` rules that hide themselves.
const HIDING: [(&str, fn(&Path, usize)); 11] = [
    ("saved in place", |f, count| set(&f.join(FILE), count)),
    ("another file over it", |f, count| {
        set(&f.join("rules/.new"), count);
        rename(f, "rules/.new", FILE);
    }),
    ("same size, same time", |f, count| {
        // What was there has this length and time.
        set(&f.join("wanted"), count);
        let size = 10_000;
        let mut text = std::fs::read_to_string(f.join("wanted")).expect("it is ours");
        text.push_str(&"#".repeat(size - text.len()));
        write(f, "rules/.new", &text);
        run("touch", &["-d", "2026-01-01T00:00:00", "rules/.new"], f);
        rename(f, "rules/.new", FILE);
    }),
    ("once more the same size and time", |f, count| {
        HIDING[2].1(f, count)
    }),
    ("in place, the time set back", |f, count| {
        let path = f.join(FILE);
        set(&path, count);
        run("touch", &["-d", "2026-01-01T00:00:00", FILE], f);
    }),
    ("copied with its old time", |f, count| {
        set(&f.join("wanted"), count);
        run("touch", &["-d", "2020-01-01T00:00:00", "wanted"], f);
        run("cp", &["-p", "wanted", FILE], f);
    }),
    ("closed and opened", |f, count| {
        let path = f.join(FILE);
        chmod(path.clone(), 0o000);
        set(&path, count);
        chmod(path, 0o644);
    }),
    ("the folder is another", |f, count| {
        std::fs::create_dir(f.join("next")).expect("it is ours");
        set(&f.join("next/keep.rules"), count);
        rename(f, "rules", "last");
        rename(f, "next", "rules");
    }),
    ("the folder is a link now", |f, count| {
        rename(f, "rules", "one");
        set(&f.join("one/keep.rules"), count);
        symlink("one", f.join("rules")).expect("it is ours");
    }),
    ("the link leads elsewhere", |f, count| {
        std::fs::create_dir(f.join("two")).expect("it is ours");
        set(&f.join("two/keep.rules"), count);
        symlink("two", f.join("link")).expect("it is ours");
        rename(f, "link", "rules");
    }),
    ("a link inside leads elsewhere", |f, count| {
        // As a mounted config map does it.
        std::fs::create_dir(f.join("two/..b")).expect("it is ours");
        set(&f.join("two/..b/keep.rules"), count);
        symlink("..b", f.join("two/..data")).expect("it is ours");
        symlink("..data/keep.rules", f.join("two/new")).expect("it is ours");
        rename(f, "two/new", "two/keep.rules");
    }),
];

#[test]
fn changes_that_hide_themselves_are_seen() {
    let mut gateway = gateway();
    gateway.start();
    let folder = gateway.dir.path().to_path_buf();
    for (number, (what, change)) in HIDING.into_iter().enumerate() {
        let count = number + 2;
        change(&folder, count);
        wait::find(what, || {
            let rules = status(&gateway)["rules"].clone();
            (rules["rules"] == count)
                .then_some(())
                .ok_or_else(|| rules.to_string())
        });
    }
    // A file behind a link is saved in place: nobody tells of it.
    set(&folder.join("two/..b/keep.rules"), 40);
    gateway.wait_until("what is behind a link is seen", || {
        status(&gateway)["rules"]["rules"] == 40
    });
    obeys(&gateway, "at/the/end");
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

#[test]
fn what_was_probably_meant_to_be_read_is_named() {
    let mut gateway = gateway();
    for name in [
        "more.RULES",
        "rules/hot.rules.txt",
        "rules/.x.rules.swp",
        "rules/x.rules~",
    ] {
        gateway.write(name, GOOD);
    }
    gateway.write("rules/README.md", "# ours\n");
    gateway.start();
    gateway.wait_until("a trouble names it", || {
        has_trouble(&gateway, "hot.rules.txt is not read")
    });
    gateway.write("rules/cold.RULES", GOOD);
    gateway.wait_until("a new one is told", || has_trouble(&gateway, "cold.RULES"));
    for command in [&["check"][..], &["rules", "check"]] {
        let output = gateway.ask(command);
        let said = [output.stdout, output.stderr].concat();
        let said = String::from_utf8_lossy(&said).into_owned();
        assert!(output.status.success(), "{said}");
        for name in ["cold.RULES", "hot.rules.txt"] {
            assert!(said.contains(name), "{command:?} {name}: {said}");
        }
        assert!(
            !said.contains(".swp") && !said.contains("x.rules~"),
            "{said}"
        );
    }
    for name in ["rules/cold.RULES", "rules/hot.rules.txt"] {
        std::fs::remove_file(gateway.path(name)).expect("it is ours");
    }
    gateway.wait_until("that is over", || !has_trouble(&gateway, "is not read"));
    let log = gateway.whole_log();
    assert!(log.contains("README.md"), "{log}");
    assert!(!log.contains(".swp") && !log.contains("x.rules~"), "{log}");
}

#[test]
fn a_check_says_what_a_folder_without_rules_means_and_refuses_what_cannot_be_read() {
    let gateway = gateway();
    let check = |command: &[&str]| {
        let output = gateway.ask(command);
        let said = [output.stdout, output.stderr].concat();
        (
            output.status.code(),
            String::from_utf8_lossy(&said).into_owned(),
        )
    };
    std::fs::write(gateway.path(FILE), "# none\n").expect("it is ours");
    for command in [&["check"][..], &["rules", "check"]] {
        let (code, said) = check(command);
        assert_eq!(code, Some(0), "{said}");
        assert!(said.contains("this folder holds no rules"), "{said}");
    }
    std::fs::remove_dir_all(gateway.path("rules")).expect("it is ours");
    for command in [&["check"][..], &["rules", "check"]] {
        let (code, said) = check(command);
        assert_eq!(code, Some(78), "{said}");
        assert!(said.contains("does not exist"), "{said}");
    }
    std::fs::write(gateway.path("rules"), "").expect("it is ours");
    assert_eq!(check(&["check"]).0, Some(78));
}
