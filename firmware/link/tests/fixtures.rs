//! The bytes of every message on the line, frozen: a change here is a change of protocol.

use serde::{Deserialize, Serialize};
use std::fmt::{Debug, Write};
use tidegate_link::frame::{FRAME_SIZE_MAX, decode, encode};
use tidegate_link::message::{Hello, Level, Payload, Record, ToDevice, ToGateway};
use tidegate_link::{Field, Kind, Schema, Sequence};

const FIELD: Field<'static> = Field {
    name: "temperature",
    unit: "Cel",
    kind: Kind::Integer { exponent: -1 },
};

fn hex(bytes: &[u8]) -> String {
    bytes.iter().fold(String::new(), |mut text, byte| {
        write!(text, "{byte:02x}").expect("a string takes everything");
        text
    })
}

fn check<'a, M: Serialize + Deserialize<'a> + PartialEq + Debug>(
    message: M,
    buffer: &'a mut [u8; FRAME_SIZE_MAX],
    expected: &str,
) {
    let size = encode(&message, buffer).expect("fits").len();
    assert_eq!(hex(&buffer[..size]), expected, "{message:?}");
    let read = postcard::from_bytes::<M>(decode(&mut buffer[..size - 1]).expect("a frame"));
    assert_eq!(read, Ok(message));
}

#[test]
fn messages_to_the_gateway_keep_their_bytes() {
    let hello = Hello {
        device: *b"node-001",
        boot: 3,
        session: 0,
        firmware: "1.0.0",
        slot: 1,
        schema: 0xDEAD_BEEF,
        window: 8,
        next: Sequence(300),
        oldest: Sequence(290),
        lost: 2,
    };
    let mut record = [0; 32];
    let payload = Payload::Readings {
        schema: 0xDEAD_BEEF,
        values: &[0xae, 0x03],
    };
    let record = postcard::to_slice(
        &Record {
            uptime_ms: 70_000,
            payload,
        },
        &mut record,
    )
    .unwrap();
    let event = ToGateway::Event {
        session: 513,
        sequence: Sequence(300),
        record,
    };
    let time = ToGateway::TimeReply {
        token: 7,
        boot: 3,
        uptime_ms: 70_000,
    };
    let field = ToGateway::SchemaField {
        key: 0xDEAD_BEEF,
        index: 0,
        count: 1,
        field: FIELD,
    };
    let log = ToGateway::Log {
        level: Level::Warn,
        text: "a measurement failed",
    };
    for (message, expected) in [
        (
            ToGateway::Hello(hello),
            "02010a6e6f64652d303031031705312e302e3001effdb6f50d08ac02a2020202efdf2d00",
        ),
        (event, "0b01018104ac020cf0a2040deffdb6f50d02ae03756bca5c00"),
        (time, "0c01020703f0a2049d6fdef800"),
        (
            field,
            "080103effdb6f50d18010b74656d70657261747572650343656c01ff3c73c04200",
        ),
        (
            log,
            "1d0104011461206d6561737572656d656e74206661696c656456341de700",
        ),
    ] {
        check(message, &mut [0; FRAME_SIZE_MAX], expected);
    }
}

#[test]
fn messages_to_the_node_keep_their_bytes() {
    let (session, next) = (513, Sequence(300));
    let welcome = ToDevice::Welcome {
        device: *b"node-001",
        boot: 3,
        session,
        next,
    };
    for (message, expected) in [
        (ToDevice::Discover, "020105be23c25800"),
        (welcome, "1401016e6f64652d303031038104ac0228e0f1e200"),
        (ToDevice::Ack { session, next }, "0b01028104ac022dca0ebe00"),
        (
            ToDevice::Resend { session, next },
            "0b01038104ac029de36e8300",
        ),
        (
            ToDevice::Refuse {
                session,
                next,
                retry_ms: 1_000,
            },
            "0d01048104ac02e807cd04517100",
        ),
        (ToDevice::TimeRequest { token: 7 }, "08010507c3d2901d00"),
        (
            ToDevice::SchemaRequest {
                key: 0xDEAD_BEEF,
                index: 2,
            },
            "0d0106effdb6f50d026a68584d00",
        ),
    ] {
        check(message, &mut [0; FRAME_SIZE_MAX], expected);
    }
}

#[test]
fn the_key_of_a_schema_stays() {
    let schema = Schema { fields: &[FIELD] };
    assert_eq!(format!("{:08x}", schema.key()), "42465323");
}
