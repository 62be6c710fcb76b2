//! Requests of which only a part comes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use tidegate_tests::{port, wait};

use crate::{start, with_hooks};

/// What each of the connections of one address sends, and then no more.
const HALVES: &[&str] = &[
    "",
    "POST /topics/a",
    "POST /topics/a HTTP/1.1\r\nHost: h\r\nX-Half",
    "POST /topics/a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n12",
    "POST /events HTTP/1.1\r\nHost: h\r\nContent-Type: application/cloudevents-batch+json\r\nContent-Length: 4000000\r\n\r\n[",
    "POST /topics/a HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\n1234",
];

/// Posts one event from another address of this machine; the status.
const FROM_ELSEWHERE: &str = "import http.client, sys
c = http.client.HTTPConnection('127.0.0.1', int(sys.argv[1]), source_address=('127.0.0.2', 0))
c.request('POST', '/topics/elsewhere', b'1')
print(c.getresponse().status)
";

#[test]
fn connections_of_one_address_that_send_half_do_not_shut_others_out() {
    for half in HALVES {
        // Fewer than this address opens, more than it may hold.
        let (mut gateway, hooks) = with_hooks("max_connections = 80\n");
        start(&mut gateway, hooks);
        let held: Vec<TcpStream> = (0..120)
            .map(|_| {
                let mut stream = port::connect(hooks);
                // One that is turned away may be closed already.
                let _ = stream.write_all(half.as_bytes());
                stream
            })
            .collect();
        gateway.wait_until("the rest is turned away", || {
            let turned = gateway.metric(
                "tidegate_source_malformed_total",
                "connections of one address",
            );
            turned >= 56
        });
        let elsewhere = Command::new("python3")
            .args(["-c", FROM_ELSEWHERE, &hooks.port().to_string()])
            .output()
            .expect("python3 runs");
        let status = String::from_utf8_lossy(&elsewhere.stdout);
        let why = String::from_utf8_lossy(&elsewhere.stderr);
        assert_eq!(status.trim(), "200", "{half:?}\n{why}");
        drop(held);
    }
}

/// What is counted when a head is not whole in time.
fn too_slow(gateway: &tidegate_tests::gateway::Gateway) -> u64 {
    gateway.metric("tidegate_source_malformed_total", "request timeout")
}

/// What comes until the connection ends.
fn rest(mut stream: TcpStream) -> String {
    stream
        .set_read_timeout(Some(wait::PATIENCE))
        .expect("a timeout");
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}

#[test]
fn a_head_that_has_begun_and_does_not_end_is_answered_and_ends_its_connection() {
    let (mut gateway, hooks) = with_hooks("head_timeout = \"600ms\"\n");
    start(&mut gateway, hooks);
    let whole = "POST /topics/a HTTP/1.1\r\nHost: h\r\nContent-Length: 1\r\n\r\n1";
    let heads = [
        "P".to_owned(),
        HALVES[1].to_owned(),
        HALVES[2].to_owned(),
        "POST /topics/a HTTP/1.1\r\n".to_owned(),
        "POST /topics/a HTTP/1.1\r\nHost: h\r\n".to_owned(),
        format!("POST /topics/a HTTP/1.1\r\nX-Long: {}", "x".repeat(30_000)),
        format!("\r\n{}", HALVES[1]),
    ];
    let mut count = 0;
    for head in &heads {
        for before in [false, true] {
            for drips in [false, true] {
                let mut stream = port::connect(hooks);
                if before {
                    // On a connection that served a request a head has no more time.
                    stream.write_all(whole.as_bytes()).expect("a request");
                    let mut piece = [0; 512];
                    let length = stream.read(&mut piece).expect("an answer");
                    let answer = String::from_utf8_lossy(&piece[..length]);
                    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
                }
                let began = std::time::Instant::now();
                stream.write_all(head.as_bytes()).expect("a part");
                let mut writer = stream.try_clone().expect("a second handle");
                let dripping = drips.then(|| {
                    std::thread::spawn(move || {
                        // A byte now and then does not keep it open.
                        while writer.write_all(b"x").is_ok() {
                            std::thread::sleep(std::time::Duration::from_millis(50));
                        }
                    })
                });
                let answer = rest(stream);
                let took = began.elapsed();
                let what = format!("{before} {drips} {:.60}: {answer}", head);
                if !drips {
                    assert!(
                        answer.starts_with("HTTP/1.1 408 Request Timeout\r\n"),
                        "{what}"
                    );
                    assert!(answer.contains("connection: close"), "{what}");
                    assert!(answer.contains("head_timeout"), "{what}");
                }
                // Not the 30 seconds that a connection may idle.
                assert!(took.as_secs() < 25, "{what} {took:?}");
                if let Some(dripping) = dripping {
                    dripping.join().expect("it ends");
                }
                count += 1;
                gateway.wait_until("it is counted", || too_slow(&gateway) == count);
            }
        }
    }
    assert_eq!(
        gateway.metric("tidegate_source_malformed_total", "\"http\""),
        0
    );
}

#[test]
fn a_connection_that_idles_is_no_head() {
    let (mut gateway, hooks) = with_hooks("head_timeout = \"200ms\"\n");
    start(&mut gateway, hooks);
    let silence = std::time::Duration::from_secs(1);
    let mut stream = port::connect(hooks);
    for between in ["", "\r\n", "\r\n\r\n", ""] {
        // Empty lines between requests are none of them.
        stream.write_all(between.as_bytes()).expect("it reads");
        std::thread::sleep(silence);
        let request = "POST /topics/a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\n1";
        stream.write_all(request.as_bytes()).expect("it reads");
        // The time of a head is none of its body.
        std::thread::sleep(silence);
        stream.write_all(b"23").expect("it reads");
        let mut piece = [0; 512];
        let length = stream.read(&mut piece).expect("an answer");
        let answer = String::from_utf8_lossy(&piece[..length]);
        assert!(answer.starts_with("HTTP/1.1 200"), "{between:?}: {answer}");
    }
    assert_eq!(too_slow(&gateway), 0);
}

#[test]
fn half_heads_give_their_places_back_while_others_post() {
    let (mut gateway, hooks) = with_hooks("head_timeout = \"500ms\"\nmax_connections = 8\n");
    start(&mut gateway, hooks);
    let held: Vec<TcpStream> = (0..40)
        .map(|_| {
            let mut stream = port::connect(hooks);
            stream.write_all(HALVES[2].as_bytes()).expect("a part");
            stream
        })
        .collect();
    // Behind all of them in the queue.
    let answer = crate::post(hooks, "/topics/late", "", b"1");
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    drop(held);
}

#[test]
fn what_never_becomes_a_request_ends_its_connection() {
    let (mut gateway, hooks) = with_hooks("");
    start(&mut gateway, hooks);
    let senders = HALVES[..3].iter().map(|half| {
        std::thread::spawn(move || {
            let mut stream = port::connect(hooks);
            stream.write_all(half.as_bytes()).expect("a part");
            let waits = std::time::Duration::from_millis(200);
            stream.set_read_timeout(Some(waits)).expect("a limit");
            let mut drip = 0;
            // A byte now and then does not keep it open.
            wait::until("the connection ends", || {
                drip += 1;
                let sent = half.is_empty() || stream.write_all(b"x").is_ok();
                !sent || stream.read(&mut [0; 256]).is_ok()
            });
            drip
        })
    });
    for sender in senders.collect::<Vec<_>>() {
        assert!(sender.join().expect("a sender") > 1);
    }
}
