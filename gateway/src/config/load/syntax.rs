//! What is no TOML in a configuration, all of it at once: each line that is none is left out, and the rest is looked at.

use tidegate_rules::diagnostic::Diagnostic;
use toml_edit::{Document, TomlError};

use crate::config::context::Span;

/// Errors shown at once; a file with more is hardly one of ours.
const ERRORS_MAX: usize = 20;

/// What the library says, on one line.
fn one_line(error: &TomlError) -> String {
    error.message().lines().collect::<Vec<_>>().join(", ")
}

/// A text with blanks in place of what is no TOML, each byte at its place; and what is wrong with that, in the order of
/// the lines.
pub(super) fn sound(file: &str, text: &str) -> (String, Vec<Diagnostic>) {
    let mut errors = Vec::new();
    let sound = left_out(file, text, &mut errors);
    errors.sort_by_key(|error| (error.line, error.column));
    (sound, errors)
}

fn left_out(file: &str, text: &str, errors: &mut Vec<Diagnostic>) -> String {
    let mut sound = text.to_owned();
    // Where the last line ends that was left out: what is wrong right behind it follows from that.
    let mut left_out_to = None;
    for _ in 0..ERRORS_MAX {
        let Err(error) = Document::parse(sound.as_str()) else {
            return sound;
        };
        let Some(span) = error.span() else {
            // It is about all of it, and no line is to blame.
            errors.push(told(file, text, &sound, 0..0, one_line(&error)));
            break;
        };
        let lines = unclosed(&sound, span.start).unwrap_or_else(|| lines_at(&sound, span.start));
        if left_out_to != Some(lines.start) {
            errors.push(told(file, text, &sound, span, one_line(&error)));
        }
        left_out_to = Some(lines.end);
        let blank: String = sound[lines.clone()]
            .bytes()
            .map(|byte| if byte == b'\n' { '\n' } else { ' ' })
            .collect();
        if lines.is_empty() || blank == sound[lines.clone()] {
            break;
        }
        sound.replace_range(lines, &blank);
    }
    String::new()
}

fn told(file: &str, text: &str, sound: &str, span: Span, message: String) -> Diagnostic {
    if message != "duplicate key" {
        return Diagnostic::error(file, text, span, message);
    }
    let Some(first) = first_of(sound, &span) else {
        return Diagnostic::error(file, text, span, message);
    };
    let line = sound[..first.start].matches('\n').count() + 1;
    let message = format!("duplicate key; the first one is in line {line}");
    Diagnostic::error(file, text, span, message).with_place(first, "the first one is here")
}

/// All from the line on where a text of several lines begins that has no end.
fn unclosed(text: &str, at: usize) -> Option<Span> {
    if !text.get(at..)?.trim().is_empty() {
        return None;
    }
    let quotes = ["\"\"\"", "'''"].map(|quotes| text.rfind(quotes));
    let opened = quotes.into_iter().flatten().max()?;
    let start = text[..opened].rfind('\n').map_or(0, |end| end + 1);
    Some(start..text.len())
}

/// The lines to leave out where something at `at` is wrong: that one, or the whole section where it is its heading.
fn lines_at(text: &str, at: usize) -> Span {
    let at = at.min(text.len().saturating_sub(1));
    let start = text[..at].rfind('\n').map_or(0, |end| end + 1);
    let end_of = |from: usize| {
        text[from..]
            .find('\n')
            .map_or(text.len(), |end| from + end + 1)
    };
    let mut end = end_of(start);
    if text[start..end].trim_start().starts_with('[') {
        while end < text.len() && !text[end..].trim_start_matches(' ').starts_with('[') {
            end = end_of(end);
        }
    }
    start..end
}

/// Where the key stands first that stands a second time at `span`.
fn first_of(text: &str, span: &Span) -> Option<Span> {
    let key = text.get(span.clone())?;
    let start = text[..span.start].rfind('\n').map_or(0, |end| end + 1);
    let line = &text[start..];
    let before = &text[start..span.start];
    if line.trim_start().starts_with('[') {
        let heading = line.lines().next()?.split(']').next()?.trim();
        return line_where(&text[..start], |line| {
            line.split(']')
                .next()
                .is_some_and(|one| one.trim() == heading)
        });
    }
    if before.contains('{') {
        let at = word_in(before, key)?;
        return Some(start + at..start + at + key.len());
    }
    let section = text[..start].rfind("\n[").map_or(0, |end| end + 1);
    // With what stands before its last dot.
    let name_of = |line: &str| line.split('=').next().unwrap_or_default().trim().to_owned();
    let name = name_of(line);
    if !name.ends_with(key) {
        return None;
    }
    let names = |line: &str| name_of(line) == name;
    let found = line_where(&text[section..start], names)?;
    Some(section + found.start..section + found.end)
}

