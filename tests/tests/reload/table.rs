//! A table of changes of the configuration, each under a connection that must not notice.

use tidegate_tests::gateway::Gateway;
use tidegate_tests::{mqtt, port, wait};

use super::{ONE, add, arrives, asked, asked_at, edit, names, publish, reload};

/// What becomes of a change.
enum Then<'t> {
    /// It is in force: these are the sources and the upstreams.
    Taken(&'t [&'t str], &'t [&'t str]),
    /// Nothing changes, and a trouble says this.
    Refused(&'t [&'t str]),
    /// All of it but a key is in force, and a trouble says this.
    Restart(&'t [&'t str]),
}
use Then::{Refused, Restart, Taken};

struct Case<'t> {
    name: &'t str,
    change: &'t dyn Fn(&Gateway),
    then: Then<'t>,
    /// Where an event goes after that.
    to: &'t [&'t str],
}

const TWO: &str = "[upstreams.two]\ntype = \"file\"\npath = \"two.jsonl\"\n";

fn more(kind: &str) -> String {
    format!(
        "[sources.more]\ntype = \"{kind}\"\nlisten = \"{}\"\n",
        port::free()
    )
}

/// One after the other on one gateway, which begins with the source `floor` and the upstream `one`.
fn cases() -> Vec<Case<'static>> {
    let mut all = of_sources_and_upstreams();
    all.extend(of_mistakes());
    all.extend(of_rules());
    all.extend(of_keys());
    all
}

fn case<'c>(
    name: &'c str,
    change: &'c dyn Fn(&Gateway),
    then: Then<'c>,
    to: &'c [&'c str],
) -> Case<'c> {
    Case {
        name,
        change,
        then,
        to,
    }
}

fn of_sources_and_upstreams() -> Vec<Case<'static>> {
    vec![
        case(
            "nothing is another",
            &|_| {},
            Taken(&["floor"], &["one"]),
            &["one"],
        ),
        case(
            "an upstream is added",
            &|gateway| add(gateway, TWO),
            Taken(&["floor"], &["one", "two"]),
            &["one", "two"],
        ),
        case(
            "a source is added",
            &|gateway| add(gateway, &more("mqtt-listener")),
            Taken(&["floor", "more"], &["one", "two"]),
            &["one", "two"],
        ),
        case(
            "an upstream is another",
            &|gateway| {
                edit(
                    gateway,
                    "path = \"two.jsonl\"",
                    "path = \"three.jsonl\"\nmax_rate = 100",
                )
            },
            Taken(&["floor", "more"], &["one", "two"]),
            &["one", "three"],
        ),
        case(
            "a source is of another kind",
            &|gateway| {
                edit(
                    gateway,
                    "[sources.more]\ntype = \"mqtt-listener\"",
                    "[sources.more]\ntype = \"http\"",
                )
            },
            Taken(&["floor", "more"], &["one", "two"]),
            &["one", "three"],
        ),
        case(
            "a source listens elsewhere, an upstream has another name",
            &|gateway| {
                let text = std::fs::read_to_string(gateway.path("gateway.toml")).expect("a file");
                let at = text.find("type = \"http\"").expect("it is there");
                let line = text[at..].lines().nth(1).expect("its address").to_owned();
                edit(gateway, &line, &format!("listen = \"{}\"", port::free()));
                edit(gateway, "[upstreams.two]", "[upstreams.zwei]");
            },
            Taken(&["floor", "more"], &["one", "zwei"]),
            &["one", "three"],
        ),
    ]
}

