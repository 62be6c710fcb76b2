//! Every key of the table at home in a configuration that works, with the values that it is tried with.

use tidegate::config::{AnyKey, Takes, unit};
use tidegate::run::config;

/// What a key is set to, as it is written; `None` leaves it out.
type Written = Option<String>;

/// A configuration: the lines of `[gateway]` and so on, and one key set anew.
pub(crate) struct Case {
    pub(crate) name: String,
    pub(crate) text: String,
}

/// Keys that stand under a heading of the table, in a section that works.
struct Home {
    heading: &'static str,
    /// The section and its other keys; `@` stands for the key.
    around: &'static [&'static str],
}

const BROKER: &[&str] = &[
    "[sources.it]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1\"\ntopics = [\"a\"]\n@\n",
    "[sources.it]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1\"\ntopics = [\"a\"]\nversion = \"3.1.1\"\n@\n",
    "[upstreams.it]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1\"\n@\n",
    "[upstreams.it]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:1\"\nversion = \"3.1.1\"\nuser = \"u\"\n@\n",
];
pub(crate) const LISTENER: &str = "[sources.it]\ntype = \"mqtt-listener\"\nlisten = \"FREE\"\n";

const HOMES: &[Home] = &[
    Home {
        heading: "[gateway]",
        around: &["[gateway]\nid = \"a\"\ndata_dir = \"data\"\n@\n"],
    },
    Home {
        heading: "[store]",
        around: &["[store]\n@\n"],
    },
    Home {
        heading: "[dead_letters]",
        around: &["[dead_letters]\n@\n"],
    },
    Home {
        heading: "[api]",
        around: &["[api]\nlisten = \"FREE\"\n@\n"],
    },
    Home {
        heading: "[sources.NAME]",
        around: &["[sources.it]\nlisten = \"FREE\"\n@\n"],
    },
    Home {
        heading: "source mqtt-listener",
        around: &["[sources.it]\ntype = \"mqtt-listener\"\nlisten = \"FREE\"\n@\n"],
    },
    Home {
        heading: "users.NAME of a listener",
        around: &[
            "[sources.it]\ntype = \"mqtt-listener\"\nlisten = \"FREE\"\n[sources.it.users.ann]\n@\n",
            "[sources.it]\ntype = \"mqtt-listener\"\nlisten = \"FREE\"\n[sources.it.users.ann]\npassword_hash = \"$argon2id$v=19$m=8,t=1,p=1$c2FsdHNhbHQ$aGFzaA\"\n@\n",
        ],
    },
    Home {
        heading: "users.NAME of an HTTP source",
        around: &["[sources.it]\ntype = \"http\"\nlisten = \"FREE\"\n[sources.it.users.ann]\n@\n"],
    },
    Home {
        heading: "tls of a listener",
        around: &[
            "[sources.it]\ntype = \"mqtt-listener\"\nlisten = \"FREE\"\n[sources.it.tls]\ncert = \"own.pem\"\nkey = \"own.key\"\n@\n",
            "[sources.it]\ntype = \"http\"\nlisten = \"FREE\"\n[sources.it.tls]\ncert = \"own.pem\"\nkey = \"own.key\"\n@\n",
        ],
    },
    Home {
        heading: "source mqtt",
        around: &[BROKER[0], BROKER[1]],
    },
    Home {
        heading: "source mqtt, upstream mqtt",
        around: BROKER,
    },
    Home {
        heading: "source mqtt, upstreams mqtt and http",
        around: &[
            "[sources.it]\ntype = \"mqtt\"\nurl = \"mqtts://127.0.0.1:1\"\ntopics = [\"a\"]\ncert = \"own.pem\"\nkey = \"own.key\"\nca = \"own.pem\"\n@\n",
            "[upstreams.it]\ntype = \"mqtt\"\nurl = \"mqtts://127.0.0.1:1\"\nca = \"own.pem\"\n@\n",
            "[upstreams.it]\ntype = \"http\"\nurl = \"https://127.0.0.1:1\"\ncert = \"own.pem\"\nkey = \"own.key\"\nca = \"own.pem\"\n@\n",
        ],
    },
    Home {
        heading: "source serial",
        around: &["[sources.it]\ntype = \"serial\"\nport = \"none\"\n@\n"],
    },
    Home {
        heading: "source lines",
        around: &[
            "[sources.it]\ntype = \"lines\"\nport = \"none\"\nformat = \"text\"\n@\n",
            "[sources.it]\ntype = \"lines\"\nport = \"none\"\nformat = \"csv\"\ncolumns = [\"a\"]\n@\n",
        ],
    },
    Home {
        heading: "source serial, lines",
        around: &[
            "[sources.it]\ntype = \"serial\"\nport = \"none\"\n@\n",
            "[sources.it]\ntype = \"lines\"\nport = \"none\"\nformat = \"text\"\n@\n",
        ],
    },
    Home {
        heading: "match of a port",
        around: &["[sources.it]\ntype = \"serial\"\n[sources.it.match]\nvid = \"2e8a\"\n@\n"],
    },
    Home {
        heading: "source http",
        around: &["[sources.it]\ntype = \"http\"\nlisten = \"FREE\"\n@\n"],
    },
    Home {
        heading: "[upstreams.NAME]",
        around: &["[upstreams.it]\ntype = \"file\"\npath = \"it.jsonl\"\n@\n"],
    },
    Home {
        heading: "upstream mqtt",
        around: &[BROKER[2]],
    },
    Home {
        heading: "upstream http",
        around: &["[upstreams.it]\ntype = \"http\"\nurl = \"http://127.0.0.1:1/\"\n@\n"],
    },
    Home {
        heading: "upstream file",
        around: &["[upstreams.it]\ntype = \"file\"\npath = \"it.jsonl\"\n@\n"],
    },
];

