//! Dead letters are bounded for each rule, declaration, source and upstream: what one sets aside takes room from nobody else,
//! is in the books and in the troubles, and beyond the bound it is dropped and told.

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::peer::webhook;
use tidegate_tests::wait;

/// Its events are set aside; those of the next publisher are fine.
const ODD: u32 = 0;
const HEALTHY: u64 = 200;
const ARCHIVE: &str = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n\n";
const KEEP: &str = "rule keep { on \"p/1/t\" send to archive }\n";

/// One way in which events become dead letters.
struct Case {
    what: &'static str,
    /// Whose letters they are.
    of: &'static str,
    source: &'static str,
    rules: String,
    /// The publisher of what is set aside.
    publisher: u32,
    odd: u64,
    store: &'static str,
    /// Letters that are kept, where that is known.
    kept: Option<u64>,
}

impl Case {
    fn new(what: &'static str, of: &'static str, rules: &str) -> Case {
        Case {
            what,
            of,
            source: "",
            rules: rules.to_owned(),
            publisher: ODD,
            odd: 700,
            store: "[dead_letters]\nmax = 50\n\n",
            kept: Some(50),
        }
    }
}

fn cases() -> Vec<Case> {
    let breach =
        "event bad { topic \"p/0/t\"\n check int required }\nrule r { on bad send to archive }\n";
    let fails: String = (0..100)
        .map(|n| format!("rule r{n} {{ on \"p/0/t\" when n / (n - n) > {n} send to archive }}\n"))
        .collect();
    let one_more = "rule s { on \"p/0/t\" send to dead_letter reason \"no\" }\n";
    vec![
        Case::new("a broken declaration", "event bad", breach),
        Case {
            odd: 5_000,
            store: "[store]\nmax_size = \"4MiB\"\nkeep_for = \"0s\"\n\n",
            kept: None,
            ..Case::new("a broken declaration in a small store", "event bad", breach)
        },
        Case::new("rules that fail", "rule r0", &fails),
        Case::new("a rule that says so", "rule s", one_more),
        Case::new(
            "several rules that say the same",
            "rule s",
            &one_more.repeat(2).replace("\nrule s", "\nrule t"),
        ),
        Case::new(
            "no rule for it",
            "rule unmatched",
            "unmatched { send to dead_letter reason \"no rule\" }\n",
        ),
        Case {
            source: "max_topic = \"10B\"\n\n",
            publisher: 1_000_000,
            ..Case::new(
                "a device under a topic that is not taken",
                "source floor",
                "",
            )
        },
        Case::new(
            "an upstream that refuses",
            "upstream web",
            "rule w { on \"p/0/t\" send to web }\n",
        ),
        Case {
            odd: 100,
            ..Case::new(
                "an upstream that refuses what many rules send",
                "upstream web",
                &(0..20)
                    .map(|n| format!("rule w{n} {{ on \"p/0/t\" send to web }}\n"))
                    .collect::<String>(),
            )
        },
    ]
}

fn start(case: &Case) -> Gateway {
    let web = match case.of {
        "upstream web" => format!(
            "[upstreams.web]\ntype = \"http\"\nurl = \"{}\"\nrefusals_max = 1\nrequests_max = 4\n\n",
            webhook::that_refuses()
        ),
        _ => String::new(),
    };
    let (source, store) = (case.source, case.store);
    let mut gateway = Gateway::new(&format!("{source}{store}{ARCHIVE}{web}"));
    gateway.write("rules/all.rules", &format!("{KEEP}{}", case.rules));
    gateway.start();
    gateway
}

fn publish(gateway: &Gateway, publisher: u32, count: u64) {
    let share = Share {
        count,
        per_second: 1e9,
        window: 100,
    };
    let load = Load::start(gateway.address, publisher..publisher + 1, share);
    let (_, left) = load.end();
    assert_eq!(left, 0, "not acknowledged\n{}", gateway.log());
}

/// Waits until nothing waits in the books and all is counted, and gives the status.
fn settled(gateway: &Gateway) -> Value {
    wait::find("everything has its fate", || {
        let status = gateway.status();
        let books = &status["books"];
        match books["waiting"] == 0 && books["difference"] == 0 {
            true => Ok(status),
            false => Err(format!("{}\n{}", status["books"], gateway.log())),
        }
    })
}

/// Dropped letters of which gap records tell.
fn told(gateway: &Gateway) -> u64 {
    let gaps = gateway.events(&["--topic", "$tidegate/store/gap", "--limit", "1000"]);
    gaps.iter()
        .map(|gap| {
            let said = &gap["event"]["data"];
            assert_eq!(said["reason"], "dead_letters", "{gap}");
            said["events"].as_u64().expect("a count")
        })
        .sum()
}

fn troubles(status: &Value) -> Vec<String> {
    let lines = status["troubles"].as_array().expect("a list");
    lines
        .iter()
        .filter_map(|line| line.as_str().map(str::to_owned))
        .collect()
}