fn of_mistakes() -> Vec<Case<'static>> {
    vec![
        case(
            "the file is cut off",
            &|gateway| add(gateway, "[upstreams.\n"),
            Refused(&["gateway.toml:"]),
            &["one", "three"],
        ),
        case(
            "an unknown key",
            &|gateway| {
                edit(
                    gateway,
                    "[upstreams.\n",
                    "[upstreams.new]\ntype = \"file\"\npth = \"new.jsonl\"\n",
                )
            },
            Refused(&["unknown key `pth` in [upstreams.new]"]),
            &["one", "three"],
        ),
        case(
            "rules folder that is not there",
            &|gateway| {
                edit(gateway, "pth = ", "path = ");
                edit(gateway, "[gateway]\n", "[gateway]\nrules = \"rules\"\n");
            },
            Refused(&["rules does not exist"]),
            &["one", "three"],
        ),
    ]
}

fn of_rules() -> Vec<Case<'static>> {
    vec![
        case(
            "rules for an upstream that comes with them",
            &|gateway| {
                std::fs::create_dir(gateway.path("rules")).expect("a folder");
                let text = "rule all { on \"#\" send to new }\n";
                std::fs::write(gateway.path("rules/all.rules"), text).expect("a file");
            },
            Taken(&["floor", "more"], &["one", "zwei", "new"]),
            &["new"],
        ),
        case(
            "an upstream goes that the rules name",
            &|gateway| edit(gateway, "[upstreams.new]", "[upstreams.neu]"),
            Refused(&[
                "[upstreams.new] is gone",
                "all.rules:1:",
                "unknown destination `new`",
            ]),
            &["new"],
        ),
        case(
            "it goes with its rules",
            &|gateway| {
                let text = "rule all { on \"#\" send to neu }\n";
                std::fs::create_dir(gateway.path("other")).expect("a folder");
                std::fs::write(gateway.path("other/all.rules"), text).expect("a file");
                edit(gateway, "rules = \"rules\"", "rules = \"other\"");
            },
            Taken(&["floor", "more"], &["one", "zwei", "neu"]),
            &["new"],
        ),
        case(
            "no rules any more, a source and two upstreams gone",
            &|gateway| {
                edit(gateway, "rules = \"other\"\n", "");
                let path = gateway.path("gateway.toml");
                let text = std::fs::read_to_string(&path).expect("a file");
                let at = text.find("[upstreams.zwei]").expect("it is there");
                std::fs::write(path, &text[..at]).expect("a file");
            },
            Taken(&["floor"], &["one"]),
            &["one"],
        ),
    ]
}

fn of_keys() -> Vec<Case<'static>> {
    vec![
        case(
            "keys that need a restart, with one that does not",
            &|gateway| {
                edit(
                    gateway,
                    "id = \"plant-a\"",
                    "id = \"plant-b\"\ndedup_window = 7",
                );
                add(gateway, TWO);
                add(
                    gateway,
                    "[store]\nkeep_for = \"1h\"\nmax_size = \"1GiB\"\n[dead_letters]\nmax = 7\n",
                );
                add(gateway, &format!("[api]\nlisten = \"{}\"\n", port::free()));
            },
            Restart(&[
                "restart needed",
                "`id` in [gateway]",
                "`dedup_window` in [gateway]",
                "`keep_for` in [store]",
                "`max_size` in [store]",
                "`max` in [dead_letters]",
                "`listen` in [api]",
            ]),
            &["one", "two"],
        ),
        case(
            "as it was",
            &|gateway| {
                edit(
                    gateway,
                    "id = \"plant-b\"\ndedup_window = 7",
                    "id = \"plant-a\"",
                );
                let path = gateway.path("gateway.toml");
                let text = std::fs::read_to_string(&path).expect("a file");
                let at = text.find("[store]").expect("it is there");
                std::fs::write(path, &text[..at]).expect("a file");
            },
            Taken(&["floor"], &["one", "two"]),
            &["one", "two"],
        ),
    ]
}

