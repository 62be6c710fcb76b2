//! Numbers that are the same for the same texts, on every machine.

/// FNV-1a with 64 bits over texts, each with its length before it.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(crate) struct Fingerprint(u64);

impl Fingerprint {
    /// Of nothing yet.
    pub(crate) fn new() -> Fingerprint {
        Fingerprint(0xCBF2_9CE4_8422_2325)
    }

    /// Adds a text.
    pub(crate) fn add(&mut self, text: &str) {
        self.bytes(&(text.len() as u64).to_le_bytes());
        self.bytes(text.as_bytes());
    }

    /// Adds what another one stands for.
    pub(crate) fn include(&mut self, other: Fingerprint) {
        self.bytes(&other.0.to_le_bytes());
    }

    /// The number.
    pub(crate) fn number(self) -> u64 {
        self.0
    }

    fn bytes(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = (self.0 ^ u64::from(*byte)).wrapping_mul(0x0000_0100_0000_01B3);
        }
    }
}
