//! What single keys do not show: two of them together, the files that they name, and the file itself.

mod certificates;
mod files;
mod text;

use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::Path;

/// What `check` says, and `run` after it.
pub(crate) enum Says {
    /// It is fine, and starts.
    Fine,
    /// It is wrong, in these words.
    Wrong(&'static [&'static str]),
}

/// A configuration and what stands beside it.
pub(crate) struct Row {
    pub(crate) name: &'static str,
    pub(crate) text: Vec<u8>,
    pub(crate) makes: fn(&Path),
    pub(crate) says: Says,
}

const GATEWAY: &str = "[gateway]\nid = \"a\"\ndata_dir = \"data\"\n";
const FLOOR: &str = "[sources.l]\ntype = \"mqtt-listener\"\nlisten = \"FREE\"\n";
const ARCHIVE: &str = "[upstreams.f]\ntype = \"file\"\npath = \"f.jsonl\"\n";

fn nothing(_: &Path) {}

/// A row whose configuration ends in `more`.
fn row(name: &'static str, more: &str, says: Says) -> Row {
    with(name, more, nothing, says)
}

fn with(name: &'static str, more: &str, makes: fn(&Path), says: Says) -> Row {
    let text = format!("{GATEWAY}{FLOOR}{ARCHIVE}{more}").into_bytes();
    Row {
        name,
        text,
        makes,
        says,
    }
}

fn whole(name: &'static str, text: impl Into<Vec<u8>>, makes: fn(&Path), says: Says) -> Row {
    let text = text.into();
    Row {
        name,
        text,
        makes,
        says,
    }
}

/// With `data_dir` as given.
fn placed(name: &'static str, data_dir: &str, makes: fn(&Path), says: Says) -> Row {
    let text = format!("[gateway]\nid = \"a\"\ndata_dir = \"{data_dir}\"\n{FLOOR}{ARCHIVE}");
    whole(name, text, makes, says)
}

/// All rows.
pub(crate) fn rows() -> Vec<Row> {
    let all = [
        addresses(),
        places(),
        groups(),
        files::one_file(),
        files::secrets(),
        certificates::pairs(),
        certificates::others(),
        text::syntax(),
        text::encodings(),
        text::values(),
    ];
    all.into_iter().flatten().collect()
}

fn addresses() -> Vec<Row> {
    let two = |other: &str, more: &str| {
        format!(
            "[sources.a]\ntype = \"mqtt-listener\"\nlisten = \"127.0.0.1:18931\"\n[sources.b]\ntype = \"http\"\nlisten = \"{other}\"\n{more}"
        )
    };
    use Says::{Fine, Wrong};
    vec![
        row(
            "an API at the port of a source",
            &(two("FREE", "") + "[api]\nlisten = \"127.0.0.1:18931\"\n"),
            Wrong(&["[api] and [sources.a] both listen on 127.0.0.1:18931"]),
        ),
        row(
            "two at one address",
            &two("127.0.0.1:18931", ""),
            Wrong(&["both listen on"]),
        ),
        row(
            "all addresses beside one",
            &two("0.0.0.0:18931", "anonymous = true\n"),
            Wrong(&["one of them takes what the other wants"]),
        ),
        row(
            "all addresses of IPv6 beside one",
            &two("[::]:18931", "anonymous = true\n"),
            Wrong(&["one of them takes what the other wants"]),
        ),
        row(
            "one number for two of the system's choice",
            "[sources.a]\ntype = \"http\"\nlisten = \"127.0.0.1:0\"\n[sources.b]\ntype = \"http\"\nlisten = \"127.0.0.1:0\"\n",
            Fine,
        ),
        row(
            "IPv6 without brackets",
            "[sources.a]\ntype = \"http\"\nlisten = \"::1:18931\"\n",
            Wrong(&["write \"[::1]:18931\""]),
        ),
        row(
            "a port above all",
            "[sources.a]\ntype = \"http\"\nlisten = \"127.0.0.1:65536\"\n",
            Wrong(&["is no address:port"]),
        ),
        row(
            "an address of no interface",
            "[sources.a]\ntype = \"http\"\nlisten = \"192.0.2.7:18931\"\nanonymous = true\n",
            Fine,
        ),
        row(
            "a host that does not resolve",
            "[upstreams.m]\ntype = \"mqtt\"\nurl = \"mqtt://no.such.host.invalid\"\n[upstreams.h]\ntype = \"http\"\nurl = \"http://no.such.host.invalid/\"\n",
            Fine,
        ),
        row(
            "a port for two",
            "[sources.a]\ntype = \"serial\"\nport = \"/dev/none\"\n[sources.b]\ntype = \"lines\"\nport = \"/dev/../dev/none\"\nformat = \"text\"\n",
            Wrong(&["both use one file, as /dev/none and as /dev/../dev/none"]),
        ),
        row(
            "one match for two",
            "[sources.a]\ntype = \"serial\"\nmatch = { vid = \"2e8a\" }\n[sources.b]\ntype = \"lines\"\nmatch = { vid = \"2e8a\" }\nformat = \"text\"\n",
            Wrong(&["look for the same port", "`serial`"]),
        ),
        row(
            "a port that is a file",
            "[sources.a]\ntype = \"serial\"\nport = \"gateway.toml\"\n",
            Fine,
        ),
    ]
}

