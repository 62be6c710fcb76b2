//! Files that are text: UTF-8, or told where they are not.

/// What some editors put in front of a text.
pub(crate) const BYTE_ORDER_MARK: char = '\u{feff}';

/// The text of a file, or why it is none and what to do.
///
/// # Errors
/// Where it is not UTF-8.
pub(crate) fn utf8(bytes: Vec<u8>) -> Result<String, NotUtf8> {
    String::from_utf8(bytes).map_err(|error| {
        let at = error.utf8_error().valid_up_to();
        NotUtf8 {
            at,
            bytes: error.into_bytes(),
        }
    })
}

/// What is no UTF-8.
#[derive(Debug)]
pub(crate) struct NotUtf8 {
    /// Where that begins.
    pub(crate) at: usize,
    /// All of it.
    pub(crate) bytes: Vec<u8>,
}

impl std::fmt::Display for NotUtf8 {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        if let [0xff, 0xfe, ..] | [0xfe, 0xff, ..] = self.bytes.as_slice() {
            return f.write_str("it is UTF-16; save it as UTF-8");
        }
        let before = &self.bytes[..self.at];
        let line = before.iter().filter(|byte| **byte == b'\n').count() + 1;
        let byte = self.bytes.get(self.at).copied().unwrap_or_default();
        write!(
            f,
            "it is not UTF-8: byte 0x{byte:02x} in line {line}; save it as UTF-8"
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_no_text_is_told_with_its_place() {
        for (bytes, words) in [
            (&b"gr\xfcn"[..], "byte 0xfc in line 1"),
            (b"a\nb\n\xff", "byte 0xff in line 3"),
            (b"a\xe2\x82", "byte 0xe2 in line 1"),
            (b"\xff\xfea\0", "it is UTF-16"),
            (b"\xfe\xff\0a", "it is UTF-16"),
        ] {
            let said = utf8(bytes.to_vec()).expect_err("no text").to_string();
            assert!(said.contains(words), "{words}: {said}");
            assert!(said.ends_with("save it as UTF-8"), "{said}");
        }
        assert_eq!(utf8(b"gr\xc3\xbcn".to_vec()).expect("text"), "gr\u{fc}n");
    }
}
