//! A large set of rules is saved under load: it is compiled beside the events, the last save wins, and no event sees two
//! sets or none.

use std::io::{Read, Write};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::thread::JoinHandle;
use std::time::Instant;

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::{mqtt, wait};

const UPSTREAMS: &str = "[upstreams.one]\ntype = \"file\"\npath = \"one.jsonl\"\n\n\
                         [upstreams.two]\ntype = \"file\"\npath = \"two.jsonl\"\n";
/// With one more, as many as there may be.
const LARGE: usize = 9_999;

fn all_to(upstream: &str) -> String {
    format!("rule all {{ on \"#\" send to {upstream} }}\n")
}

fn gateway() -> Gateway {
    let gateway = Gateway::new(UPSTREAMS);
    gateway.write("rules/all.rules", &all_to("one"));
    gateway
}

/// Puts a folder with `count` rules beside `all` in the place of the rules, in one step.
fn save(gateway: &Gateway, count: usize, name: &str) {
    let rule = |at: usize| {
        format!(
            "event {name}{at} {{ topic \"site{at}/{{line}}/temp\" v float in -40..40000 n text }}\n\
             rule {name}{at} {{ on {name}{at} when v > {at} and matches(n, \"^\\\\w+-[a-z]{{1,5}}$\") send to two }}\n"
        )
    };
    let next = gateway.path("next");
    std::fs::create_dir(&next).expect("a folder");
    for begin in (0..count).step_by(2_500) {
        let text: String = (begin..count.min(begin + 2_500)).map(rule).collect();
        std::fs::write(next.join(format!("{begin}.rules")), text).expect("a file");
    }
    std::fs::write(next.join("all.rules"), all_to("one")).expect("a file");
    let last = gateway.path(&format!("before-{name}"));
    std::fs::rename(gateway.path("rules"), last).expect("it is ours");
    std::fs::rename(next, gateway.path("rules")).expect("it is ours");
}

fn rules(gateway: &Gateway) -> Value {
    let answer = gateway.control("/status");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    let status: Value = serde_json::from_str(body).expect("JSON");
    status["rules"].clone()
}

/// Waits until `count` rules are in force.
fn in_force(gateway: &Gateway, count: usize) -> Value {
    wait::find("the rules are in force", || {
        let rules = rules(gateway);
        match rules["rules"] == count {
            true => Ok(rules),
            false => Err(rules.to_string()),
        }
    })
}

/// The flag of a thread that ends (proc_pid_stat(5)).
const PF_EXITING: u32 = 4;

/// Threads that compile.
fn compiling(gateway: &Gateway) -> usize {
    let tasks = std::fs::read_dir(format!("/proc/{}/task", gateway.pid())).expect("it runs");
    let stats = tasks
        .flatten()
        .map(|task| std::fs::read_to_string(task.path().join("stat")));
    let is_one = |stat: &String| {
        let (name, fields) = stat.rsplit_once(") ").expect("a name");
        let flags = fields.split(' ').nth(6).expect("flags");
        let ends = flags.parse::<u32>().expect("a number") & PF_EXITING != 0;
        name.ends_with("(rules") && !ends
    };
    stats.flatten().filter(is_one).count()
}

/// One client that publishes one after the other, each once the one before is acknowledged.
struct Client {
    enough: Arc<AtomicBool>,
    running: JoinHandle<Vec<Instant>>,
}

impl Client {
    fn start(gateway: &Gateway) -> Client {
        let enough = Arc::new(AtomicBool::new(false));
        let until = Arc::clone(&enough);
        let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("it listens");
        stream
            .set_read_timeout(Some(wait::PATIENCE))
            .expect("a timeout");
        let running = std::thread::spawn(move || {
            let mut acknowledged = Vec::new();
            let mut buffer = Vec::new();
            while !until.load(Ordering::Relaxed) {
                let number = acknowledged.len();
                let payload = format!("{{\"number\":{number}}}");
                let sent = mqtt::publish("a/b", (number % 60_000 + 1) as u16, payload.as_bytes());
                stream.write_all(&sent).expect("it listens");
                let mut bytes = [0; 64];
                while mqtt::take(&mut buffer).is_none() {
                    let count = stream.read(&mut bytes).expect("an answer");
                    assert!(count > 0, "the connection ended");
                    buffer.extend_from_slice(&bytes[..count]);
                }
                acknowledged.push(Instant::now());
            }
            acknowledged
        });
        Client { enough, running }
    }

    /// When each was acknowledged.
    fn end(self) -> Vec<Instant> {
        self.enough.store(true, Ordering::Relaxed);
        self.running.join().expect("it does not panic")
    }
}

/// Publishes once and waits for the acknowledgement.
fn publish(gateway: &Gateway, topic: &str) {
    let mut stream = mqtt::connect(gateway.address, "other", true).expect("it listens");
    mqtt::publish_acknowledged(&mut stream, topic, 1, b"{}");
}

#[test]
fn acknowledgements_go_on_while_a_large_set_is_compiled() {
    let mut gateway = gateway();
    // As on a machine with one core.
    gateway.under(["taskset", "-c", "0"].map(Into::into).to_vec());
    gateway.start();
    let client = Client::start(&gateway);
    wait::until("it publishes", || {
        gateway.metric("tidegate_events_accepted", "") > 20
    });
    let began = Instant::now();
    save(&gateway, LARGE, "r");
    let activated = format!("rules={}", LARGE + 1);
    gateway.wait_until("the log tells", || gateway.whole_log().contains(&activated));
    let ended = Instant::now();
    let acknowledged = client.end();
    let mut moments = vec![began];
    let during = acknowledged
        .into_iter()
        .filter(|at| (began..ended).contains(at));
    moments.extend(during);
    moments.push(ended);
    let gaps = moments.windows(2).map(|pair| pair[1] - pair[0]);
    let longest = gaps.max().expect("two moments at least");
    let whole = ended - began;
    println!(
        "{} acknowledgements in {whole:?}, none for {longest:?}",
        moments.len() - 2
    );
    assert!(longest < whole / 2, "none for {longest:?} of {whole:?}");
}