/// Writes a file of a secret.
fn own(path: &Path, bytes: &[u8]) {
    std::fs::write(path, bytes).expect("a file");
    std::fs::set_permissions(path, std::fs::Permissions::from_mode(0o600)).expect("its mode");
}

/// Where the data lies.
fn places() -> Vec<Row> {
    use Says::{Fine, Wrong};
    vec![
        placed(
            "a data folder of no file system's",
            "da\\u0000ta",
            nothing,
            Wrong(&["holds U+0000"]),
        ),
        placed(
            "a long name",
            &"x".repeat(256),
            nothing,
            Wrong(&["has a name of 256 bytes"]),
        ),
        placed(
            "a long way",
            &"xxxxxxxxxx/".repeat(400),
            nothing,
            Wrong(&["has 4400 bytes"]),
        ),
        placed(
            "a link to nowhere",
            "data",
            |dir| symlink("nowhere", dir.join("data")).expect("a link"),
            Wrong(&["data_dir data is a link to nowhere, where nothing is"]),
        ),
        placed(
            "a link in a circle",
            "data",
            |dir| symlink("data", dir.join("data")).expect("a link"),
            Wrong(&["is a link to data"]),
        ),
        placed(
            "a folder of processes",
            "/proc/x",
            nothing,
            Wrong(&["cannot be made by this user", "name another data_dir"]),
        ),
        placed(
            "a file for a store",
            "data",
            |dir| {
                std::fs::create_dir(dir.join("data")).expect("a folder");
                std::fs::write(dir.join("data/store"), "").expect("a file");
            },
            Wrong(&["data/store is no folder", "move it away"]),
        ),
        placed(
            "a folder for a socket",
            "data",
            |dir| std::fs::create_dir_all(dir.join("data/tidegate.sock/x")).expect("a folder"),
            Wrong(&["data/tidegate.sock is a folder", "move it away"]),
        ),
        placed(
            "data among the rules",
            "rules/data",
            |dir| std::fs::create_dir(dir.join("rules")).expect("a folder"),
            Fine,
        ),
    ]
}

/// Who may look.
fn groups() -> Vec<Row> {
    use Says::{Fine, Wrong};
    vec![
        whole(
            "no group",
            format!("{GATEWAY}group = \"\"\n{FLOOR}{ARCHIVE}"),
            nothing,
            Wrong(&["`group` is empty"]),
        ),
        whole(
            "the group that is none",
            format!("{GATEWAY}group = \"4294967295\"\n{FLOOR}{ARCHIVE}"),
            nothing,
            Wrong(&["`group` is no number of a group"]),
        ),
        whole(
            "a group of nobody here",
            format!("{GATEWAY}group = \"no-such-group\"\n{FLOOR}{ARCHIVE}"),
            nothing,
            Fine,
        ),
    ]
}
