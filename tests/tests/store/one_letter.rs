//! An event makes one dead letter for each cause, not for each rule: whether rules fail on it or an upstream takes it from
//! none of them. What is sent again is what each rule sent, all of it, once, under the id it had.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::broker::{Answer, Broker};
use tidegate_tests::peer::webhook;
use tidegate_tests::{mqtt, wait};

const ARCHIVE: &str = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n\n";
const EVENTS: usize = 10;
const RULES: usize = 40;
/// Rules that a letter is shown with.
const NAMED: usize = 10;

/// One way in which an upstream takes no event.
enum Far {
    Webhook,
    /// PUBACK with this reason.
    Broker(u8),
    /// It takes no packet as large as that.
    Small,
}

/// Outputs that one upstream refuses, or cannot be sent.
struct Case {
    what: &'static str,
    far: Far,
    /// Of rule `{n}`.
    rule: &'static str,
    /// Letters of an event.
    letters: usize,
    /// Each output is an event of its own, with an id of its own.
    derived: bool,
}

fn cases() -> [Case; 6] {
    let plain = "send to web";
    let case = |what, far, rule| Case {
        what,
        far,
        rule,
        letters: 1,
        derived: true,
    };
    [
        Case {
            derived: false,
            ..case("a webhook, the event as it came", Far::Webhook, plain)
        },
        case(
            "a webhook, a payload of each rule",
            Far::Webhook,
            "set maker = {n} send to web",
        ),
        case(
            "a webhook, a topic of each rule",
            Far::Webhook,
            "send to web topic \"made/{n}\"",
        ),
        case(
            "a broker, a payload of each rule and a topic of one in two",
            Far::Broker(0x99),
            "set maker = {n} send to web topic \"made/{n}\"",
        ),
        case(
            "a broker with a packet limit",
            Far::Small,
            "set maker = {n} send to web topic \"made/{n}\"",
        ),
        Case {
            letters: 2,
            ..case(
                "a webhook, two priorities",
                Far::Webhook,
                "set maker = {n} send to web priority {priority}",
            )
        },
    ]
}

fn rules(case: &Case) -> String {
    let rule = |n: usize| {
        let priority = ["critical", "low"][n % 2];
        let body = case.rule.replace("\"made/{n}\"", &format!("\"made/{n}\""));
        let body = body
            .replace("{n}", &n.to_string())
            .replace("{priority}", priority);
        format!("rule r{n} {{ on \"odd\" {body} }}\n")
    };
    (0..RULES).map(rule).collect()
}

fn upstream(far: &Far) -> (String, Option<Broker>) {
    let (keys, broker) = match far {
        Far::Webhook => {
            let url = webhook::that_refuses();
            (
                format!("type = \"http\"\nurl = \"{url}\"\nrequests_max = 4"),
                None,
            )
        }
        Far::Broker(reason) => {
            let reason = *reason;
            let broker = Broker::start(&[], move |_| Answer::Reason(reason));
            (
                format!("type = \"mqtt\"\nurl = \"mqtt://{}\"", broker.address),
                Some(broker),
            )
        }
        Far::Small => {
            let broker = Broker::start(&[0x27, 0, 0, 4, 0], |_| Answer::Reason(0));
            (
                format!("type = \"mqtt\"\nurl = \"mqtt://{}\"", broker.address),
                Some(broker),
            )
        }
    };
    let keys = format!("[upstreams.web]\n{keys}\nrefusals_max = 1\n\n");
    (keys, broker)
}

fn publish(gateway: &Gateway) {
    let mut sensor = mqtt::connect(gateway.address, "sensor", true).expect("let in");
    for number in 0..EVENTS {
        let payload = format!("{{\"number\":{number},\"text\":\"{}\"}}", "x".repeat(1100));
        mqtt::publish_acknowledged(&mut sensor, "odd", 1, payload.as_bytes());
    }
}

/// Waits until nothing waits and all is counted, and gives the books.
fn settled(gateway: &Gateway) -> Value {
    wait::find("everything has its fate", || {
        let books = gateway.status()["books"].clone();
        match books["waiting"] == 0 && books["difference"] == 0 {
            true => Ok(books),
            false => Err(format!("{books}\n{}", gateway.log())),
        }
    })
}

#[test]
fn one_event_makes_one_letter_however_many_rules_fail_on_it() {
    let rules: String = (0..1000)
        .map(|n| {
            format!(
                "rule r{n} {{ on \"odd\" when number / (number - number) > {n} send to archive }}\n"
            )
        })
        .collect();
    let mut gateway = Gateway::new(ARCHIVE);
    gateway.write("rules/all.rules", &rules);
    gateway.start();
    publish(&gateway);
    assert_eq!(settled(&gateway)["dead_lettered"], EVENTS);
    assert_eq!(gateway.status()["store"]["dead_letters"], EVENTS);
}

#[test]
fn one_event_makes_one_letter_for_an_upstream_that_takes_it_from_no_rule() {
    for case in cases() {
        println!("{}", case.what);
        check(&case);
    }
}

