//! What arrived at the far end: every event is ticked off once.

use std::time::Instant;

use crate::clients::{CLIENT_BASE, NUMBER_BASE};

/// A tick per client and number.
pub(crate) struct Ticks {
    seen: Vec<Vec<bool>>,
    /// Distinct events that arrived.
    pub arrived: u64,
    /// Events that arrived again.
    pub duplicates: u64,
    /// When the last distinct one did.
    pub last: Instant,
}

impl Ticks {
    /// For `clients` with `count` events each.
    pub(crate) fn new(clients: u64, count: u64) -> Ticks {
        Ticks {
            seen: vec![vec![false; count as usize]; clients as usize],
            arrived: 0,
            duplicates: 0,
            last: Instant::now(),
        }
    }

    /// Ticks off the events whose payloads arrived together.
    pub(crate) fn take<'a>(&mut self, payloads: impl Iterator<Item = &'a [u8]>) {
        let before = self.arrived;
        for payload in payloads {
            let tick = numbers(payload).and_then(|(client, number)| {
                let client = self.seen.get_mut(client as usize)?;
                client.get_mut(number as usize)
            });
            match tick.map(|tick| std::mem::replace(tick, true)) {
                Some(true) => self.duplicates += 1,
                Some(false) => self.arrived += 1,
                None => {}
            }
        }
        if self.arrived > before {
            self.last = Instant::now();
        }
    }
}

/// Where the body of the packet at `at` begins and where the next packet does; `None` while bytes
/// are missing.
pub(crate) fn packet(buffer: &[u8], at: usize) -> Option<(usize, usize)> {
    let (length, bytes) = varint(buffer.get(at + 1..)?)?;
    let body = at + 1 + bytes;
    (body + length <= buffer.len()).then_some((body, body + length))
}

/// A variable byte integer, and its own length.
pub(crate) fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (place, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * place);
        if byte & 0x80 == 0 {
            return Some((value, place + 1));
        }
    }
    None
}

/// Topic and the rest of the body of a PUBLISH.
pub(crate) fn topic(body: &[u8]) -> Option<(&[u8], &[u8])> {
    let (length, rest) = body.split_first_chunk()?;
    rest.split_at_checked(usize::from(u16::from_be_bytes(*length)))
}

/// Client and number of a payload.
fn numbers(payload: &[u8]) -> Option<(u64, u64)> {
    let digits = |from: usize, count: usize| -> Option<u64> {
        let digits = payload.get(from..from + count)?.iter();
        Some(digits.fold(0, |sum, d| sum * 10 + u64::from(d.wrapping_sub(b'0'))))
    };
    let client = digits(5, 4)?.checked_sub(CLIENT_BASE)?;
    Some((client, digits(14, 8)?.checked_sub(NUMBER_BASE)?))
}