/// An event went there and nowhere else, and the books know it.
fn arrives_only(gateway: &Gateway, topic: &str, to: &[&str], name: &str) {
    for file in to {
        arrives(gateway, &format!("{file}.jsonl"), topic);
    }
    wait::find("the books balance", || {
        let books = &asked(gateway)["books"];
        let is_even = books["difference"] == 0 && books["waiting"] == 0;
        is_even.then_some(()).ok_or_else(|| books.to_string())
    });
    for other in ["one", "two", "three", "new"] {
        let text = std::fs::read_to_string(gateway.path(&format!("{other}.jsonl")));
        let is_there = text.unwrap_or_default().contains(topic);
        assert_eq!(is_there, to.contains(&other), "{name}: {other}");
    }
}

#[test]
fn what_a_sighup_brings_is_in_force_or_refused_and_connections_stay() {
    let mut gateway = Gateway::new(ONE);
    gateway.start();
    let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("it listens");
    let (mut sources, mut upstreams) = (vec!["floor".to_owned()], vec!["one".to_owned()]);
    for (
        number,
        Case {
            name,
            change,
            then,
            to,
        },
    ) in cases().into_iter().enumerate()
    {
        eprintln!("{name}");
        change(&gateway);
        reload(&gateway);
        let told = || -> Vec<String> {
            let status = asked(&gateway);
            let all = status["troubles"].as_array().into_iter().flatten();
            let lines = all.filter_map(|line| line.as_str().map(str::to_owned));
            lines
                .filter(|line| line.starts_with("configuration: "))
                .collect()
        };
        let has_all = |words: &[&str]| {
            let told = told();
            assert_eq!(told.len(), 1, "{name}: {told:?}");
            for word in words {
                assert!(told[0].contains(word), "{name}: {word} in {told:?}");
            }
        };
        match then {
            Taken(of_sources, of_upstreams) => {
                assert_eq!(told(), [""; 0], "{name}");
                sources = of_sources.iter().map(|name| (*name).to_owned()).collect();
                upstreams = of_upstreams.iter().map(|name| (*name).to_owned()).collect();
            }
            Refused(words) => {
                has_all(words);
                assert!(gateway.ask(&["check"]).status.code() != Some(1), "{name}");
            }
            Restart(words) => {
                has_all(words);
                upstreams.push("two".to_owned());
            }
        }
        let status = asked(&gateway);
        assert_eq!(names(&status, "sources"), sources, "{name}");
        assert_eq!(names(&status, "upstreams"), upstreams, "{name}");
        assert_eq!(status["gateway"]["id"], "plant-a", "{name}");
        let topic = format!("case/{number}");
        publish(&mut stream, &topic);
        arrives_only(&gateway, &topic, to, name);
    }
    // Its lane is the store's, which has it until the next start.
    let metrics = gateway.control("/metrics");
    let of_it = metrics
        .lines()
        .filter(|line| line.contains("upstream=\"zwei\""));
    let of_it: Vec<&str> = of_it
        .filter(|line| !line.starts_with("tidegate_backlog_"))
        .collect();
    assert_eq!(of_it, [""; 0], "its series are gone");
    assert!(gateway.terminate().success());
}

#[test]
fn what_is_told_of_a_reload_is_a_system_event_too() {
    let mut gateway = Gateway::new(ONE);
    gateway.start();
    add(&gateway, TWO);
    reload(&gateway);
    edit(&gateway, "[upstreams.two]", "[upstreams.]");
    reload(&gateway);
    let data = |what: &str| {
        let path = format!("/events?topic=$tidegate/configuration/{what}&limit=1");
        wait::find(&path, || {
            let events = asked_at(&gateway, &path);
            let data = events[0]["event"]["data"].clone();
            if data.is_object() {
                Ok(data)
            } else {
                Err(format!("{events}\n{}", gateway.log()))
            }
        })
    };
    let taken = data("taken");
    assert_eq!(
        taken["upstreams"]["added"],
        serde_json::json!(["two"]),
        "{taken}"
    );
    assert_eq!(taken["restart_needed"], serde_json::json!([]), "{taken}");
    let refused = data("refused");
    assert!(
        refused["errors"][0]
            .as_str()
            .is_some_and(|line| line.contains("gateway.toml:")),
        "{refused}"
    );
}
