//! The decoder takes any bytes whatever: it gives packets, waits, or says what is wrong. It never
//! panics, and never waits for more than it may buffer.

use bytes::BytesMut;
use proptest::prelude::*;
use tidegate::source::mqtt_listener::codec::decode::{self, Decoded};
use tidegate::source::mqtt_listener::codec::packet::Packet;

use crate::client::{V3, V5, connect, connect_with, packet, publish, subscribe, text, unsubscribe};

const BYTES_MAX: usize = 1000;

/// Packets as a good client sends them.
fn good(level: u8) -> Vec<Vec<u8>> {
    let will = [
        text("id"),
        vec![0; usize::from(level == V5)],
        text("w"),
        text("x"),
    ];
    let login = [text("user"), text("password")];
    vec![
        connect(level, "client"),
        connect_with(level, 0xce, 9, &[will.concat(), login.concat()]),
        publish(level, 0, 0, "a/b", b"21.5"),
        publish(level, 2, 513, "a/b", b"21.5"),
        packet(
            0x34,
            b"\0\x03a/b\0\x07\x0e\x03\0\x01c\x08\0\x01r\x26\0\x01k\0\x00",
        ),
        packet(0x62, &[0, 7]),
        packet(0x40, &[0, 7]),
        subscribe(level, 3, "a/+/#", 1),
        unsubscribe(level, 4, "a"),
        vec![0xc0, 0],
        vec![0xe0, 0],
    ]
}

/// Reads all that `bytes` hold; the packets, and whether something was refused.
fn read(bytes: &[u8], level: u8) -> (Vec<Packet>, bool) {
    let mut buffer = BytesMut::from(bytes);
    let mut packets = Vec::new();
    loop {
        let before = buffer.len();
        match decode::next_packet(&mut buffer, level, BYTES_MAX) {
            Ok(Decoded::Packet(packet)) => packets.push(packet),
            Ok(Decoded::Incomplete) => {
                assert!(before <= BYTES_MAX + 5, "it waits with {before} bytes");
                return (packets, false);
            }
            Ok(Decoded::TooLarge(bytes)) => {
                assert!(bytes > BYTES_MAX);
                return (packets, true);
            }
            Err(_) => return (packets, true),
        }
        assert!(buffer.len() < before, "a packet of no bytes");
    }
}

#[test]
fn good_packets_are_read_whole_and_only_when_whole() {
    for level in [V3, V5] {
        for bytes in good(level) {
            if level == V3 && bytes[0] == 0x34 {
                continue;
            }
            let (packets, refused) = read(&bytes, level);
            assert!(packets.len() == 1 && !refused, "{level} {bytes:?}");
            for len in 0..bytes.len() {
                let cut = read(&bytes[..len], level);
                assert_eq!(cut, (vec![], false), "{len} bytes of {bytes:?}");
            }
        }
    }
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(4096))]

    #[test]
    fn any_bytes_are_read_or_refused(
        bytes in proptest::collection::vec(any::<u8>(), 0..2000),
        level in 3..=V5,
    ) {
        read(&bytes, level);
        decode::claimed_level(&bytes);
    }

    #[test]
    fn any_body_of_any_packet_is_read_or_refused(
        first in any::<u8>(),
        body in proptest::collection::vec(any::<u8>(), 0..100),
        level in 3..=V5,
    ) {
        read(&packet(first, &body), level);
    }

    #[test]
    fn a_good_packet_with_bytes_changed_is_read_or_refused(
        which in any::<prop::sample::Index>(),
        changes in proptest::collection::vec((any::<prop::sample::Index>(), any::<u8>()), 1..4),
        cut in any::<prop::sample::Index>(),
        level in 3..=V5,
    ) {
        let mut bytes = which.get(&good(level)).clone();
        for (at, byte) in changes {
            let at = at.index(bytes.len());
            bytes[at] = byte;
        }
        read(&bytes, level);
        bytes.truncate(cut.index(bytes.len()));
        read(&bytes, level);
    }
}
