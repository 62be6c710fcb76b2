//! How far the events of a device are stored: the mark that is written in the same commit as
//! they are.

/// Prefix of the store's mark keys for devices.
pub const DEVICE_MARK_PREFIX: &str = "device/";
/// Boots remembered per device: one runs, earlier ones may still drain from its flash.
pub const BOOTS_PER_DEVICE_MAX: usize = 4;

/// The highest stored sequence of each of a device's latest boots, latest first.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Boots(Vec<(u64, u64)>);

impl Boots {
    /// The highest stored sequence of `boot`.
    pub fn sequence(&self, boot: u64) -> Option<u64> {
        self.0
            .iter()
            .find(|(known, _)| *known == boot)
            .map(|(_, sequence)| *sequence)
    }

    /// An event of `boot` is stored, or on its way into the store.
    pub fn advance(&mut self, boot: u64, sequence: u64) {
        match self.0.iter_mut().find(|(known, _)| *known == boot) {
            Some((_, highest)) => *highest = sequence,
            None => {
                self.0.insert(0, (boot, sequence));
                self.0.truncate(BOOTS_PER_DEVICE_MAX);
            }
        }
    }

    /// The value of the device's mark: pairs of big-endian `u64`.
    pub fn to_bytes(&self) -> Vec<u8> {
        self.0
            .iter()
            .flat_map(|(boot, sequence)| [boot.to_be_bytes(), sequence.to_be_bytes()])
            .flatten()
            .collect()
    }

    /// Reads a mark; what is not a whole pair is ignored.
    pub fn from_bytes(bytes: &[u8]) -> Boots {
        let (numbers, _) = bytes.as_chunks::<8>();
        let (pairs, _) = numbers.as_chunks::<2>();
        let pairs = pairs
            .iter()
            .map(|[boot, sequence]| (u64::from_be_bytes(*boot), u64::from_be_bytes(*sequence)));
        Boots(pairs.take(BOOTS_PER_DEVICE_MAX).collect())
    }
}

/// The key of a device's durable mark.
pub fn device_mark_key(device: &str) -> Vec<u8> {
    format!("{DEVICE_MARK_PREFIX}{device}").into_bytes()
}
