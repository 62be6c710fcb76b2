//! How far the events of a device are stored: the mark that is written in the same commit as
//! they are.
//!
//! ```text
//!   (boot u64, sequence u64) × n     session u16 × n     digest u16 × min(n, 3)     n ≤ 4, big-endian
//! ```
//!
//! The boot that began to be stored last comes first. Sessions and digests are missing in marks of earlier versions,
//! which in turn ignore them: they take no room of a pair.

/// Prefix of the store's mark keys for devices.
pub const DEVICE_MARK_PREFIX: &str = "device/";
/// Boots remembered per device: one runs, earlier ones may still drain from its flash.
pub const BOOTS_PER_DEVICE_MAX: usize = 4;
/// Of so many of them the digest is written: with one more it would be read as a pair.
const DIGESTS_MAX: usize = 3;

/// How far the events of one boot are stored.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct BootMark {
    /// The boot.
    pub boot: u64,
    /// The highest stored sequence.
    pub sequence: u64,
    /// The session of the node whose events they are: no other node has it. 0 where it is not known.
    pub session: u16,
    /// Of what the record with that sequence says. 0 where it is not known.
    pub digest: u16,
}

/// A record's digest, which is never 0: 32 bits of FNV-1a over what the node's clock said and the bytes, folded to 16.
pub fn record_digest(uptime_ms: u64, bytes: &[u8]) -> u16 {
    let all = uptime_ms.to_be_bytes();
    let hash = all.iter().chain(bytes).fold(0x811c_9dc5_u32, |hash, byte| {
        (hash ^ u32::from(*byte)).wrapping_mul(0x0100_0193)
    });
    ((hash >> 16) as u16 ^ hash as u16).max(1)
}

/// The marks of a device's latest boots, latest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boots(Vec<BootMark>);

impl Boots {
    /// The mark of `boot`.
    pub fn mark(&self, boot: u64) -> Option<BootMark> {
        self.0.iter().find(|known| known.boot == boot).copied()
    }

    /// Whether events of `boot` were the last ones that began to be stored.
    pub fn is_latest(&self, boot: u64) -> bool {
        self.0.first().is_some_and(|first| first.boot == boot)
    }

    /// The highest stored sequence of `boot`.
    pub fn sequence(&self, boot: u64) -> Option<u64> {
        self.mark(boot).map(|mark| mark.sequence)
    }

    /// An event of the boot is stored, or on its way into the store.
    pub fn advance(&mut self, mark: BootMark) {
        match self.0.iter_mut().find(|known| known.boot == mark.boot) {
            Some(known) => *known = mark,
            None => {
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
        let digests = self.0.iter().take(DIGESTS_MAX);
        let digests = digests.flat_map(|mark| mark.digest.to_be_bytes());
        pairs.flatten().chain(sessions).chain(digests).collect()
    }

    /// Reads a mark; what does not belong to it is ignored.
    pub fn from_bytes(bytes: &[u8]) -> Boots {
        let (pairs, rest) = bytes.as_chunks::<16>();
        let (rest, _) = rest.as_chunks::<2>();
        let word = |at: usize| rest.get(at).map_or(0, |bytes| u16::from_be_bytes(*bytes));
        let marks = pairs.iter().enumerate().map(|(at, pair)| {
            let pair = u128::from_be_bytes(*pair);
            BootMark {
                boot: (pair >> 64) as u64,
                sequence: pair as u64,
                session: word(at),
                digest: match at < DIGESTS_MAX {
                    true => word(pairs.len() + at),
                    false => 0,
                },
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
            for sequence in [boot * 100, boot * 100 + 1] {
                boots.advance(BootMark {
                    boot,
                    sequence,
                    session: boot as u16 * 7,
                    digest: boot as u16 * 9,
                });
            }
            assert!(boots.is_latest(boot) && !boots.is_latest(boot - 1));
            let bytes = boots.to_bytes();
            let mut expected = boots.clone();
            if let Some(last) = expected.0.get_mut(DIGESTS_MAX) {
                last.digest = 0;
            }
            assert_eq!(Boots::from_bytes(&bytes), expected);
            let latest = (1..=boot).rev().take(BOOTS_PER_DEVICE_MAX);
            let pairs: Vec<_> = latest.map(|boot| (boot, boot * 100 + 1)).collect();
            assert_eq!(pairs_only(&bytes), pairs);
            for (size, session) in [(16, 0), (18, boot as u16 * 7)] {
                let old = Boots::from_bytes(&bytes[..pairs.len() * size]);
                let known = old.mark(boot).expect("it is kept");
                let known = (known.sequence, known.session, known.digest);
                assert_eq!(
                    known,
                    (boot * 100 + 1, session, 0),
                    "what is missing is unknown"
                );
            }
        }
        assert_eq!(boots.mark(2), None);
    }

    #[test]
    fn the_bytes_of_a_mark_stay() {
        let mut boots = Boots::default();
        for (boot, sequence, session, digest) in [(3, 300, 0x0201, 0x1234), (4, 7, 0xfffe, 0xabcd)]
        {
            boots.advance(BootMark {
                boot,
                sequence,
                session,
                digest,
            });
        }
        let expected = "0000000000000004000000000000000700000000000000030000000000000\
                        12cfffe0201abcd1234";
        let hex: String = boots
            .to_bytes()
            .iter()
            .map(|byte| format!("{byte:02x}"))
            .collect();
        assert_eq!(hex, expected);
    }

    #[test]
    fn a_record_is_known_by_its_clock_and_its_bytes() {
        let all = [
            (0, &b""[..]),
            (1, b""),
            (0, b"\0"),
            (1, b"21"),
            (2, b"21"),
            (1, b"22"),
        ];
        let mut digests = all.map(|(uptime_ms, bytes)| record_digest(uptime_ms, bytes));
        assert_eq!(record_digest(1, b"21"), digests[3]);
        digests.sort_unstable();
        assert!(
            digests[0] > 0 && digests.windows(2).all(|two| two[0] < two[1]),
            "{digests:?}"
        );
    }
}