#[test]
fn a_gateway_that_compiles_stops_at_once() {
    let mut gateway = gateway();
    gateway.start();
    save(&gateway, LARGE, "r");
    gateway.wait_until("it compiles", || compiling(&gateway) > 0);
    assert!(gateway.terminate().success());
    let log = gateway.whole_log();
    assert!(!log.contains(&format!("rules={}", LARGE + 1)), "{log}");
    gateway.start();
    in_force(&gateway, LARGE + 1);
}

#[test]
fn of_several_saves_the_last_one_wins_and_none_waits_in_a_row() {
    let mut gateway = gateway();
    gateway.start();
    for name in ["a", "b", "c"] {
        save(&gateway, LARGE, name);
        gateway.wait_until("it compiles", || compiling(&gateway) > 0);
    }
    save(&gateway, 3, "last");
    let mut most = 0;
    gateway.wait_until("the last one is in force", || {
        most = most.max(compiling(&gateway));
        rules(&gateway)["rules"] == 4
    });
    assert!(most <= 1, "{most} were compiled at once");
    // Each of those before was given up or, on a fast machine, done before the next was saved.
    let generation = rules(&gateway)["generation"].as_u64().expect("a number");
    assert!((2..=5).contains(&generation), "{generation}");
    assert!(gateway.metric("tidegate_rule_events", "last2") == 0);
    let listed = gateway.control("/metrics");
    assert!(
        listed.contains("rule=\"last2\"") && !listed.contains("rule=\"c2\""),
        "{listed}"
    );
}

#[test]
fn every_event_is_decided_by_one_set_while_sets_are_switched() {
    let mut gateway = gateway();
    gateway.start();
    let client = Client::start(&gateway);
    let switches = 12;
    for switch in 1..=switches {
        let upstream = ["one", "two"][switch % 2];
        // Many others beside it, which keep their state.
        let others = |at: usize| format!("rule r{at} {{ on \"x/{at}\" send to one }}\n");
        let text: String = (0..300).map(others).collect();
        gateway.write("rules/all.rules", &(text + &all_to(upstream)));
        wait::until("it is switched", || {
            rules(&gateway)["generation"].as_u64() == Some(switch as u64 + 1)
        });
        // What comes after that is decided by the new set.
        let topic = format!("after/{switch}");
        publish(&gateway, &topic);
        let file = format!("{upstream}.jsonl");
        gateway.wait_until("it goes where the new rules send it", || {
            let text = std::fs::read_to_string(gateway.path(&file)).unwrap_or_default();
            text.contains(&topic)
        });
    }
    let published = client.end().len();
    let read = |name: &str| std::fs::read_to_string(gateway.path(name)).unwrap_or_default();
    let count = || {
        let all = read("one.jsonl") + &read("two.jsonl");
        (0..published)
            .map(|number| all.matches(&format!("\"number\":{number}}}")).count())
            .collect::<Vec<usize>>()
    };
    gateway.wait_until("all arrive", || count().iter().all(|count| *count > 0));
    assert_eq!(count(), vec![1; published]);
    assert!(!read("one.jsonl").is_empty() && !read("two.jsonl").is_empty());
}

/// A name, what is done to a folder, and the words that are to be said of it.
type TooMuch = (&'static str, fn(&Path), &'static str);

/// What a folder may not hold, and what is said of it.
const TOO_MUCH: [TooMuch; 4] = [
    (
        "rules",
        |folder| {
            let rule = |at: usize| format!("rule r{at} {{ on \"x/{at}\" send to one }}\n");
            let text: String = (0..LARGE + 2).map(rule).collect();
            std::fs::write(folder.join("many.rules"), text).expect("a file");
        },
        "there are more than 10000 rules",
    ),
    (
        "bytes",
        |folder| {
            for file in 0..9 {
                let text = format!("#{}", " ".repeat(1_000_000));
                std::fs::write(folder.join(format!("{file}.rules")), text).expect("a file");
            }
        },
        "more than 8388608 bytes of rules",
    ),
    (
        "bytes of a file",
        |folder| {
            std::fs::write(folder.join("0.rules"), " ".repeat(1_048_577)).expect("a file");
        },
        "a rule file has at most 1048576",
    ),
    (
        "files",
        |folder| {
            for file in 0..1_000 {
                std::fs::write(folder.join(format!("{file}.rules")), "").expect("a file");
            }
        },
        "1001 rule files, at most 1000 are read",
    ),
];

#[test]
fn a_set_beyond_the_limits_is_refused_with_the_limit() {
    let mut gateway = gateway();
    gateway.start();
    for (what, write, said) in TOO_MUCH {
        write(&gateway.path("rules"));
        wait::find(what, || {
            let refused = rules(&gateway)["refused"].to_string();
            if refused.contains(said) {
                Ok(())
            } else {
                Err(refused)
            }
        });
        save(&gateway, 0, &what.replace(" ", "-"));
        wait::until("it is mended", || {
            rules(&gateway)["refused"] == serde_json::json!([])
        });
    }
    assert_eq!(rules(&gateway)["generation"], 1);
}
