//! What goes round comes to an end after a few rounds, is told, and costs no event; what only looks like it is left alone.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::ops::Range;
use std::sync::mpsc;
use std::time::{Duration, Instant};

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::subscriber::Subscriber;
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::{mqtt, port, wait};

/// Events that are sent into a ring.
const EVENTS: usize = 4;
/// Rounds that are not noticed where nothing but the content tells (README).
const UNTOLD_MAX: usize = 150;

fn is_told(gateway: &Gateway) -> bool {
    let status = gateway.status();
    let mut troubles = status["troubles"].as_array().into_iter().flatten();
    troubles.any(|one| {
        one.as_str()
            .is_some_and(|one| one.contains("comes in again"))
    })
}

fn publish(stream: &mut TcpStream, topic: &str, payload: &[u8]) {
    mqtt::publish_acknowledged(stream, topic, 1, payload);
}

fn accepted(gateway: &Gateway) -> u64 {
    gateway.metric("tidegate_events_accepted_total", "")
}

/// Waits until nothing new was accepted for a while; how much was.
fn quiet(gateways: &[&Gateway]) -> u64 {
    let count = || {
        gateways
            .iter()
            .map(|gateway| accepted(gateway))
            .sum::<u64>()
    };
    let (mut last, mut since) = (count(), Instant::now());
    wait::until("nothing goes round any more", || {
        std::thread::sleep(Duration::from_millis(100));
        let now = count();
        if now != last {
            (last, since) = (now, Instant::now());
        }
        since.elapsed() > Duration::from_secs(2)
    });
    last
}

/// A gateway with source and upstream at one broker.
fn at_one_broker(
    broker: &Mosquitto,
    version: &str,
    host: &str,
    upstream: &str,
    rules: &str,
) -> Gateway {
    let (port, address) = (broker.address.port(), broker.address);
    let gateway = Gateway::new(&format!(
        "[sources.plant]\ntype = \"mqtt\"\nurl = \"mqtt://{host}:{port}\"\nversion = \"{version}\"\ntopics = [\"#\"]\n\n\
         [upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{address}\"\nversion = \"{version}\"\n{upstream}\n"
    ));
    if !rules.is_empty() {
        gateway.write("rules/all.rules", rules);
    }
    gateway
}

#[test]
fn over_one_broker_an_event_goes_round_a_few_times_and_is_told() {
    const TEST: &str = "over_one_broker_an_event_goes_round_a_few_times_and_is_told";
    const SET: &str = "rule all { on \"#\" set seen = 1 send to cloud }";
    const ON: &str = "rule all { on \"plant/#\" send to cloud topic \"plant/again\" }";
    const TWICE: &str = "rule all { on \"#\" send to cloud }\nrule more { on \"#\" send to cloud topic \"plant/b\" }";
    let cases = [
        ("5", "127.0.0.1", "", ""),
        ("5", "127.0.0.1", "", SET),
        ("5", "127.0.0.1", "format = \"structured\"", ""),
        ("5", "localhost", "", ON),
        ("5", "127.0.0.1", "topic = \"again/{topic}\"", ""),
        ("5", "127.0.0.1", "qos = 2", TWICE),
        ("3.1.1", "127.0.0.1", "", ""),
        ("3.1.1", "localhost", "", ""),
        ("3.1.1", "127.0.0.1", "", SET),
        ("3.1.1", "127.0.0.1", "format = \"structured\"", ""),
        ("3.1.1", "127.0.0.1", "topic = \"again/{topic}\"", ""),
        ("3.1.1", "127.0.0.1", "", ON),
    ];
    for (version, host, upstream, rules) in cases {
        let case = format!("{version} {host} {upstream} {rules}");
        let Some(mut broker) = Mosquitto::new(TEST) else {
            return;
        };
        broker.start();
        let subscriber = Subscriber::start(broker.address);
        let mut gateway = at_one_broker(&broker, version, host, upstream, rules);
        gateway.start();
        wait::until("the source is there", || {
            gateway.metric("tidegate_source_up", "plant") == 1
        });
        let mut sensor = mqtt::connect(broker.address, "sensor", true).expect("let in");
        publish(&mut sensor, "plant/t", br#"{"v":1}"#);
        gateway.wait_until(&format!("{case}: told"), || is_told(&gateway));
        quiet(&[&gateway]);
        let copies = subscriber.settle(1, Duration::from_millis(500)).len();
        let most = if rules == TWICE { 1 + 2 + 4 + 8 } else { 4 };
        assert!((2..=most).contains(&copies), "{case}: {copies} copies");
        let letters = gateway.dead_letters();
        if (version, upstream, rules) == ("5", "", "") {
            // It comes back as it left, and is the same event: stored once, and no dead letter.
            assert_eq!((copies <= 3, letters.len()), (true, 0), "{case}: {copies}");
            continue;
        }
        let reason = letters[0]["reason"].as_str().unwrap_or_default();
        assert!(
            reason.contains("went through this gateway 3 times"),
            "{case}: {reason}"
        );
        assert!(letters.len() <= most, "{case}: {}", letters.len());
        // What does not go round goes on.
        assert!(gateway.terminate().success(), "{case}");
    }
}

/// A line to this address on which everything takes a time in this range.
fn long_line(to: SocketAddr, takes_ms: Range<u64>) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for near in listener.incoming().flatten() {
            let Ok(far) = TcpStream::connect(to) else {
                continue;
            };
            let both = near.try_clone().and_then(|n| Ok((n, far.try_clone()?)));
            let (near_again, far_again) = both.expect("descriptors");
            delay(near, far, takes_ms.clone());
            delay(far_again, near_again, takes_ms.clone());
        }
    });
    address
}

