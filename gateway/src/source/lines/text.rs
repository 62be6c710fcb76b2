//! From the bytes of a line to its characters.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

/// The characters of a line.
///
/// # Errors
/// What is wrong with it, in words.
pub(super) fn decode<'a>(
    encoding: &'static Encoding,
    line: &'a [u8],
) -> Result<Cow<'a, str>, String> {
    if encoding == UTF_8 {
        let text = std::str::from_utf8(line);
        return text.map(Cow::Borrowed).map_err(|error| {
            let at = error.valid_up_to();
            format!("byte {} (0x{:02x}) is not UTF-8", at + 1, line[at])
        });
    }
    encoding
        .decode_without_bom_handling_and_without_replacement(line)
        .ok_or_else(|| format!("it is not {}", encoding.name()))
}

/// Refuses what no device writes as text: NULs, and other characters that are none to read. A boot, a wrong speed and a
/// line that was touched bring them, and consoles in colour do. Taken are those that go between and around values: TAB,
/// STX and ETX, and the separators FS, GS, RS and US.
///
/// # Errors
/// The first of them, and where it is.
pub(super) fn refuse_noise(text: &str) -> Result<(), String> {
    let is_noise =
        |c: char| c.is_control() && !matches!(c, '\t' | '\u{2}' | '\u{3}' | '\u{1c}'..='\u{1f}');
    let Some((at, c)) = text.chars().enumerate().find(|(_, c)| is_noise(*c)) else {
        return Ok(());
    };
    let name = match c {
        '\0' => "NUL".to_owned(),
        '\u{1b}' => "ESC".to_owned(),
        c => format!("the control character U+{:04X}", u32::from(c)),
    };
    Err(format!("character {} is {name}", at + 1))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_read_as_they_are_written() {
        for (label, line, expected) in [
            ("utf-8", &b"21.5 \xc2\xb0C"[..], Ok("21.5 °C")),
            ("utf-8", b"21.5 \xb0C", Err("byte 6 (0xb0) is not UTF-8")),
            ("utf-8", b"\xff\xfe", Err("byte 1 (0xff) is not UTF-8")),
            ("utf-8", b"21.5 \xc2", Err("byte 6 (0xc2) is not UTF-8")),
            ("windows-1252", b"21.5 \xb0C", Ok("21.5 °C")),
            ("windows-1252", b"\x80 5", Ok("€ 5")),
            ("iso-8859-15", b"\xa4 5", Ok("€ 5")),
            ("koi8-r", b"\xc4\xc1", Ok("да")),
            ("ibm866", b"\xa4\xa0", Ok("да")),
            ("shift_jis", b"\x89\xb7\x93\x78", Ok("温度")),
            ("shift_jis", b"\x89", Err("it is not Shift_JIS")),
            ("gbk", b"\xce\xc2\xb6\xc8", Ok("温度")),
            ("iso-8859-7", b"\xff", Err("it is not ISO-8859-7")),
        ] {
            let encoding = Encoding::for_label(label.as_bytes()).expect("known");
            let found = decode(encoding, line);
            assert_eq!(
                found.as_deref().map_err(String::as_str),
                expected,
                "{label} {line:?}"
            );
        }
    }

    #[test]
    fn nuls_and_control_characters_are_no_text() {
        for (text, expected) in [
            ("21.5\t40", None),
            ("\u{2} 12.345 kg\u{3}", None),
            ("0104012345\u{1d}10ABC", None),
            ("grüße 温度 🌡", None),
            ("\0", Some("character 1 is NUL")),
            ("21.5\0", Some("character 5 is NUL")),
            ("ä\0", Some("character 2 is NUL")),
            (
                "\u{1b}[0;32mI (27) boot: ESP-IDF",
                Some("character 1 is ESC"),
            ),
            (
                "rl\u{10}\u{7f}",
                Some("character 3 is the control character U+0010"),
            ),
            (
                "\u{7f}",
                Some("character 1 is the control character U+007F"),
            ),
            (
                "\u{11}21.5",
                Some("character 1 is the control character U+0011"),
            ),
            (
                "a\u{81}",
                Some("character 2 is the control character U+0081"),
            ),
            (
                "a\u{85}b",
                Some("character 2 is the control character U+0085"),
            ),
        ] {
            let found = refuse_noise(text).err();
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
    }
}
