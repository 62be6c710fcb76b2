//! Texts in quotes: escapes, and templates with `{…}` holes.

use super::Lowering;
use crate::syntax::SyntaxToken;
use crate::syntax::ast::*;
use crate::syntax::parser::parse_expr;

/// What a backslash may stand before.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Escapes {
    /// `\n \t \r \" \\ \u{…}`.
    Plain,
    /// Those, and `\{ \}`.
    Template,
    /// Anything: the text is a regular expression and keeps its backslashes, except in `\"`.
    Regex,
}

impl Lowering<'_> {
    /// A text token with its value.
    pub(super) fn quoted(&mut self, token: &SyntaxToken, escapes: Escapes) -> Quoted {
        let span = self.span(token.text_range());
        let inner = self.inner(&span);
        let value = self.unescape(inner.clone(), escapes);
        Quoted { value, inner, span }
    }

    /// The bytes between the quotes; complains if the closing one is missing.
    fn inner(&mut self, span: &Span) -> Span {
        let text = &self.text[span.clone()];
        if text.len() >= 2 && text.ends_with('"') && !ends_escaped(&text[..text.len() - 1]) {
            return span.start + 1..span.end - 1;
        }
        self.error(span.clone(), "this text is not closed").label =
            Some("a `\"` is missing at the end of the line".to_owned());
        span.start + 1..span.end
    }

    fn unescape(&mut self, inner: Span, escapes: Escapes) -> String {
        let text = &self.text[inner.clone()];
        if !text.contains('\\') {
            return text.to_owned();
        }
        let mut value = String::with_capacity(text.len());
        let mut rest = text;
        while let Some(at) = rest.find('\\') {
            value.push_str(&rest[..at]);
            let start = inner.end - rest.len() + at;
            let (length, stands_for) = escape(&rest[at..], escapes);
            match stands_for {
                Some(c) => value.push(c),
                None if escapes == Escapes::Regex => value.push_str(&rest[at..at + length]),
                None => {
                    let written = rest[at..at + length].to_owned();
                    self.error(
                        start..start + length,
                        format!("`{written}` stands for nothing"),
                    )
                    .label = Some("write `\\\\` for a backslash".to_owned());
                }
            }
            rest = &rest[at + length..];
        }
        value.push_str(rest);
        value
    }

    /// A text with its holes.
    pub(super) fn template(&mut self, token: &SyntaxToken) -> Template {
        let span = self.span(token.text_range());
        let inner = self.inner(&span);
        let mut parts = Vec::new();
        let mut at = inner.start;
        while let Some((open, close)) = next_hole(self.text, at..inner.end) {
            let before = self.unescape(at..open, Escapes::Template);
            parts.push(Part::Text(before));
            let Some(close) = close else {
                self.error(open..inner.end, "this `{` is not closed").label =
                    Some("write `\\{` for a brace that is sent as it is".to_owned());
                return Template { parts, span };
            };
            parts.push(Part::Hole(self.hole(open + 1..close)));
            at = close + 1;
        }
        let after = self.unescape(at..inner.end, Escapes::Template);
        parts.push(Part::Text(after));
        parts.retain(|part| !matches!(part, Part::Text(text) if text.is_empty()));
        Template { parts, span }
    }

    fn hole(&mut self, inside: Span) -> Expr {
        let parsed = parse_expr(self.file, self.text, inside.clone());
        let base = std::mem::replace(&mut self.base, inside.start);
        let expr = match parsed.root().children().next() {
            Some(node) if parsed.errors.is_empty() => self.expr(&node),
            _ => Expr {
                kind: ExprKind::Error,
                span: inside,
                depth: 1,
            },
        };
        self.base = base;
        self.errors.extend(parsed.errors);
        expr
    }
}

/// Length of the escape at the start of `text`, and what it stands for.
fn escape(text: &str, escapes: Escapes) -> (usize, Option<char>) {
    let Some(next) = text.chars().nth(1) else {
        return (text.len(), None);
    };
    let length = 1 + next.len_utf8();
    if escapes == Escapes::Regex {
        return (length, (next == '"').then_some('"'));
    }
    match next {
        'n' => (length, Some('\n')),
        't' => (length, Some('\t')),
        'r' => (length, Some('\r')),
        '"' | '\\' => (length, Some(next)),
        '{' | '}' if escapes == Escapes::Template => (length, Some(next)),
        'u' => unicode_escape(text).unwrap_or((length, None)),
        _ => (length, None),
    }
}

/// `\u{1F321}`
fn unicode_escape(text: &str) -> Option<(usize, Option<char>)> {
    let inner = text.strip_prefix("\\u{")?;
    let digits = &inner[..inner.find('}')?];
    let code = u32::from_str_radix(digits, 16).ok()?;
    Some((digits.len() + 4, Some(char::from_u32(code)?)))
}

/// Whether the last character of `text` is escaped by a backslash before it, were one more to come.
fn ends_escaped(text: &str) -> bool {
    text.bytes().rev().take_while(|b| *b == b'\\').count() % 2 == 1
}

/// The next `{` that is not escaped, and the `}` that closes it.
fn next_hole(text: &str, within: Span) -> Option<(usize, Option<usize>)> {
    let bytes = text.as_bytes();
    let mut at = within.start;
    while at < within.end {
        match bytes[at] {
            b'\\' => at += 1,
            b'{' => {
                let close = memchr::memchr(b'}', &bytes[at..within.end]);
                return Some((at, close.map(|length| at + length)));
            }
            _ => {}
        }
        at += 1;
    }
    None
}