/// The first line that `is_it`, without its blanks.
fn line_where(text: &str, is_it: impl Fn(&str) -> bool) -> Option<Span> {
    let mut at = 0;
    for line in text.split_inclusive('\n') {
        if is_it(line) {
            let begin = at + (line.len() - line.trim_start().len());
            return Some(begin..begin + line.trim().len());
        }
        at += line.len();
    }
    None
}

/// The first place of `word` where it is not a part of another.
fn word_in(text: &str, word: &str) -> Option<usize> {
    let is_part = |c: Option<char>| c.is_some_and(|c| c.is_alphanumeric() || c == '_' || c == '-');
    let mut places = text.match_indices(word).map(|(at, _)| at);
    places.find(|at| {
        let (before, after) = (&text[..*at], &text[*at + word.len()..]);
        !is_part(before.chars().next_back()) && !is_part(after.chars().next())
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_line_that_is_no_toml_is_told_and_the_rest_is_read() {
        let text = "[a]\nx = = 1\ny = 2\nz = \"open\nw = 3\n[b\nk = 1\n[c]\nv = 4\nv = 5\n";
        let (sound, errors) = sound("f", text);
        let lines: Vec<String> = errors.iter().map(Diagnostic::short).collect();
        assert_eq!(errors.len(), 4, "{lines:#?}");
        for (error, line) in lines.iter().zip(["f:2:", "f:4:", "f:6:", "f:10:"]) {
            assert!(error.starts_with(line), "{lines:#?}");
        }
        assert!(
            lines[3].contains("the first one is in line 9"),
            "{lines:#?}"
        );
        let document = Document::parse(sound.as_str()).expect("TOML");
        let table = document.as_table();
        let number = |section: &str, key: &str| table.get(section)?.get(key)?.as_integer();
        assert_eq!(number("a", "y"), Some(2));
        assert_eq!(number("a", "w"), Some(3));
        assert_eq!(number("c", "v"), Some(4));
        assert_eq!(sound.len(), text.len());
    }

    #[test]
    fn the_first_of_two_keys_is_found() {
        let cases = [
            ("a = 1\nb = 2\na = 3\n", 1),
            ("[s]\na = 1\n[t]\na = 1\n  a = 3\n", 4),
            ("[s.u]\na = 1\n[t]\n[s.u]\n", 1),
            ("x = 1\nt = { a = 1, ab = 2, a = 3 }\n", 2),
            ("[s]\n\"a\" = 1\n\"a\" = 2\n", 2),
        ];
        for (text, line) in cases {
            let (_, errors) = sound("f", text);
            let said: Vec<String> = errors.iter().map(Diagnostic::short).collect();
            let expected = format!("the first one is in line {line}");
            assert!(
                said.len() == 1 && said[0].contains(&expected),
                "{text}: {said:?}"
            );
        }
    }

    #[test]
    fn a_text_without_an_end_takes_all_behind_it_and_nothing_before() {
        for quotes in ["\"\"\"", "'''"] {
            let text = format!("[a]\nx = 1\n[b]\ny = {quotes}\nmore\n[c]\nz = 3\n");
            let (sound, errors) = sound("f", &text);
            assert_eq!(errors.len(), 1, "{errors:#?}");
            let document = Document::parse(sound.as_str()).expect("TOML");
            let table = document.as_table();
            assert_eq!(table["a"]["x"].as_integer(), Some(1));
            assert!(table.get("c").is_none());
            assert_eq!(sound.len(), text.len());
        }
    }

    #[test]
    fn rubbish_ends() {
        for text in [
            "",
            "\u{feff}",
            "=",
            "[",
            "\"\"\"",
            "\0",
            "a",
            "a\n\nb\n",
            "[[[[",
            "x = '''\n\n",
        ] {
            let _ = sound("f", text);
        }
        let many = "=\n\n".repeat(1_000);
        assert_eq!(sound("f", &many).1.len(), ERRORS_MAX);
    }
}
