//! Ids of what the gateway makes itself: unique, whatever store, folder or machine it runs on.

use std::sync::Arc;

/// What one start of the gateway drew at random; it stands in every id minted in it. Nothing of it is stored, so that a
/// new folder, a restored backup or a cloned card never gives an id a second time.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct StartMark(Arc<str>);

impl StartMark {
    /// Draws 64 bits from the operating system.
    ///
    /// # Errors
    /// When the system gives no random numbers.
    pub fn draw() -> Result<StartMark, String> {
        let mut bits = [0; 8];
        let random = rustls::crypto::ring::default_provider().secure_random;
        match random.fill(&mut bits) {
            Ok(()) => Ok(StartMark::of(u64::from_be_bytes(bits))),
            Err(_) => Err("the system gives no random numbers, and ids need them".into()),
        }
    }

    /// The mark of these bits.
    pub fn of(bits: u64) -> StartMark {
        StartMark(format!("{bits:016x}").into())
    }

    /// As it stands in ids: 16 hexadecimal digits.
    pub fn text(&self) -> &Arc<str> {
        &self.0
    }
}

/// Mints `<start>-<series><number>`: two mints of one start have different series.
#[derive(Debug)]
pub struct Mint {
    /// `<start>-<series>`, and behind it the number of the last id.
    text: String,
    number_at: usize,
    minted: u64,
}

impl Mint {
    /// One that has minted nothing.
    pub fn new(start: StartMark, series: &'static str) -> Mint {
        let text = format!("{}-{series}", start.0);
        Mint {
            number_at: text.len(),
            text,
            minted: 0,
        }
    }

    /// The next id.
    pub fn next_id(&mut self) -> Arc<str> {
        self.minted += 1;
        let (mut rest, mut places) = (self.minted, 1);
        while rest >= 10 {
            rest /= 10;
            places *= 10;
        }
        self.text.truncate(self.number_at);
        while places > 0 {
            let digit = self.minted / places % 10;
            self.text.push(char::from(b'0' + digit as u8));
            places /= 10;
        }
        self.text.as_str().into()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::HashSet;

    use super::*;

    #[test]
    fn no_two_starts_and_no_two_series_mint_an_id_twice() {
        let mut seen = HashSet::new();
        for _ in 0..64 {
            let start = StartMark::draw().expect("random numbers");
            for series in ["", "gap-"] {
                let mut mint = Mint::new(start.clone(), series);
                assert!((0..64).all(|_| seen.insert(mint.next_id())));
            }
        }
        let id = Mint::new(StartMark::of(0x2a), "").next_id();
        assert_eq!(&*id, "000000000000002a-1", "always as long");
        let mut mint = Mint::new(StartMark::of(0x2a), "gap-");
        for number in 1..2_000 {
            assert_eq!(*mint.next_id(), format!("000000000000002a-gap-{number}"));
        }
        mint.minted = u64::MAX - 1;
        assert!(mint.next_id().ends_with("-18446744073709551615"));
    }
}