/// Files that paths name.
const FILES: [&str; 10] = [
    "absent",
    "folder",
    "own.pem",
    "own.key",
    "one-line",
    "two-lines",
    "with-a-mark",
    "bytes",
    "open-to-all",
    "hash",
];

fn quoted(text: &str) -> Written {
    Some(format!("{text:?}"))
}

const ADDRESSES: [&str; 6] = [
    "FREE",
    "BUSY",
    "127.0.0.1:0",
    "192.0.2.7:1883",
    "[::1]:0",
    "x",
];
const TEXTS: [&str; 22] = [
    "x",
    "a b",
    " ",
    "ünï",
    "a\u{7}b",
    "{topic}",
    "{",
    "+/#",
    "a/b",
    "$x",
    "${NOT_SET}",
    "mqtt://h",
    "mqtts://127.0.0.1",
    "http://1.2.3.4.5/",
    "http://256.1.1.1",
    "http://[::1]:1/",
    "http://xn--a/",
    "https://127.0.0.1:1",
    "http://a_b/",
    "http://h/ x",
    "mqtt://-",
    "http://..",
];
const LISTS: [&str; 7] = [
    "[\"a\"]",
    "[\"#\"]",
    "[\"\"]",
    "[\"a\", \"a\"]",
    "[5]",
    "[\"$share/g/a\"]",
    "[\"a/+/b\", \"a/#\"]",
];
const PAIRS: [&str; 7] = [
    "{ a = \"b\" }",
    "{ a = \"\" }",
    "{ a = \"ü\" }",
    "{ \"a b\" = \"c\" }",
    "{ a = \"x\\u0007\" }",
    "{ Content-Length = \"5\" }",
    "{ host = \"x\" }",
];
const TABLES: [&str; 2] = ["{ x = 1 }", "{ ann = {} }"];
/// Empty, or of another kind.
const OTHERS: [&str; 6] = ["true", "-1", "[]", "{}", "1.5", "\"\""];

/// What a key is tried with.
fn values(key: &AnyKey) -> Vec<Written> {
    let bare = |text: &str| Some(text.to_owned());
    let mut values: Vec<Written> = OTHERS.map(bare).to_vec();
    values.push(None);
    match key.takes {
        Takes::Count(min, max) => {
            let around = [
                min.saturating_sub(1),
                min,
                min + 1,
                max,
                max.saturating_add(1),
            ];
            values.extend(around.map(|count| bare(&count.to_string())));
            values.push(bare("99999999999999999999999"));
        }
        Takes::Duration(min, max) => {
            values.extend([min, max, "2s", "999999999d"].map(quoted));
            let ms = |text| unit::duration(text).expect("a bound").as_millis() as u64;
            let outside = [ms(min).saturating_sub(1), ms(max) + 1];
            values.extend(outside.map(|ms| quoted(&format!("{ms}ms"))));
        }
        Takes::Size(min, max) => values.extend([min, max, "1B", "99999TiB"].map(quoted)),
        Takes::Choice(choices) => {
            values.extend(choices().into_iter().map(quoted));
            values.push(quoted("none of them"));
        }
        Takes::Flag => values.push(bare("false")),
        Takes::Address => values.extend(ADDRESSES.map(quoted)),
        Takes::Path => {
            values.extend(FILES.map(quoted));
            values.push(quoted(&"x".repeat(5_000)));
        }
        Takes::Text => {
            values.extend(TEXTS.map(quoted));
            values.extend([64, 65_536].map(|length| quoted(&"0".repeat(length))));
        }
        Takes::Texts => values.extend(LISTS.map(bare)),
        Takes::Table(_) | Takes::Tables => values.extend(TABLES.map(bare)),
        Takes::Pairs => values.extend(PAIRS.map(bare)),
    }
    values
}

/// Every key at home with every value.
pub(crate) fn table() -> Vec<Case> {
    let mut cases = Vec::new();
    for group in config::reference() {
        let home = HOMES.iter().find(|home| home.heading == group.heading);
        let home =
            home.unwrap_or_else(|| panic!("say in HOMES where keys of {} stand", group.heading));
        for key in &group.keys {
            for around in home.around {
                for value in values(key) {
                    cases.push(case(home.heading, around, key, value));
                }
            }
        }
    }
    cases
}

fn case(heading: &str, around: &str, key: &AnyKey, value: Written) -> Case {
    // The key is not written twice.
    let others = around
        .lines()
        .filter(|line| !line.starts_with(&format!("{} = ", key.name)));
    let others: Vec<&str> = others.collect();
    let line = value.map_or(String::new(), |value| format!("{} = {value}", key.name));
    let section = others.join("\n").replace('@', &line) + "\n";
    let mut text = String::new();
    if heading != "[gateway]" {
        text += "[gateway]\nid = \"a\"\ndata_dir = \"data\"\n";
    }
    text += &section;
    if heading == "[gateway]" || !section.contains("[sources.") {
        text += LISTENER;
    }
    if !section.contains("[upstreams.") {
        text += "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n";
    }
    let name = format!("{heading} {:.200}", line.trim());
    Case { name, text }
}
