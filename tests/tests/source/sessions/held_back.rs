//! PINGREQ is answered while acknowledgements are withheld: a client that is held back is not a client that hears nothing.

use std::io::{BufRead, BufReader, Write};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::raw::{Hello, LEVELS, PINGREQ, PINGRESP, RawClient, V5, publish};
use tidegate_tests::peer;

use crate::{real, start, topics};

/// What a slow disk does.
const SYNCS: &str = "fsync,fdatasync,sync_file_range,msync,syncfs,sync";

/// A tracer that makes every sync of the gateway take `delay`.
struct SlowDisk(Child);

impl SlowDisk {
    fn begin(gateway: &Gateway, delay: Duration, test: &str) -> Option<SlowDisk> {
        let program = peer::find("strace", test)?;
        let inject = format!("inject={SYNCS}:delay_enter={}", delay.as_micros());
        let mut child = Command::new(program)
            .args(["-f", "-o", "/dev/null", "-e", &format!("trace={SYNCS}")])
            .args(["-e", &inject, "-p", &gateway.pid().to_string()])
            .stdin(Stdio::null())
            .stderr(Stdio::piped())
            .spawn()
            .expect("strace starts");
        let said = BufReader::new(child.stderr.take().expect("its words"));
        let mut lines = said.lines();
        let attached = lines.any(|line| line.is_ok_and(|line| line.contains("attached")));
        if !attached {
            let _ = child.kill();
            let _ = child.wait();
            peer::skip(test, "strace may not trace here (ptrace is refused)");
            return None;
        }
        // It says a line for each thread that it meets.
        std::thread::spawn(move || lines.for_each(drop));
        Some(SlowDisk(child))
    }
}

impl Drop for SlowDisk {
    fn drop(&mut self) {
        let _ = Command::new("kill").arg(self.0.id().to_string()).status();
        let _ = self.0.wait();
    }
}

/// What a client sends in one piece, where the window has room for two publishes.
fn pieces(level: u8) -> Vec<(&'static str, Vec<u8>, usize)> {
    let one = |id: u16| publish(level, 1, id, "held", b"1");
    let ping = PINGREQ.to_vec();
    let mut all = vec![
        ("a full window", vec![one(1), one(2), ping.clone()], 1),
        (
            "QoS 2",
            vec![publish(level, 2, 1, "held", b"1"), one(2), ping.clone()],
            1,
        ),
        (
            "two pings",
            vec![one(1), ping.clone(), one(2), ping.clone()],
            2,
        ),
    ];
    if level != V5 {
        // MQTT 5 says how many may be under way, and closes on more.
        all.extend([
            (
                "a full window and one",
                vec![one(1), one(2), one(3), ping.clone()],
                1,
            ),
            (
                "pings all over",
                vec![
                    one(1),
                    ping.clone(),
                    one(2),
                    one(3),
                    ping.clone(),
                    one(4),
                    ping.clone(),
                ],
                3,
            ),
            (
                "QoS 0 behind it",
                vec![
                    one(1),
                    one(2),
                    publish(level, 0, 0, "held", b"0"),
                    ping.clone(),
                ],
                1,
            ),
            (
                "a SUBSCRIBE behind it",
                vec![
                    one(1),
                    one(2),
                    one(3),
                    tidegate_tests::mqtt::raw::subscribe(level, 9, "x", 0),
                    ping,
                ],
                1,
            ),
        ]);
    }
    let all = all
        .into_iter()
        .map(|(what, packets, pings)| (what, packets.concat(), pings));
    all.collect()
}

