//! The README's session in hex, played to the real gateway.

use std::io::Write;

use tidegate_link::message::{ToDevice, ToGateway};
use tidegate_tests::wait;

use super::{framed, gateway, line, read_some, restart, stored, take_frame, text, unframed};

const README: &str = include_str!("../../../../firmware/README.md");

/// The README's session: who speaks, and the frame.
fn session() -> Vec<(&'static str, Vec<u8>)> {
    let (_, block) = README.split_once("```session\n").expect("a session");
    let (block, _) = block.split_once("```").expect("its end");
    let byte = |pair: &[u8]| u8::from_str_radix(std::str::from_utf8(pair).ok()?, 16).ok();
    let line = |line: &'static str| {
        let mut words = line.split_whitespace().skip(1);
        let who = words.next().expect("somebody");
        let hex = words.next().expect("a frame").as_bytes();
        (who, hex.chunks(2).filter_map(byte).collect())
    };
    block.lines().map(line).collect()
}

/// What the gateway made up and the README cannot know.
#[derive(Default)]
struct Drawn {
    session: u16,
    token: u16,
}

impl Drawn {
    fn put_into_node(&self, message: &mut ToGateway<'_>) {
        match message {
            ToGateway::Hello(hello) if hello.session != 0 => hello.session = self.session,
            ToGateway::Event { session, .. } => *session = self.session,
            ToGateway::TimeReply { token, .. } => *token = self.token,
            _ => {}
        }
    }

    /// Learns from what came, and puts into what is expected.
    fn learn(&mut self, came: &ToDevice, expected: &mut ToDevice) {
        match came {
            ToDevice::Welcome { session, .. } => self.session = *session,
            ToDevice::TimeRequest { token } => self.token = *token,
            _ => {}
        }
        match expected {
            ToDevice::Welcome { session, .. }
            | ToDevice::Ack { session, .. }
            | ToDevice::Resend { session, .. } => *session = self.session,
            ToDevice::TimeRequest { token } => *token = self.token,
            _ => {}
        }
    }
}

/// Whether the gateway may say this while it is to say something else: slow machines make it ask again.
fn may_come_between(came: &ToDevice) -> bool {
    !matches!(came, ToDevice::Welcome { .. } | ToDevice::Refuse { .. })
}

#[test]
fn the_session_of_the_readme_is_what_the_gateway_says() {
    let mut gateway = gateway();
    let (mut port, far) = line(&gateway);
    gateway.start();
    let (mut drawn, mut bytes, mut said) = (Drawn::default(), Vec::new(), Vec::new());
    for (who, frame) in session() {
        let message = unframed(&frame);
        match who {
            "node" => {
                let mut message = postcard::from_bytes(&message).expect("a message");
                drawn.put_into_node(&mut message);
                port.write_all(&framed(&message)).expect("it goes out");
            }
            "restart" => restart(&mut gateway, &far),
            "gateway" => {
                let mut expected: ToDevice = postcard::from_bytes(&message).expect("a message");
                // It does store that one here: what comes again is acknowledged again.
                if matches!(expected, ToDevice::Refuse { .. }) {
                    continue;
                }
                wait::find("the gateway says what the README says", || {
                    read_some(&port, &mut bytes);
                    let Some(frame) = take_frame(&mut bytes) else {
                        return Err(format!("{expected:?} is missing after {said:?}"));
                    };
                    let came = postcard::from_bytes(&unframed(&frame)).expect("a message");
                    drawn.learn(&came, &mut expected);
                    said.push(came);
                    if came == expected {
                        return Ok(());
                    }
                    assert!(may_come_between(&came), "{said:?} instead of {expected:?}");
                    Err("something else".into())
                });
            }
            _ => {}
        }
    }
    let values = ["21.5", "21.6", "21.7", "21.6", "-0.5"];
    let expected: Vec<_> = values
        .iter()
        .enumerate()
        .map(|(n, value)| {
            let data = format!("{{\"temperature\":{value}}}");
            (format!("node-001-3-{n}"), data)
        })
        .collect();
    let stored: Vec<_> = stored(&gateway, "reading")
        .iter()
        .map(|event| (text(&event["id"]), event["data"].to_string()))
        .collect();
    assert_eq!(stored, expected);
}