fn check(case: &Case) {
    let what = case.what;
    let (web, _broker) = upstream(&case.far);
    let mut gateway = Gateway::new(&format!("{ARCHIVE}{web}"));
    gateway.write("rules/all.rules", &rules(case));
    gateway.start();
    publish(&gateway);
    let books = settled(&gateway);
    let all = EVENTS * case.letters;
    assert_eq!(books["difference"], 0, "{what}: {books}");
    assert_eq!(books["dead_lettered"], all, "{what}: {books}");
    assert_eq!(books["routed"], all, "{what}: {books}");
    gateway.kill();
    gateway.start();
    // What was not written of the lane's place is refused once more, and there once.
    settled(&gateway);
    let letters = gateway.dead_letters();
    assert_eq!(letters.len(), all, "{what}");
    for letter in &letters {
        assert_eq!(letter["outputs"], RULES / case.letters, "{what}: {letter}");
        assert_eq!(
            letter["rules"].as_array().map(Vec::len),
            Some(NAMED),
            "{what}: {letter}"
        );
        assert_eq!(letter["of"], "upstream web", "{what}");
    }
    let stored = gateway.events(&["--topic", "odd", "--limit", "100"]);
    assert_eq!(stored.len(), EVENTS, "{what}");
    for output in stored
        .iter()
        .flat_map(|event| event["outputs"].as_array())
        .flatten()
    {
        assert_eq!(output["fate"], "dead letter", "{what}: {output}");
    }
    let sent = gateway.ask(&["dead-letters", "retry", "--all", "--to", "archive"]);
    assert!(sent.status.success(), "{what}: {sent:?}");
    sent_again(case, &gateway);
    assert_eq!(settled(&gateway)["difference"], 0, "{what}");
    assert_eq!(gateway.dead_letters(), Vec::<Value>::new(), "{what}");
}

/// Everything is in the archive: for each event what each rule sent, once.
fn sent_again(case: &Case, gateway: &Gateway) {
    let what = case.what;
    let lines = wait::find("all of it is sent again", || {
        let text = std::fs::read_to_string(gateway.path("archive.jsonl")).unwrap_or_default();
        let lines = text
            .lines()
            .filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let lines: Vec<Value> = lines.collect();
        match lines.len() >= EVENTS * RULES {
            true => Ok(lines),
            false => Err(format!("{} lines\n{}", lines.len(), gateway.log())),
        }
    });
    assert_eq!(lines.len(), EVENTS * RULES, "{what}");
    let mut contents: BTreeMap<String, usize> = BTreeMap::new();
    let mut ids = BTreeSet::new();
    for line in &lines {
        *contents
            .entry(format!("{} {}", line["topic"], line["data"]))
            .or_default() += 1;
        let id = line["id"].as_str().unwrap_or_default().to_owned();
        if let (true, Some((_, of))) = (case.derived, id.split_once('/')) {
            // The rules have one output each, in their order.
            let (rule, number) = of.split_once('/').expect("a rule and a number");
            assert_eq!(rule, format!("r{number}"), "{what}: {id}");
        }
        ids.insert(id);
    }
    let (different, times) = match case.derived {
        true => (EVENTS * RULES, 1),
        false => (EVENTS, RULES),
    };
    assert_eq!(
        (contents.len(), ids.len()),
        (different, different),
        "{what}"
    );
    assert!(
        contents.values().all(|count| *count == times),
        "{what}: {contents:?}"
    );
}

const NOWHERE: &str = "[upstreams.web]\ntype = \"http\"\nurl = \"http://127.0.0.1:1/\"\n";

/// Ids of what the archive has, once it is so many.
fn archived(gateway: &Gateway, count: usize) -> Vec<String> {
    wait::find("all are there", || {
        let text = std::fs::read_to_string(gateway.path("archive.jsonl")).unwrap_or_default();
        let lines = text.lines();
        let lines = lines.filter_map(|line| serde_json::from_str::<Value>(line).ok());
        let ids: Vec<String> = lines.map(|line| line["id"].to_string()).collect();
        (ids.len() == count)
            .then_some(ids)
            .ok_or_else(|| gateway.log())
    })
}

#[test]
fn what_is_moved_or_sent_again_keeps_its_id_beside_what_was_delivered() {
    let (refuses, _broker) = upstream(&Far::Webhook);
    for (web, moves) in [(&*refuses, false), (NOWHERE, true)] {
        let mut gateway = Gateway::new(&format!("{ARCHIVE}{web}"));
        // The third output of one rule does not arrive, the others are delivered under the ids with 0 and 1.
        let near = "send to archive topic \"a\" send to archive topic \"b\"";
        let rule = |far: &str| format!("rule r {{ on \"odd\" {near} {far} }}\n");
        gateway.write("rules/all.rules", &rule("send to web topic \"c\""));
        gateway.start();
        publish(&gateway);
        archived(&gateway, 2 * EVENTS);
        let arguments = match moves {
            false => {
                settled(&gateway);
                &["dead-letters", "retry", "--all", "--to", "archive"][..]
            }
            true => {
                assert!(gateway.terminate().success());
                gateway.write("rules/all.rules", &rule(""));
                let path = gateway.path("gateway.toml");
                let text = std::fs::read_to_string(&path).expect("a configuration");
                std::fs::write(&path, text.replace(web, "")).expect("written");
                gateway.start();
                &["store", "lanes", "move", "web", "--to", "archive"]
            }
        };
        let sent = gateway.ask(arguments);
        assert!(sent.status.success(), "{sent:?}");
        let ids = archived(&gateway, 3 * EVENTS);
        let numbered = ids.iter().filter(|id| id.ends_with("/r/2\""));
        assert_eq!(numbered.count(), EVENTS, "{arguments:?}: {ids:?}");
        assert_eq!(ids.iter().collect::<BTreeSet<_>>().len(), 3 * EVENTS);
    }
}
