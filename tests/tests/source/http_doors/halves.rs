//! Requests of which only a part comes.

use std::io::{Read, Write};
use std::net::TcpStream;
use std::process::Command;

use tidegate_tests::wait;

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
                let mut stream = TcpStream::connect(hooks).expect("it listens");
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

#[test]
fn a_head_that_does_not_end_ends_its_connection() {
    let (mut gateway, hooks) = with_hooks("");
    start(&mut gateway, hooks);
    let senders = HALVES[..3].iter().map(|half| {
        std::thread::spawn(move || {
            let mut stream = TcpStream::connect(hooks).expect("it listens");
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
