//! How far the events of a device are stored: the mark that is written in the same commit as
//! they are.
//!
//! ```text
//!   (boot u64, sequence u64) × n          session u16 × n          n ≤ 4, big-endian
//! ```
//!
//! Latest boot first. The sessions are missing in marks of earlier versions, which in turn ignore
//! them: they take no room of a pair.

/// Prefix of the store's mark keys for devices.
pub const DEVICE_MARK_PREFIX: &str = "device/";
/// Boots remembered per device: one runs, earlier ones may still drain from its flash.
pub const BOOTS_PER_DEVICE_MAX: usize = 4;

/// How far the events of one boot are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootMark {
    boot: u64,
    /// The highest stored sequence.
    pub sequence: u64,
    /// The session of the node whose events they are: no other node has it. 0 where it is not known.
    pub session: u16,
}

/// The marks of a device's latest boots, latest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boots(Vec<BootMark>);

impl Boots {
    /// The mark of `boot`.
    pub fn mark(&self, boot: u64) -> Option<BootMark> {
        self.0.iter().find(|known| known.boot == boot).copied()
    }

    /// The highest stored sequence of `boot`.
    pub fn sequence(&self, boot: u64) -> Option<u64> {
        self.mark(boot).map(|mark| mark.sequence)
    }

    /// An event of `boot` in `session` is stored, or on its way into the store.
    pub fn advance(&mut self, boot: u64, sequence: u64, session: u16) {
        match self.0.iter_mut().find(|known| known.boot == boot) {
            Some(known) => (known.sequence, known.session) = (sequence, session),
            None => {
                let mark = BootMark {
                    boot,
                    sequence,
                    session,
                };
                self.0.insert(0, mark);
                self.0.truncate(BOOTS_PER_DEVICE_MAX);
            }
        }
    }

    /// The value of the device's mark.
    pub fn to_bytes(&self) -> Vec<u8> {
        let pairs = self.0.iter();
        let pairs = pairs.flat_map(|mark| [mark.boot, mark.sequence].map(u64::to_be_bytes));
        let sessions = self.0.iter().flat_map(|mark| mark.session.to_be_bytes());
        pairs.flatten().chain(sessions).collect()
    }

    /// Reads a mark; what does not belong to it is ignored.
    pub fn from_bytes(bytes: &[u8]) -> Boots {
        let (pairs, sessions) = bytes.as_chunks::<16>();
        let (sessions, _) = sessions.as_chunks::<2>();
        let marks = pairs.iter().enumerate().map(|(at, pair)| {
            let pair = u128::from_be_bytes(*pair);
            BootMark {
                boot: (pair >> 64) as u64,
                sequence: pair as u64,
                session: sessions
                    .get(at)
                    .map_or(0, |bytes| u16::from_be_bytes(*bytes)),
            }
        });
        Boots(marks.take(BOOTS_PER_DEVICE_MAX).collect())
    }
}

/// The key of a device's durable mark.
pub fn device_mark_key(device: &str) -> Vec<u8> {
    format!("{DEVICE_MARK_PREFIX}{device}").into_bytes()
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As versions before the sessions read it.
    fn pairs_only(bytes: &[u8]) -> Vec<(u64, u64)> {
        let (numbers, _) = bytes.as_chunks::<8>();
        let (pairs, _) = numbers.as_chunks::<2>();
        let read = |[boot, sequence]: &[[u8; 8]; 2]| {
            (u64::from_be_bytes(*boot), u64::from_be_bytes(*sequence))
        };
        pairs.iter().map(read).collect()
    }

    #[test]
    fn a_mark_is_read_as_it_was_written_and_by_earlier_versions_too() {
        let mut boots = Boots::default();
        for boot in 1..=6 {
            boots.advance(boot, boot * 100, boot as u16 * 7);
            boots.advance(boot, boot * 100 + 1, boot as u16 * 7);
            let bytes = boots.to_bytes();
            assert_eq!(Boots::from_bytes(&bytes), boots);
            let latest = (1..=boot).rev().take(BOOTS_PER_DEVICE_MAX);
            let pairs: Vec<_> = latest.map(|boot| (boot, boot * 100 + 1)).collect();
            assert_eq!(pairs_only(&bytes), pairs);
            let old = Boots::from_bytes(&bytes[..pairs.len() * 16]);
            let known = old.mark(boot).map(|mark| (mark.sequence, mark.session));
            assert_eq!(known, Some((boot * 100 + 1, 0)), "the session is unknown");
        }
        assert_eq!(boots.mark(2), None);
    }

    #[test]
    fn the_bytes_of_a_mark_stay() {
        let mut boots = Boots::default();
        boots.advance(3, 300, 0x0201);
        boots.advance(4, 7, 0xfffe);
        let expected = "0000000000000004000000000000000700000000000000030000000000000\
                        12cfffe0201";
        let hex: String = boots
            .to_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, expected);
    }
}
