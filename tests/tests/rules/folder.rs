//! A rules folder in the field: moments without rules, changes that hide, and starts over a broken one. Rules are never
//! lost by them.

mod site;
mod starts;

use std::os::unix::fs::symlink;
use std::path::Path;

use site::{
    Change, FILE, GOOD, chmod, gateway, has_trouble, obeys, refused, rename, restore, run, status,
    without_privileges, write,
};
use tidegate_tests::wait;

/// Ways to have no rules for a moment, and what is said of it.
const MOMENTS: [(&str, Change, &str); 28] = [
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
        "a link to a device without an end",
        |f| {
            std::fs::remove_file(f.join(FILE)).expect("it is ours");
            symlink("/dev/zero", f.join(FILE)).expect("it is ours");
        },
        "it is no file",
    ),
    (
        "a link to itself",
        |f| {
            std::fs::remove_file(f.join(FILE)).expect("it is ours");
            symlink("keep.rules", f.join(FILE)).expect("it is ours");
        },
        "cannot be read",
    ),
    (
        "a pipe of its name",
        |f| {
            std::fs::remove_file(f.join(FILE)).expect("it is ours");
            run("mkfifo", &[FILE], f);
        },
        "it is no file",
    ),
    (
        "a link to an empty folder, swapped at once",
        |f| {
            rename(f, "rules", "rules.new");
            std::fs::create_dir(f.join("rules.new/none")).expect("it is ours");
            symlink("rules.new/none", f.join("rules.link")).expect("it is ours");
            rename(f, "rules.link", "rules");
        },
        "no rules any more",
    ),
    (
        "a byte order mark alone",
        |f| write(f, FILE, "\u{feff}"),
        "is empty and was not",
    ),
    (
        "UTF-16",
        |f| std::fs::write(f.join(FILE), b"\xff\xfer\0u\0").expect("it is ours"),
        "save it as UTF-8",
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
        let series = || gateway.metric("tidegate_trouble{", "subject=\"rules\",kind=\"refused\"");
        assert_eq!(series(), 1, "{what}");
        assert!(gateway.ask(&["status"]).status.success(), "{what}");
        obeys(&gateway, &format!("case/{number}"));
        restore(&folder);
        gateway.wait_until("it is mended", || refused(&gateway).is_none());
        assert!(!has_trouble(&gateway, "rules"), "{what}");
        assert_eq!(series(), 0, "{what}");
        assert_eq!(status(&gateway)["rules"]["generation"], 1, "{what}");
    }
    obeys(&gateway, "at/the/end");
    let log = gateway.whole_log();
    for (what, _, said) in MOMENTS {
        assert!(log.contains(said), "{what} is not in the log");
    }
    for change in ["refused", "accepted"] {
        let told = gateway.events(&["--topic", &format!("$tidegate/rules/{change}")]);
        assert!(told.len() >= MOMENTS.len(), "{change}: {told:?}");
    }
    assert!(gateway.terminate().success());
    let count = gateway.said("rules refused, the last good set goes on");
    // Where a change takes two steps, the first may be told as well.
    assert!(
        (MOMENTS.len()..2 * MOMENTS.len()).contains(&count),
        "{count}"
    );
}

/// Writes a set of `count` rules as the file `path`.
fn set(path: &Path, count: usize) {
    let rule = |at: usize| format!("rule r{at} {{ on \"#\" send to meant }}\n");
    let text: String = (1..=count).map(rule).collect();
    std::fs::write(path, text).expect("it is ours");
}

/// A name, and a change of a folder for the n-th time.
type Hiding = (&'static str, fn(&Path, usize));

/// Ways to change the folder to `count` rules that hide themselves.
const HIDING: [Hiding; 11] = [
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
