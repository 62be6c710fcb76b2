//! What the store keeps of the clock that messages expire by, so that it goes on where it was: after a kill exactly, by the
//! clock of the machine's boot; after a power cut from the last reading that was written.

use crate::time::clock::Boot;

/// Bytes of a reading in the store: its fields in their order, little-endian.
pub(super) const BYTES: usize = 5 * 8;

/// How old the reading may be that is kept when a message with an interval arrives.
pub(super) const UNKNOWN_MS_MAX: u64 = 1000;

/// A reading of the clock.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Kept {
    /// The running time.
    pub(super) running_ms: u64,
    /// The boot of the machine and the time since.
    pub(super) boot: Boot,
    /// The running time at which this boot was first seen.
    pub(super) boot_running_ms: u64,
    /// The running time at which the wall clock was last seen to be stepped; 0 for never.
    pub(super) stepped_ms: u64,
}

impl Kept {
    pub(super) fn to_bytes(self) -> [u8; BYTES] {
        let fields = [
            self.running_ms,
            self.boot.id,
            self.boot.since_ms,
            self.boot_running_ms,
            self.stepped_ms,
        ];
        let mut bytes = [0; BYTES];
        for (place, field) in bytes.chunks_exact_mut(8).zip(fields) {
            place.copy_from_slice(&field.to_le_bytes());
        }
        bytes
    }

    /// `None` where it is none, or one of a later program.
    pub(super) fn of_bytes(bytes: &[u8]) -> Option<Kept> {
        let bytes: &[u8; BYTES] = bytes.try_into().ok()?;
        let (fields, _) = bytes.as_chunks::<8>();
        let field = |place: usize| fields.get(place).map_or(0, |f| u64::from_le_bytes(*f));
        Some(Kept {
            running_ms: field(0),
            boot: Boot {
                id: field(1),
                since_ms: field(2),
            },
            boot_running_ms: field(3),
            stepped_ms: field(4),
        })
    }

    /// The reading of an opening now, before which the store was open for `running_ms` as far as it knows.
    pub(super) fn go_on(self, running_ms: u64, boot: Option<Boot>) -> Kept {
        let running_ms = running_ms.max(self.running_ms);
        let of_this_boot = boot.filter(|boot| boot.id == self.boot.id && boot.id != 0);
        let passed_ms = of_this_boot.and_then(|boot| boot.since_ms.checked_sub(self.boot.since_ms));
        match (passed_ms, boot) {
            (Some(passed_ms), Some(boot)) => Kept {
                running_ms: running_ms.max(self.running_ms.saturating_add(passed_ms)),
                boot,
                ..self
            },
            // Whatever arrived before must be known to be earlier, what came since the reading too. No machine starts anew
            // in less.
            _ => {
                let unknown_ms = if self == Kept::default() {
                    1
                } else {
                    UNKNOWN_MS_MAX + 1
                };
                let running_ms = running_ms.saturating_add(unknown_ms);
                Kept {
                    running_ms,
                    boot: boot.unwrap_or_default(),
                    boot_running_ms: running_ms,
                    stepped_ms: self.stepped_ms,
                }
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn it_goes_on_by_the_clock_of_the_boot_or_from_what_was_kept() {
        let boot = |id, since_ms| Boot { id, since_ms };
        let kept = Kept {
            running_ms: 5_000,
            boot: boot(7, 90_000),
            boot_running_ms: 1_000,
            stepped_ms: 3_000,
        };
        assert_eq!(Kept::of_bytes(&kept.to_bytes()), Some(kept));
        assert_eq!(Kept::of_bytes(b"of another program"), None);
        for (name, store_ms, now, running_ms, boot_running_ms) in [
            ("killed", 0, Some(boot(7, 97_000)), 12_000, 1_000),
            (
                "the store knows more",
                50_000,
                Some(boot(7, 97_000)),
                50_000,
                1_000,
            ),
            ("power cut", 0, Some(boot(8, 10)), 6_001, 6_001),
            (
                "power cut, sealed since",
                6_000,
                Some(boot(8, 10)),
                7_001,
                7_001,
            ),
            ("a boot that began anew", 0, Some(boot(7, 10)), 6_001, 6_001),
            ("no boot known", 0, None, 6_001, 6_001),
        ] {
            let on = kept.go_on(store_ms, now);
            assert_eq!(on.running_ms, running_ms, "{name}");
            assert_eq!(on.boot_running_ms, boot_running_ms, "{name}");
            assert_eq!(on.stepped_ms, 3_000, "{name}");
        }
        let first = Kept::default().go_on(0, Some(boot(0, 9)));
        assert_eq!((first.running_ms, first.boot_running_ms), (1, 1));
    }
}
