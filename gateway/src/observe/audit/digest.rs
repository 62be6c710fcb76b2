//! What was in force, known by the beginning of its SHA-256.

use ring::digest::{Context, SHA256};
use ring::hmac;
use serde::{Deserialize, Serialize};

/// Hexadecimal digits of a digest.
const DIGITS: usize = 16;

/// The first 16 hexadecimal digits of a SHA-256.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Digest(String);

impl Digest {
    /// Of a file, as `sha256sum FILE | cut -c1-16` prints it.
    pub fn of(bytes: &[u8]) -> Digest {
        Digest::of_pieces([bytes])
    }

    /// Of several files, as `cat FILES | sha256sum | cut -c1-16` prints it.
    pub fn of_pieces<'a>(pieces: impl IntoIterator<Item = &'a [u8]>) -> Digest {
        let mut context = Context::new(&SHA256);
        pieces.into_iter().for_each(|piece| context.update(piece));
        Digest::cut(context.finish().as_ref())
    }

    /// Of a secret, under a key of this gateway's own: who may look at events cannot try out what the secret may be.
    pub fn of_secret(key: &[u8], secret: &[u8]) -> Digest {
        let key = hmac::Key::new(hmac::HMAC_SHA256, key);
        Digest::cut(hmac::sign(&key, secret).as_ref())
    }

    fn cut(hash: &[u8]) -> Digest {
        let bytes = hash.iter().take(DIGITS / 2);
        Digest(bytes.map(|byte| format!("{byte:02x}")).collect())
    }
}

impl std::fmt::Display for Digest {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_digest_is_what_sha256sum_prints_and_that_of_a_secret_is_not() {
        // printf test | sha256sum
        assert_eq!(Digest::of(b"test").0, "9f86d081884c7d65");
        assert_eq!(Digest::of_pieces([&b"te"[..], b"st"]), Digest::of(b"test"));
        let secret = Digest::of_secret(b"key", b"test");
        assert_ne!(secret, Digest::of(b"test"));
        assert_ne!(secret, Digest::of_secret(b"other", b"test"));
        assert_eq!(secret, Digest::of_secret(b"key", b"test"));
        assert_eq!(secret.0.len(), DIGITS);
    }
}
