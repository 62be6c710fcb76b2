//! A client that is held back: what it sends waits in the buffer, but its PINGREQs are answered. A
//! client that hears nothing for a while hangs up, and sends everything again.

use bytes::BytesMut;

use super::codec::encode;
use super::codec::fields;

/// First byte of PINGREQ.
const PINGREQ: u8 = 0xc0;

/// What was seen of the packets that wait.
#[derive(Default)]
pub(super) struct Lookahead {
    /// Bytes at the front of the buffer that were looked at: whole packets.
    seen_bytes: usize,
    /// PINGREQs among them, which are answered.
    answered: usize,
}

impl Lookahead {
    /// Answers the PINGREQs that wait. The buffer begins with a packet.
    pub(super) fn answer_pings(&mut self, buffer: &[u8], out: &mut BytesMut) {
        while let Some(rest) = buffer.get(self.seen_bytes..)
            && let Ok(Some(header)) = fields::header(rest)
            && header.len + header.remaining <= rest.len()
        {
            if (header.first, header.remaining) == (PINGREQ, 0) {
                encode::pingresp(out);
                self.answered += 1;
            }
            self.seen_bytes += header.len + header.remaining;
        }
    }

    /// So many bytes were taken off the front of the buffer.
    pub(super) fn taken(&mut self, bytes: usize) {
        self.seen_bytes = self.seen_bytes.saturating_sub(bytes);
    }

    /// Whether the PINGREQ whose turn it is was answered before.
    pub(super) fn was_answered(&mut self) -> bool {
        let was = self.answered > 0;
        self.answered -= usize::from(was);
        was
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_ping_is_answered_once_wherever_it_waits() {
        let publish = b"\x30\x04\0\x01a1";
        let cases: [(&str, Vec<&[u8]>, usize); 5] = [
            ("none", vec![publish], 0),
            ("behind one", vec![publish, b"\xc0\0"], 1),
            (
                "between",
                vec![b"\xc0\0", publish, b"\xc0\0", publish, b"\xc0\0"],
                3,
            ),
            ("within a payload", vec![b"\x30\x05\0\x01a\xc0\0"], 0),
            (
                "behind half a packet",
                vec![b"\x30\x09\0\x01a", b"\xc0\0"],
                0,
            ),
        ];
        for (what, pieces, expected) in cases {
            let whole = pieces.concat();
            for first in 0..=whole.len() {
                let (mut ahead, mut out) = (Lookahead::default(), BytesMut::new());
                ahead.answer_pings(&whole[..first], &mut out);
                ahead.answer_pings(&whole, &mut out);
                ahead.answer_pings(&whole, &mut out);
                assert_eq!(out[..], b"\xd0\0".repeat(expected), "{what}, {first}");
                let answered = std::iter::from_fn(|| ahead.was_answered().then_some(()));
                assert_eq!(answered.count(), expected, "{what}, {first}");
            }
        }
    }

    #[test]
    fn what_is_taken_off_the_front_is_not_looked_at_again() {
        let (mut ahead, mut out) = (Lookahead::default(), BytesMut::new());
        ahead.answer_pings(b"\xc0\0\xc0\0\xc0", &mut out);
        ahead.taken(2);
        ahead.answer_pings(b"\xc0\0\xc0\0", &mut out);
        assert_eq!(out[..], b"\xd0\0".repeat(3));
        ahead.taken(100);
        ahead.answer_pings(b"\xc0\0", &mut out);
        assert_eq!(out[..], b"\xd0\0".repeat(4));
    }
}