/// Hands on what comes, so much later.
fn delay(mut from: TcpStream, mut to: TcpStream, takes_ms: Range<u64>) {
    let (give, take) = mpsc::channel::<(Instant, Vec<u8>)>();
    std::thread::spawn(move || {
        let mut bytes = [0; 4096];
        while let Ok(count @ 1..) = from.read(&mut bytes) {
            let takes = Duration::from_millis(fastrand::u64(takes_ms.clone()));
            let _ = give.send((Instant::now() + takes, bytes[..count].to_vec()));
        }
    });
    std::thread::spawn(move || {
        for (due, bytes) in take {
            std::thread::sleep(due.saturating_duration_since(Instant::now()));
            let _ = to.write_all(&bytes);
        }
        let _ = to.shutdown(std::net::Shutdown::Both);
    });
}

/// Two gateways that forward to each other.
fn ring(version: &str, keys: [&str; 2], rules: [&str; 2]) -> [Gateway; 2] {
    ring_over(version, keys, rules, None)
}

/// The same, over a line on which what goes to the second takes so long.
fn ring_over(
    version: &str,
    keys: [&str; 2],
    rules: [&str; 2],
    takes_ms: Option<Range<u64>>,
) -> [Gateway; 2] {
    let mut pair = [Gateway::new(""), Gateway::new("")];
    let mut addresses = [pair[1].address, pair[0].address];
    if let Some(takes_ms) = takes_ms {
        addresses[0] = long_line(addresses[0], takes_ms);
    }
    for at in 0..2 {
        let path = pair[at].path("gateway.toml");
        let text = std::fs::read_to_string(&path).expect("a configuration");
        let text = text.replace("plant-a", ["plant-a", "central"][at]);
        let upstream = format!(
            "[upstreams.other]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nversion = \"{version}\"\nretry_min = \"50ms\"\nretry_max = \"200ms\"\n{}\n",
            addresses[at], keys[at]
        );
        std::fs::write(&path, text + &upstream).expect("written");
        if !rules[at].is_empty() {
            pair[at].write("rules/all.rules", rules[at]);
        }
    }
    pair.iter_mut().for_each(Gateway::start);
    pair
}

