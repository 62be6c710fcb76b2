//! Text to tokens. Every byte of the text is in exactly one token, whatever the text is.

use std::ops::Range;

use super::SyntaxKind::{self, *};
use crate::value::time_format::duration_ms;

/// A token by its kind and its bytes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Token {
    pub(crate) kind: SyntaxKind,
    pub(crate) span: Range<usize>,
}

/// Signs of two characters, which go before those of one.
const SIGNS: [(&str, SyntaxKind); 28] = [
    ("..", DotDot),
    ("==", Equal),
    ("!=", NotEqual),
    ("<=", LessEqual),
    (">=", GreaterEqual),
    ("??", Coalesce),
    ("&&", AndSign),
    ("||", OrSign),
    ("{", BraceOpen),
    ("}", BraceClose),
    ("(", ParenOpen),
    (")", ParenClose),
    ("[", BracketOpen),
    ("]", BracketClose),
    (",", Comma),
    (":", Colon),
    (".", Dot),
    ("=", Assign),
    ("<", Less),
    (">", Greater),
    ("+", Plus),
    ("-", Minus),
    ("*", Star),
    ("/", Slash),
    ("%", Percent),
    ("!", NotSign),
    ("&", AndSign),
    ("|", OrSign),
];

/// Cuts `text` into tokens.
pub(crate) fn lex(text: &str) -> Vec<Token> {
    let mut tokens = Vec::new();
    let mut start = 0;
    while start < text.len() {
        let (kind, length) = next(&text[start..]);
        tokens.push(Token {
            kind,
            span: start..start + length,
        });
        start += length;
    }
    tokens
}

/// The kind and length of the token at the start of `text`, which is not empty.
fn next(text: &str) -> (SyntaxKind, usize) {
    let first = text.chars().next().unwrap_or_default();
    match first {
        _ if is_blank(first) => (Whitespace, span_of(text, is_blank)),
        '#' => (Comment, span_of(text, |c| c != '\n')),
        '"' => (Text, text_length(text)),
        '\'' | '“' | '”' | '„' | '‘' | '’' => (Unknown, foreign_text_length(text)),
        _ if is_word_start(first) => {
            let length = span_of(text, is_word);
            (SyntaxKind::of_word(&text[..length]), length)
        }
        _ if first.is_ascii_digit() => number(text),
        _ => SIGNS
            .iter()
            .find(|(sign, _)| text.starts_with(sign))
            .map_or((Unknown, first.len_utf8()), |(sign, kind)| {
                (*kind, sign.len())
            }),
    }
}

/// A byte order mark is as blank as a space: editors on other systems leave it behind.
fn is_blank(c: char) -> bool {
    c.is_whitespace() || c == '\u{feff}'
}

fn is_word_start(c: char) -> bool {
    c.is_alphabetic() || c == '_'
}

fn is_word(c: char) -> bool {
    c.is_alphanumeric() || c == '_'
}

/// Bytes of the longest start of `text` in which every character is `wanted`.
fn span_of(text: &str, wanted: impl Fn(char) -> bool) -> usize {
    text.find(|c| !wanted(c)).unwrap_or(text.len())
}

/// A text ends at its closing quote, or unclosed at the end of the line.
fn text_length(text: &str) -> usize {
    let mut escaped = false;
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' | '\r' => return at,
            _ if escaped => escaped = false,
            '\\' => escaped = true,
            '"' => return at + 1,
            _ => {}
        }
    }
    text.len()
}

/// Text in quotes that are not ours, so that one message covers it.
fn foreign_text_length(text: &str) -> usize {
    let closes = |c: char| matches!(c, '\'' | '“' | '”' | '‘' | '’' | '"');
    for (at, c) in text.char_indices().skip(1) {
        match c {
            '\n' | '\r' => return at,
            _ if closes(c) => return at + c.len_utf8(),
            _ => {}
        }
    }
    text.len()
}

/// `30`, `0.5`, `1e3`, `30s`, `1m30s`; anything else that starts with a digit is unknown.
fn number(text: &str) -> (SyntaxKind, usize) {
    let whole = span_of(text, |c| c.is_ascii_digit());
    let mut length = whole;
    let mut kind = Int;
    let fraction = text[length..].strip_prefix('.').unwrap_or_default();
    if fraction.starts_with(|c: char| c.is_ascii_digit()) {
        kind = Float;
        length += 1 + span_of(fraction, |c| c.is_ascii_digit());
    }
    if let Some(exponent) = exponent_length(&text[length..]) {
        kind = Float;
        length += exponent;
    }
    if !text[length..].starts_with(is_word) {
        return (kind, length);
    }
    let word = span_of(text, is_word);
    if word >= length && duration_ms(&text[..word]).is_some() {
        return (Duration, word);
    }
    (Unknown, length + span_of(&text[length..], is_word))
}

fn exponent_length(text: &str) -> Option<usize> {
    let rest = text.strip_prefix(['e', 'E'])?;
    let digits = rest.strip_prefix(['+', '-']).unwrap_or(rest);
    let count = span_of(digits, |c| c.is_ascii_digit());
    (count > 0).then_some(text.len() - digits.len() + count)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(text: &str) -> Vec<SyntaxKind> {
        let tokens = lex(text).into_iter().map(|token| token.kind);
        tokens.filter(|kind| !kind.is_trivia()).collect()
    }

    #[test]
    fn numbers_ranges_and_durations_are_told_apart() {
        let cases: [(&str, &[SyntaxKind]); 9] = [
            ("30..40", &[Int, DotDot, Int]),
            ("0.5..1", &[Float, DotDot, Int]),
            ("1m30s", &[Duration]),
            ("30 s", &[Int, Name]),
            ("30sec", &[Unknown]),
            ("1e-3", &[Float]),
            ("2.5s", &[Unknown]),
            ("a.b", &[Name, Dot, Name]),
            ("-40", &[Minus, Int]),
        ];
        for (text, expected) in cases {
            assert_eq!(kinds(text), expected, "{text}");
        }
    }

    #[test]
    fn a_text_ends_at_its_quote_or_at_the_end_of_the_line() {
        assert_eq!(kinds(r#""a \" b" c"#), [Text, Name]);
        assert_eq!(kinds("\"open\nnext"), [Text, Name]);
    }
}
