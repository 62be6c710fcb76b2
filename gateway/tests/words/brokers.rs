//! What a broker says when it does not want the gateway, or is none.

use std::io::{Read, Write};
use std::net::TcpListener;

use tidegate_tests::gateway::Gateway;

use crate::last_error;

/// Bytes that are sent after CONNECT, then those after the next packet; then the connection is closed.
struct Broker {
    answers: &'static [&'static [u8]],
    version: &'static str,
    /// Words of a source, and those of an upstream.
    words: [&'static [&'static str]; 2],
}

const CONNACK_5: &[u8] = &[0x20, 3, 0, 0, 0];
const OLDER: &[&str] = &["before CONNACK", "set `version = \"3.1.1\"`"];
const CASES: &[Broker] = &[
    // One that knows 3.1.1 only hangs up, or says so in the form of 3.1.1.
    Broker {
        answers: &[b""],
        version: "5",
        words: [OLDER, OLDER],
    },
    Broker {
        answers: &[&[0x20, 3, 0, 0x84, 0]],
        version: "5",
        words: [
            &["unsupported protocol version", "try `version = \"3.1.1\"`"],
            &["unsupported protocol version", "try `version = \"3.1.1\"`"],
        ],
    },
    Broker {
        answers: &[b""],
        version: "3.1.1",
        words: [
            &["closed the connection before CONNACK"],
            &["closed the connection before CONNACK"],
        ],
    },
    Broker {
        answers: &[&[0x20, 2, 0, 5]],
        version: "3.1.1",
        words: [
            &["not authorized", "see `user` and `password_file`"],
            &["not authorized", "see `user` and `password_file`"],
        ],
    },
    // It says why it goes, in words of its own too.
    Broker {
        answers: &[CONNACK_5, &[0xe0, 2, 0x8b, 0]],
        version: "5",
        words: [
            &["disconnected: server shutting down (0x8b)"],
            &["disconnected: server shutting down (0x8b)"],
        ],
    },
    Broker {
        answers: &[
            CONNACK_5,
            &[0xe0, 9, 0x97, 7, 0x1f, 0, 4, b'l', b'i', b'm', b't'],
        ],
        version: "5",
        words: [
            &["quota exceeded (0x97): limt"],
            &["quota exceeded (0x97): limt"],
        ],
    },
    Broker {
        answers: &[CONNACK_5, &[0xe0, 2, 0x8e, 0]],
        version: "5",
        words: [
            &["session taken over", "set `client_id`"],
            &["session taken over", "another client"],
        ],
    },
    // It is none.
    Broker {
        answers: &[b"HTTP/1.1 400 Bad Request\r\n\r\n"],
        version: "5",
        words: [&["see the port in `url`"], &["it speaks HTTP, not MQTT"]],
    },
    Broker {
        answers: &[&[0x15, 3, 3, 0, 2, 2, 10]],
        version: "5",
        words: [&["mqtts://"], &["it speaks TLS; write mqtts:// in `url`"]],
    },
    // A SUBACK with fewer answers than filters grants nothing that anybody knows of.
    Broker {
        answers: &[CONNACK_5, &[0x90, 4, 0, 1, 0, 1]],
        version: "5",
        words: [&["answers 1 of the 2 filters"], &[]],
    },
];

/// A broker of these answers.
fn serve(answers: &'static [&'static [u8]]) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
    let port = listener.local_addr().expect("its address").port();
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let mut buffer = [0; 4096];
                for (place, answer) in answers.iter().enumerate() {
                    // An upstream says nothing after CONNECT for as long as it has no event.
                    let says_more = place == 0 || answer.first() == Some(&0x90);
                    if says_more && !matches!(stream.read(&mut buffer), Ok(1..)) {
                        return;
                    }
                    let _ = stream.write_all(answer);
                }
                // What answers a SUBSCRIBE stays.
                if answers.last().and_then(|last| last.first()) == Some(&0x90) {
                    while let Ok(1..) = stream.read(&mut buffer) {}
                }
            });
        }
    });
    port
}

#[test]
fn why_a_broker_does_not_want_the_gateway_is_told_with_what_to_do() {
    let mut sections = String::new();
    for (number, broker) in CASES.iter().enumerate() {
        let (version, [_, out]) = (broker.version, broker.words);
        let url = || format!("mqtt://127.0.0.1:{}", serve(broker.answers));
        sections += &format!(
            "[sources.in_{number}]\ntype = \"mqtt\"\ntopics = [\"a/{number}\", \"b/{number}\"]\nurl = \"{}\"\nversion = \"{version}\"\n",
            url()
        );
        if !out.is_empty() {
            sections += &format!(
                "[upstreams.out_{number}]\ntype = \"mqtt\"\nurl = \"{}\"\nversion = \"{version}\"\n",
                url()
            );
        }
    }
    let mut gateway = Gateway::new(&sections);
    gateway.start();
    for (number, broker) in CASES.iter().enumerate() {
        last_error(
            &gateway,
            "sources",
            &format!("in_{number}"),
            broker.words[0],
        );
        if !broker.words[1].is_empty() {
            last_error(
                &gateway,
                "upstreams",
                &format!("out_{number}"),
                broker.words[1],
            );
        }
    }
    assert!(
        !gateway.whole_log().contains("abruptly"),
        "{}",
        gateway.log()
    );
}