#[test]
fn in_a_ring_of_gateways_an_event_goes_round_a_few_times_and_is_told() {
    const SET: &str = "rule all { on \"#\" set seen = 1 send to other }";
    for (version, keys, rules, most) in [
        ("5", ["", ""], ["", ""], 8),
        ("5", ["", ""], [SET, SET], 8),
        ("5", ["format = \"structured\"", ""], ["", ""], 8),
        // Once it is set, it is set to what it was.
        ("3.1.1", ["", ""], [SET, ""], 2 * UNTOLD_MAX),
        ("3.1.1", ["format = \"structured\"", ""], ["", ""], 12),
        ("3.1.1", ["format = \"structured\""; 2], ["", ""], 8),
        ("3.1.1", ["format = \"structured\""; 2], [SET, SET], 8),
        ("3.1.1", ["", ""], ["", ""], 2 * UNTOLD_MAX),
    ] {
        let case = format!("{version} {keys:?} {rules:?}");
        let pair = ring(version, keys, rules);
        let mut sensor = mqtt::connect(pair[0].address, "sensor", true).expect("let in");
        for number in 1..=EVENTS {
            publish(
                &mut sensor,
                "plant/t",
                format!("{{\"v\":{number}}}").as_bytes(),
            );
        }
        wait::until(&format!("{case}: told"), || pair.iter().any(is_told));
        let taken = quiet(&[&pair[0], &pair[1]]) as usize;
        assert!(taken <= EVENTS * most, "{case}: {taken}");
        let kept: usize = pair
            .iter()
            .map(|gateway| gateway.dead_letters().len())
            .sum();
        let is_same = (version, keys, rules) == ("5", ["", ""], ["", ""]);
        assert!(is_same || kept >= EVENTS, "{case}: {kept} dead letters");
        // Nothing is lost: another one still comes through.
        publish(&mut sensor, "plant/other", br#"{"v":2}"#);
        wait::until(&format!("{case}: the next one arrives"), || {
            !pair[1].events(&["--topic", "plant/other"]).is_empty()
        });
    }
}

#[test]
fn in_a_ring_with_a_long_line_an_event_goes_round_a_few_times_and_is_told() {
    for takes_ms in [120..121, 1_000..1_001, 20..500] {
        let line = Some(takes_ms.clone());
        let pair = ring_over("3.1.1", ["", ""], ["", ""], line);
        let mut sensor = mqtt::connect(pair[0].address, "sensor", true).expect("let in");
        publish(&mut sensor, "plant/t", b"21.5");
        wait::until(&format!("{takes_ms:?} ms: told"), || {
            pair.iter().any(is_told)
        });
        let letters = || pair.iter().map(|it| it.dead_letters().len()).sum::<usize>();
        wait::until(&format!("{takes_ms:?} ms: it ends"), || letters() > 0);
        let taken = quiet(&[&pair[0], &pair[1]]) as usize;
        assert!(taken <= 2 * UNTOLD_MAX, "{takes_ms:?} ms: {taken}");
        eprintln!("{takes_ms:?} ms: taken {taken} times");
    }
}

#[test]
fn what_a_central_sends_back_on_purpose_is_taken() {
    const EDGE: &str = "rule up { on \"plant/#\" send to other }";
    const CENTRAL: &str =
        "rule alarm { on \"plant/{p}\" when v > 1 send to other topic \"cmd/{p}\" }";
    for version in ["5", "3.1.1"] {
        let pair = ring(version, ["", ""], [EDGE, CENTRAL]);
        let mut sensor = mqtt::connect(pair[0].address, "sensor", true).expect("let in");
        for _ in 0..10 {
            publish(&mut sensor, "plant/t", br#"{"v":2}"#);
        }
        wait::for_count("commands", 10, || {
            pair[0].events(&["--topic", "cmd/t"]).len()
        });
        assert!(!pair.iter().any(is_told));
        assert!(pair.iter().all(|gateway| gateway.dead_letters().is_empty()));
    }
}

#[test]
fn a_sensor_that_repeats_its_reading_is_no_loop() {
    const TEST: &str = "a_sensor_that_repeats_its_reading_is_no_loop";
    for (version, events, pause_ms) in [
        ("3.1.1", 30, 100),
        ("3.1.1", 70, 40),
        ("3.1.1", 400, 15),
        ("5", 200, 15),
    ] {
        let Some(mut broker) = Mosquitto::new(TEST) else {
            return;
        };
        broker.start();
        let subscriber = Subscriber::start(broker.address);
        let mut gateway = Gateway::new(&format!(
            "[sources.commands]\ntype = \"mqtt\"\nurl = \"mqtt://{0}\"\nversion = \"{version}\"\ntopics = [\"cmd/#\"]\n\n\
             [upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{0}\"\nversion = \"{version}\"\n",
            broker.address
        ));
        gateway.start();
        let mut sensor = mqtt::connect(gateway.address, "sensor", true).expect("let in");
        for _ in 0..events {
            publish(&mut sensor, "plant/t", b"21.5");
            std::thread::sleep(Duration::from_millis(pause_ms));
        }
        let arrived = subscriber.settle(events, Duration::from_millis(500)).len();
        assert_eq!(arrived, events, "{version}, every {pause_ms} ms");
        // It falls silent for longer than the upstream is held to see what comes by itself, and goes on.
        std::thread::sleep(Duration::from_secs(8));
        for _ in 0..12 {
            publish(&mut sensor, "plant/t", b"21.5");
            std::thread::sleep(Duration::from_millis(50));
        }
        let arrived = subscriber
            .settle(events + 12, Duration::from_millis(500))
            .len();
        assert_eq!(
            arrived,
            events + 12,
            "{version}, every {pause_ms} ms, later"
        );
        assert_eq!(gateway.dead_letters(), Vec::<Value>::new());
        assert!(!is_told(&gateway));
    }
}

/// Posts a structured event that came this way.
fn post(address: SocketAddr, id: &str, path: &str) {
    let body = format!(
        r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t","topic":"t/{id}","tidegatepath":"{path}","data":1}}"#
    );
    let mut stream = port::connect(address);
    let head = format!(
        "POST /events HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\nContent-Type: application/cloudevents+json\r\nContent-Length: {}\r\n\r\n",
        body.len()
    );
    let request = head + &body;
    stream.write_all(request.as_bytes()).expect("it reads");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).expect("an answer");
    assert!(answer.starts_with("HTTP/1.1 200"), "acknowledged: {answer}");
}

#[test]
fn after_a_restart_the_marks_of_earlier_starts_are_known() {
    let door = port::free();
    let mut gateway = Gateway::new(&format!(
        "[sources.door]\ntype = \"http\"\nlisten = \"{door}\"\n\n[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n"
    ));
    let mut marks = Vec::new();
    for start in 0..3 {
        gateway.start();
        let id = format!("start{start}");
        post(door, &id, "none");
        let line = wait::find("it is written", || {
            let text = std::fs::read_to_string(gateway.path("archive.jsonl")).unwrap_or_default();
            let line = text.lines().find(|line| line.contains(&id));
            line.map(str::to_owned).ok_or(text)
        });
        let written: Value = serde_json::from_str(&line).expect("JSON");
        marks.push(written["tidegatepath"].as_str().expect("a way").to_owned());
        // However it ends.
        match start {
            0 => drop(gateway.kill()),
            1 => assert!(gateway.terminate().success()),
            _ => {}
        }
    }
    assert!(marks[0] != marks[1] && marks[1] != marks[2] && marks[0].len() == 16);
    let foreign = "00000000000000aa";
    for (id, path, is_stopped) in [
        ("first", [&marks[0], &marks[0], &marks[0]], true),
        ("mixed", [&marks[0], &marks[1], &marks[2]], true),
        ("twice", [&marks[0], &marks[2], &foreign.to_owned()], false),
        (
            "foreign",
            [
                &foreign.to_owned(),
                &foreign.to_owned(),
                &foreign.to_owned(),
            ],
            false,
        ),
    ] {
        let before = gateway.dead_letters().len();
        post(door, id, &path.map(String::as_str).join("."));
        match is_stopped {
            true => wait::until(id, || gateway.dead_letters().len() > before),
            false => wait::until(id, || {
                let text = std::fs::read_to_string(gateway.path("archive.jsonl"));
                text.unwrap_or_default().contains(&format!("t/{id}"))
            }),
        }
        assert_eq!(
            gateway.dead_letters().len(),
            before + usize::from(is_stopped),
            "{id}"
        );
    }
    assert!(is_told(&gateway));
}
