//! A node whose schema cannot be used is welcome all the same: its readings are stored as the bytes they are, and the log says why.

use std::fs::File;
use std::io::Write;

use tidegate_link::Sequence;
use tidegate_link::message::{Hello, ToDevice, ToGateway};
use tidegate_tests::wait;

use super::{framed, gateway, line, read_some, stored, take_frame, text, unframed};

const KEY: u32 = 9;

/// What the node answers to a request for each field, and what the log says. Number, key, index, count, name, unit, kind.
const CASES: [(&[&[u8]], &str); 6] = [
    (
        &[&[3, 9, 0, 0, 0, 0, 0]],
        "the device does not know its own schema",
    ),
    (
        &[&[3, 9, 0, 33, 1, b'a', 0, 0]],
        "the schema has more than 32 fields",
    ),
    (
        &[&[3, 9, 0, 1, 1, b'a', 0, 3]],
        "a field of it cannot be read",
    ),
    (
        &[
            &[3, 9, 0, 2, 1, b'a', 0, 0],
            &[3, 9, 1, 2, 1, b'b', 0, 77, 1, 2],
        ],
        "a field of it cannot be read",
    ),
    (
        &[&[3, 9, 0, 2, 1, b'a', 0, 0], &[3, 9, 1, 2, 1, b'a', 0, 0]],
        "two fields of the schema have one name, or a field has none",
    ),
    (
        &[&[3, 9, 0, 3, 1, b'a', 0, 0], &[3, 9, 1, 2, 1, b'b', 0, 0]],
        "a schema field came out of order",
    ),
];

/// Bytes without a length before them.
struct Raw<'a>(&'a [u8]);

impl serde::Serialize for Raw<'_> {
    fn serialize<S: serde::Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        use serde::ser::SerializeTuple;
        let mut tuple = serializer.serialize_tuple(self.0.len())?;
        for byte in self.0 {
            tuple.serialize_element(byte)?;
        }
        tuple.end()
    }
}

/// The next message of the gateway that `is_it` is told from.
fn await_message<T>(
    port: &File,
    bytes: &mut Vec<u8>,
    what: &str,
    mut is_it: impl FnMut(ToDevice) -> Option<T>,
) -> T {
    wait::find(what, || {
        read_some(port, bytes);
        let frame = take_frame(bytes).ok_or("nothing")?;
        let message = postcard::from_bytes(&unframed(&frame)).map_err(|_| "no message")?;
        is_it(message).ok_or("something else")
    })
}

/// A node that nothing is known of joins, answers so, and hands over one record.
fn join(port: &File, device: [u8; 8], answers: &[&[u8]]) {
    let mut bytes = Vec::new();
    let hello = Hello {
        device,
        boot: 1,
        session: 0,
        firmware: "odd",
        slot: 0,
        schema: KEY,
        window: 8,
        next: Sequence(1),
        oldest: Sequence(0),
        lost: 0,
    };
    let send = |frame: Vec<u8>| { port }.write_all(&frame).expect("it goes out");
    send(framed(&ToGateway::Hello(hello)));
    for (at, answer) in answers.iter().enumerate() {
        await_message(port, &mut bytes, "the field is asked for", |message| {
            let ToDevice::SchemaRequest { key, index } = message else {
                return None;
            };
            ((key, usize::from(index)) == (KEY, at)).then_some(())
        });
        send(framed(&Raw(answer)));
    }
    let session = await_message(port, &mut bytes, "it is welcome", |message| match message {
        ToDevice::Welcome { session, .. } => Some(session),
        _ => None,
    });
    // 5 ms, readings, the schema, one byte of values.
    let event = ToGateway::Event {
        session,
        sequence: Sequence(0),
        record: &[5, 0, 9, 1, 1],
    };
    send(framed(&event));
    await_message(
        port,
        &mut bytes,
        "its record is stored",
        |message| match message {
            ToDevice::Ack {
                next: Sequence(1), ..
            } => Some(()),
            _ => None,
        },
    );
}

#[test]
fn a_node_whose_schema_cannot_be_used_is_welcome_and_told() {
    let mut gateway = gateway();
    let (port, _far) = line(&gateway);
    gateway.start();
    for (at, (answers, why)) in CASES.iter().enumerate() {
        let said = gateway.said(why);
        let device = format!("odd-{at:04}");
        join(
            &port,
            device.as_bytes().try_into().expect("8 bytes"),
            answers,
        );
        wait::for_count(why, said + 1, || gateway.said(why));
    }
    let readings = stored(&gateway, "reading");
    assert_eq!(readings.len(), CASES.len());
    for (at, reading) in readings.iter().enumerate() {
        assert_eq!(text(&reading["id"]), format!("odd-{at:04}-1-0"));
        let kind = text(&reading["datacontenttype"]);
        assert_eq!(kind, "application/vnd.tidegate.readings", "{reading}");
    }
}
