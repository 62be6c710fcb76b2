//! Bearer tokens: long random texts, known by their SHA-256.
//!
//! A fast hash will do: who has it cannot try out what a random token may be. Nor does it help to
//! learn from how long a comparison takes how a hash begins.

use ring::digest::{SHA256, digest};

/// Hexadecimal digits of a hash.
pub(crate) const HASH_DIGITS: usize = 64;
/// Bytes of a token.
const BYTES_MIN: usize = 16;
const BYTES_MAX: usize = 4096;

/// The hash of a token, in lower-case hexadecimal digits.
pub fn hash(token: &str) -> String {
    let hash = digest(&SHA256, token.as_bytes());
    hash.as_ref().iter().map(|b| format!("{b:02x}")).collect()
}

/// Why no header `Authorization` carries this token (RFC 6750, section 2.1), or why it is too weak.
pub(crate) fn objection(token: &str) -> Option<String> {
    let bare = token.trim_end_matches('=');
    let is_known = |c: char| c.is_ascii_alphanumeric() || "-._~+/".contains(c);
    if let Some(other) = bare.chars().find(|c| !is_known(*c)) {
        return Some(format!(
            "it has a U+{:04X}; letters, digits, `-._~+/` and `=` at the end may be there",
            u32::from(other)
        ));
    }
    match token.len() {
        ..BYTES_MIN => Some(format!("it is shorter than {BYTES_MIN} characters")),
        BYTES_MIN..=BYTES_MAX => None,
        _ => Some(format!("it is longer than {BYTES_MAX} characters")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_token_is_what_a_header_carries_and_nobody_guesses() {
        for (token, expected) in [
            ("0123456789abcdef", None),
            ("AZaz09-._~+/0000==", None),
            ("0123456789abcde", Some("shorter")),
            ("", Some("shorter")),
            ("two words and more", Some("U+0020")),
            ("0123456789\nabcdef", Some("U+000A")),
            ("\u{feff}0123456789abcdef", Some("U+FEFF")),
            ("a=b0123456789abcdef", Some("U+003D")),
        ] {
            let why = objection(token);
            assert_eq!(why.is_some(), expected.is_some(), "{token:?}: {why:?}");
            assert!(
                why.unwrap_or_default()
                    .contains(expected.unwrap_or_default())
            );
        }
        assert!(objection(&"x".repeat(4097)).is_some_and(|why| why.contains("longer")));
    }

    #[test]
    fn a_hash_is_what_sha256sum_prints() {
        let abc = "ba7816bf8f01cfea414140de5dae2223b00361a396177a9cb410ff61f20015ad";
        assert_eq!(hash("abc"), abc);
    }
}
