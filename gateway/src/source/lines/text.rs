//! From the bytes of a line to its characters.

use std::borrow::Cow;

use encoding_rs::{Encoding, UTF_8};

use crate::observe::source::lines::Refusal;

/// The characters of a line.
///
/// # Errors
/// Where they are none.
pub(super) fn decode<'a>(
    encoding: &'static Encoding,
    line: &'a [u8],
) -> Result<Cow<'a, str>, Refusal> {
    if encoding == UTF_8 {
        return std::str::from_utf8(line)
            .map(Cow::Borrowed)
            .map_err(|error| {
                let before = std::str::from_utf8(&line[..error.valid_up_to()]).unwrap_or_default();
                Refusal::behind(before, "it is not UTF-8")
            });
    }
    encoding
        .decode_without_bom_handling_and_without_replacement(line)
        .ok_or_else(|| format!("it is not {}", encoding.name()).into())
}

/// Refuses what no device writes as text: NULs, and other characters that are none to read. A boot, a wrong speed and a
/// line that was touched bring them, and consoles in colour do. Taken are those that go between and around values: TAB,
/// STX and ETX, and the separators FS, GS, RS and US.
///
/// # Errors
/// The first of them, and where it is.
pub(super) fn refuse_noise(text: &str) -> Result<(), Refusal> {
    let is_noise =
        |c: char| c.is_control() && !matches!(c, '\t' | '\u{2}' | '\u{3}' | '\u{1c}'..='\u{1f}');
    let Some((at, c)) = text.char_indices().find(|(_, c)| is_noise(*c)) else {
        return Ok(());
    };
    let what = match c {
        '\0' => "it holds a NUL",
        '\u{1b}' => "it holds an ESC",
        _ => "it holds a control character",
    };
    Err(Refusal::behind(&text[..at], what))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn characters_are_read_as_they_are_written() {
        for (label, line, expected) in [
            ("utf-8", &b"21.5 \xc2\xb0C"[..], Ok("21.5 °C")),
            (
                "utf-8",
                b"21.5 \xb0C",
                Err("it is not UTF-8 at character 6"),
            ),
            (
                "utf-8",
                b"\xc3\xa4\xff",
                Err("it is not UTF-8 at character 2"),
            ),
            ("utf-8", b"\xff\xfe", Err("it is not UTF-8 at character 1")),
            ("utf-8", b"21.5 \xc2", Err("it is not UTF-8 at character 6")),
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
            let found = found.as_deref().map_err(Refusal::to_string);
            let expected = expected.map_err(str::to_owned);
            assert_eq!(found, expected, "{label} {line:?}");
        }
    }

    #[test]
    fn nuls_and_control_characters_are_no_text() {
        for (text, expected) in [
            ("21.5\t40", None),
            ("\u{2} 12.345 kg\u{3}", None),
            ("0104012345\u{1d}10ABC", None),
            ("grüße 温度 🌡", None),
            ("\0", Some("it holds a NUL at character 1")),
            ("21.5\0", Some("it holds a NUL at character 5")),
            ("ä\0", Some("it holds a NUL at character 2")),
            (
                "\u{1b}[0;32mI (27) boot: ESP-IDF",
                Some("it holds an ESC at character 1"),
            ),
            (
                "rl\u{10}\u{7f}",
                Some("it holds a control character at character 3"),
            ),
            (
                "\u{7f}",
                Some("it holds a control character at character 1"),
            ),
            (
                "\u{11}21.5",
                Some("it holds a control character at character 1"),
            ),
            (
                "a\u{81}",
                Some("it holds a control character at character 2"),
            ),
            (
                "a\u{85}b",
                Some("it holds a control character at character 2"),
            ),
        ] {
            let found = refuse_noise(text).err().map(|found| found.to_string());
            assert_eq!(found.as_deref(), expected, "{text:?}");
        }
    }
}
