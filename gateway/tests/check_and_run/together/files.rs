//! One file under several names, the gateway's own files, and secrets.

use std::os::unix::fs::symlink;
use std::path::Path;

use super::{FLOOR, GATEWAY, Row, Says, own, row, whole, with};

/// Files that something else has already.
pub(super) fn one_file() -> Vec<Row> {
    use Says::{Fine, Wrong};
    let file = |path: &str| format!("[upstreams.g]\ntype = \"file\"\npath = \"{path}\"\n");
    let into = |what: &str| {
        format!(
            "{GATEWAY}rules = \"rules\"\n{FLOOR}[upstreams.f]\ntype = \"file\"\npath = \"{what}\"\n"
        )
    };
    let rules: fn(&Path) = |dir| {
        std::fs::create_dir(dir.join("rules")).expect("a folder");
        std::fs::write(dir.join("rules/a.rules"), "rule x { on \"a\" send to f }").expect("rules");
    };
    vec![
        row(
            "one file twice",
            &file("./f.jsonl"),
            Wrong(&["[upstreams.f] and [upstreams.g] both use "]),
        ),
        with(
            "one file by a link",
            &file("g.jsonl"),
            |dir| symlink("f.jsonl", dir.join("g.jsonl")).expect("a link"),
            Wrong(&["both use one file"]),
        ),
        whole(
            "a file that is the configuration",
            into("gateway.toml"),
            rules,
            Wrong(&["would write into the configuration"]),
        ),
        whole(
            "a file of the rules",
            into("rules/a.rules"),
            rules,
            Wrong(&["would write into the rules"]),
        ),
        whole(
            "a file of the store",
            into("data/store/x"),
            rules,
            Wrong(&["would write into the event store"]),
        ),
        whole(
            "a file beside the rules",
            into("rules/x.jsonl"),
            rules,
            Fine,
        ),
    ]
}

/// What a file of a password holds.
pub(super) fn secrets() -> Vec<Row> {
    use Says::{Fine, Wrong};
    let login = "[upstreams.m]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1\"\nuser = \"u\"\npassword_file = \"p\"\n";
    vec![
        with(
            "an empty secret",
            login,
            |dir| secret(dir, b""),
            Wrong(&["p is empty"]),
        ),
        with(
            "a secret of a line end",
            login,
            |dir| secret(dir, b"\r\n"),
            Wrong(&["p is empty"]),
        ),
        with(
            "a secret in Latin-1",
            login,
            |dir| secret(dir, b"gr\xfcn\n"),
            Wrong(&["it is not UTF-8: byte 0xfc in line 1; save it as UTF-8"]),
        ),
        with(
            "a secret in UTF-16",
            login,
            |dir| secret(dir, b"\xff\xfea\0"),
            Wrong(&["it is UTF-16"]),
        ),
        with(
            "a secret that MQTT does not carry",
            login,
            |dir| secret(dir, &[b'x'; 70_000]),
            Wrong(&["has 70000 bytes; MQTT carries at most 65535"]),
        ),
        with(
            "a secret that it does",
            login,
            |dir| secret(dir, &[b'x'; 65_535]),
            Fine,
        ),
    ]
}

fn secret(dir: &Path, bytes: &[u8]) {
    own(&dir.join("p"), bytes);
}