#[test]
fn a_ping_is_answered_while_the_window_is_full_and_acknowledgements_are_withheld() {
    let gateway = start("receive_max = 2");
    let disk = SlowDisk::begin(&gateway, Duration::from_secs(4), "pings");
    if disk.is_none() {
        return;
    }
    for level in LEVELS {
        let mut open: Vec<_> = pieces(level)
            .into_iter()
            .map(|(what, bytes, pings)| {
                let mut client = RawClient::connect(gateway.address, &Hello::new(level, what));
                client.send(&bytes);
                (what, pings, client)
            })
            .collect();
        for (what, pings, client) in &mut open {
            for _ in 0..*pings {
                assert_eq!(client.packet(), Some(PINGRESP), "level {level}, {what}");
            }
        }
        for (what, _, client) in &mut open {
            let after = client.packet();
            let first = after.as_ref().map(|(first, _)| *first);
            let is_answer = matches!(first, Some(0x40 | 0x50));
            assert!(is_answer, "level {level}, {what}: {after:?}");
        }
    }
    drop(disk);
    // A ping that was answered ahead of its turn is not answered again.
    for level in LEVELS {
        let mut client = RawClient::connect(gateway.address, &Hello::new(level, "after"));
        for _ in 0..3 {
            client.send(&PINGREQ);
            assert_eq!(client.packet(), Some(PINGRESP));
        }
        client.stored(level, "after", b"1");
    }
}

#[test]
fn a_ping_is_answered_while_the_intake_takes_no_more() {
    let gateway = start("max_payload = \"1MiB\"");
    let Some(disk) = SlowDisk::begin(&gateway, Duration::from_secs(5), "pings at a full intake")
    else {
        return;
    };
    // One client fills what may be under way in all.
    let mut flood = RawClient::connect(gateway.address, &Hello::new(V5, "flood"));
    let load = vec![b'x'; 900_000];
    let mut writer = flood.stream.try_clone().expect("a second handle");
    let sender = std::thread::spawn(move || {
        for id in 1..=40 {
            writer
                .write_all(&publish(V5, 1, id, "flood", &load))
                .expect("it reads on");
        }
    });
    std::thread::sleep(Duration::from_secs(1));
    let mut open = LEVELS.map(|level| {
        let mut client =
            RawClient::connect(gateway.address, &Hello::new(level, &format!("{level}")));
        client.send(&publish(level, 1, 1, "small", b"1"));
        (level, client)
    });
    for (level, client) in &mut open {
        for _ in 0..2 {
            client.send(&PINGREQ);
            assert_eq!(client.packet(), Some(PINGRESP), "{level}");
        }
    }
    drop(disk);
    for (level, client) in &mut open {
        let ack = client.packet();
        assert_eq!(ack, Some((0x40, vec![0, 1])), "{level}");
    }
    sender.join().expect("all is sent");
    for _ in 1..=40 {
        assert_eq!(flood.packet().expect("acknowledged").0, 0x40);
    }
    assert_eq!(topics(&gateway, "small").len(), 3);
}

#[test]
fn a_real_client_stays_connected_over_a_slow_disk() {
    let Some(program) = peer::find("mosquitto_pub", "a slow disk") else {
        return;
    };
    let gateway = start("receive_max = 5");
    let Some(disk) = SlowDisk::begin(&gateway, Duration::from_secs(9), "a slow disk") else {
        return;
    };
    let mut clients: Vec<_> = ["mqttv31", "mqttv311", "mqttv5"]
        .iter()
        .map(|version| {
            let mut client = real(&program, &gateway, &["-V", version, "-k", "5", "-q", "1"]);
            client.args(["-l", "-t", version, "-i", version]);
            client.args(["--will-topic", &format!("will/{version}")]);
            let mut client = client.stdin(Stdio::piped()).spawn().expect("it starts");
            let mut lines = client.stdin.take().expect("its input");
            let text: String = (0..15).map(|number| format!("{number}\n")).collect();
            lines.write_all(text.as_bytes()).expect("it reads");
            (version, client, lines)
        })
        .collect();
    for (version, _, _) in &clients {
        gateway.wait_until("the first are stored", || {
            !topics(&gateway, version).is_empty()
        });
    }
    drop(disk);
    for (version, client, lines) in &mut clients {
        gateway.wait_until("all are stored", || topics(&gateway, version).len() >= 15);
        let _ = lines;
        assert!(
            client.try_wait().expect("a child").is_none(),
            "{version} is still there"
        );
        assert_eq!(
            topics(&gateway, version).len(),
            15,
            "{version} sent none twice"
        );
    }
    assert!(topics(&gateway, "will/#").is_empty(), "none was lost");
    for (_, mut client, lines) in clients {
        drop(lines);
        assert!(client.wait().expect("a child").success());
    }
}