#[test]
fn dead_letters_are_bounded_told_and_take_room_from_nobody_else() {
    for case in cases() {
        println!("{}", case.what);
        check(&case);
    }
}

fn check(case: &Case) {
    let mut gateway = start(case);
    publish(&gateway, case.publisher, case.odd);
    publish(&gateway, ODD + 1, HEALTHY);
    let delivered = || gateway.metric("tidegate_upstream_delivered_total", "archive");
    gateway.wait_until("the others are delivered", || delivered() == HEALTHY);
    let status = settled(&gateway);
    let books = &status["books"];
    let (kept, dropped) = (&books["dead_lettered"], &books["letters_dropped"]);
    let (kept, dropped) = (
        kept.as_u64().expect("a count"),
        dropped.as_u64().expect("one"),
    );
    let what = case.what;
    assert_eq!(books["difference"], 0, "{what}: {books}");
    assert_eq!(kept + dropped, case.odd, "{what}: {books}");
    assert!(
        dropped > 0 && case.kept.is_none_or(|known| known == kept),
        "{what}: {books}"
    );
    assert_eq!(status["store"]["dead_letters"], kept, "{what}");
    // Those of a small store are not kept for long.
    if case.kept.is_some() {
        gateway.wait_until("gap records tell of all", || told(&gateway) >= dropped);
        assert_eq!(told(&gateway), dropped, "{what}");
    }
    let full = || {
        let lines = troubles(&gateway.status());
        lines
            .iter()
            .any(|line| line.starts_with(case.of) && line.contains("are dropped"))
    };
    gateway.wait_until("it is a trouble", full);
    let lane = match case.of {
        "upstream web" => "\"web\"",
        _ => "\"dead_letter\"",
    };
    let metric = "tidegate_upstream_dead_letters_dropped_total";
    assert_eq!(gateway.metric(metric, lane), dropped, "{what}");

    gateway.kill();
    gateway.start();
    retry(case, &gateway, kept);
}

/// All of them go elsewhere after a restart, and the trouble with them.
fn retry(case: &Case, gateway: &Gateway, kept: u64) {
    let what = case.what;
    let lines = |word: &str| {
        let lines = troubles(&gateway.status());
        lines
            .iter()
            .any(|line| line.starts_with(case.of) && line.contains(word))
    };
    gateway.wait_until("they are a trouble still", || {
        lines("are held as dead letters")
    });
    let letters = gateway.dead_letters();
    assert_eq!(letters.len() as u64, kept, "{what}");
    assert!(
        letters.iter().all(|letter| letter["of"] == case.of),
        "{what}: {letters:?}"
    );
    let sent = gateway.ask(&["dead-letters", "retry", "--all", "--to", "archive"]);
    let said = String::from_utf8_lossy(&sent.stdout);
    assert!(
        said.starts_with(&format!("{kept} dead letters sent again")),
        "{what}: {said}"
    );
    let delivered = || gateway.metric("tidegate_upstream_delivered_total", "archive");
    // What was delivered just before the kill may be once more.
    gateway.wait_until("they are delivered", || delivered() >= kept);
    gateway.wait_until("the trouble is over", || !lines("dead letters"));
}

#[test]
fn dropping_all_letters_gives_their_room_back_at_any_cap_running_or_not() {
    // The smallest one, where their share binds; where their bound does; and where neither does.
    let caps = [("1MiB", "1MiB"), ("2MiB", "64KiB"), ("64MiB", "8MiB")];
    let ways = caps.into_iter().flat_map(|cap| [(cap, true), (cap, false)]);
    for ((store, letters), runs) in ways {
        println!("{store}, {letters}, running: {runs}");
        let mut gateway = Gateway::new(&format!(
            "[store]\nmax_size = \"{store}\"\nkeep_for = \"0s\"\n\n[dead_letters]\nmax_size = \"{letters}\"\n\n{ARCHIVE}"
        ));
        gateway.write("rules/all.rules", "unmatched { send to dead_letter }\n");
        gateway.start();
        publish(&gateway, ODD, 1_000);
        let held = settled(&gateway)["store"]["dead_letters"]
            .as_u64()
            .expect("a count");
        let folder = gateway.path("data/store/dead-letters");
        assert!(held > 100 && folder.join("1").exists(), "{held}");
        if !runs {
            assert!(gateway.terminate().success());
        }
        let dropped = gateway.ask(&["dead-letters", "drop", "--all", "--yes"]);
        let said = String::from_utf8_lossy(&dropped.stdout);
        assert!(
            said.starts_with(&format!("{held} dead letters dropped")),
            "{said}"
        );
        let left = std::fs::read_dir(&folder).map_or(0, Iterator::count);
        assert_eq!(left, 0, "their files are still there");
        if !runs {
            gateway.start();
        }
        publish(&gateway, ODD + 1, 100);
        let again = settled(&gateway)["store"]["dead_letters"].as_u64();
        assert_eq!(again, Some(100));
    }
}
