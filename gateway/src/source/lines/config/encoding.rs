//! `encoding`: how the characters of a line are written.

use encoding_rs::{Encoding, UTF_8};

use crate::config::key::{Key, Text};
use crate::config::section::Section;

/// The configured encoding; UTF-8 where none is.
pub(super) fn of_section(
    section: &Section<'_>,
    key: &Key<Option<Text>>,
) -> Option<&'static Encoding> {
    if !section.has(key.any()) {
        return Some(UTF_8);
    }
    let label = section.read(key)?.value;
    match named(&label) {
        Ok(encoding) => Some(encoding),
        Err(why) => {
            section.report(key, why);
            None
        }
    }
}

/// The encoding with this name, if lines can be cut in it: CR and LF are no part of any other character.
fn named(label: &str) -> Result<&'static Encoding, String> {
    let Some(encoding) = Encoding::for_label(label.as_bytes()) else {
        return Err(format!(
            "`{label}` is no encoding that is known here: write utf-8, windows-1252, iso-8859-15, koi8-r, shift_jis, gbk, …"
        ));
    };
    if !encoding.is_ascii_compatible() {
        return Err(format!(
            "lines cannot be read as {}: the bytes of their ends are also parts of other characters",
            encoding.name()
        ));
    }
    Ok(encoding)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_encoding_is_known_by_its_names_and_has_line_ends() {
        for (label, name) in [
            ("utf-8", "UTF-8"),
            ("UTF8", "UTF-8"),
            ("windows-1252", "windows-1252"),
            ("latin1", "windows-1252"),
            ("iso-8859-1", "windows-1252"),
            ("us-ascii", "windows-1252"),
            ("iso-8859-15", "ISO-8859-15"),
            ("cp866", "IBM866"),
            ("koi8-r", "KOI8-R"),
            ("shift_jis", "Shift_JIS"),
            ("gb2312", "GBK"),
            ("big5", "Big5"),
        ] {
            assert_eq!(named(label).map(Encoding::name), Ok(name), "{label}");
        }
        for (label, part) in [
            ("latin-9", "`latin-9` is no encoding that is known here"),
            ("", "is no encoding"),
            ("utf-16", "lines cannot be read as UTF-16LE"),
            ("utf-16be", "lines cannot be read as UTF-16BE"),
            ("iso-2022-jp", "lines cannot be read as ISO-2022-JP"),
            ("iso-2022-kr", "lines cannot be read as replacement"),
        ] {
            let why = named(label).expect_err(label);
            assert!(why.contains(part), "{label}: {why}");
        }
    }
}
