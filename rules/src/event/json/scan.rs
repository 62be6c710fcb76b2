//! A cursor over JSON text: RFC 8259, and what devices write beside it as long as there is no doubt where it ends.
//!
//! That is `nan` and `inf` in every spelling, and control characters in a string. No value stands for these.

use std::borrow::Cow;
use std::sync::Arc;

use super::{JSON_DEPTH_MAX, JsonError, Slot};
use crate::value::Value;

/// Reads JSON from the start of `text` on.
pub(super) struct Scanner<'t> {
    text: &'t str,
    bytes: &'t [u8],
    pub(super) at: usize,
    depth: usize,
    /// The last string has half a surrogate pair or a control character in it: it ends where it should, and is no text.
    no_text: bool,
}

impl<'t> Scanner<'t> {
    pub(super) fn new(text: &'t str) -> Scanner<'t> {
        Scanner {
            text,
            bytes: text.as_bytes(),
            at: 0,
            depth: 0,
            no_text: false,
        }
    }

    pub(super) fn error<T>(&self, expected: &'static str) -> Result<T, JsonError> {
        Err(JsonError {
            at: self.at,
            expected,
        })
    }

    pub(super) fn peek(&self) -> u8 {
        self.bytes.get(self.at).copied().unwrap_or(0)
    }

    pub(super) fn blank(&mut self) {
        while matches!(self.peek(), b' ' | b'\t' | b'\n' | b'\r') {
            self.at += 1;
        }
    }

    pub(super) fn end(&mut self) -> Result<(), JsonError> {
        self.blank();
        match self.at == self.bytes.len() {
            true => Ok(()),
            false => self.error("the end"),
        }
    }

    /// The next value. Of a list or object only its place; all of it is checked. What no value stands for, such as half a
    /// surrogate pair, a number beyond all floats or nesting deeper than all others, is missing: it is nobody else's
    /// trouble.
    pub(super) fn value(&mut self) -> Result<Slot, JsonError> {
        match self.peek() {
            b'{' | b'[' if self.depth >= JSON_DEPTH_MAX => self.skip().map(|()| Slot::Missing),
            b'{' => self.nested(|it| it.members(|it, _| it.value().map(drop))),
            b'[' => self.nested(|it| it.elements(|it| it.value().map(drop))),
            _ => self.single(),
        }
    }

    /// The next value, which is no list and no object.
    fn single(&mut self) -> Result<Slot, JsonError> {
        match self.peek() {
            b'"' => self
                .string()
                .map(|text| if self.no_text { Slot::Missing } else { text }),
            b'-' | b'0'..=b'9' => self.number(),
            b't' => self.word("true", Slot::Bool(true)),
            b'f' => self.word("false", Slot::Bool(false)),
            b'n' if self.rest().starts_with("null") => self.word("null", Slot::Missing),
            b'n' | b'N' | b'i' | b'I' => self.no_number(),
            _ => self.error("a value"),
        }
    }

    /// Goes past a list or an object, however deep it nests.
    fn skip(&mut self) -> Result<(), JsonError> {
        let mut open: Vec<bool> = Vec::new();
        loop {
            match self.peek() {
                sign @ (b'{' | b'[') => {
                    open.push(sign == b'{');
                    self.at += 1;
                    self.blank();
                    if self.peek() != if sign == b'{' { b'}' } else { b']' } {
                        self.key(sign == b'{')?;
                        continue;
                    }
                }
                _ => drop(self.single()?),
            }
            // A value has ended, and with it perhaps what it was in.
            while let Some(is_object) = open.last().copied() {
                self.blank();
                match (self.peek(), is_object) {
                    (b',', _) => {
                        self.at += 1;
                        self.blank();
                        self.key(is_object)?;
                        break;
                    }
                    (b'}', true) | (b']', false) => {
                        self.at += 1;
                        open.pop();
                    }
                    (_, true) => return self.error("`,` or `}`"),
                    (_, false) => return self.error("`,` or `]`"),
                }
            }
            if open.is_empty() {
                return Ok(());
            }
        }
    }

    /// The name in front of a value, where it is in an object.
    fn key(&mut self, is_object: bool) -> Result<(), JsonError> {
        if !is_object {
            return Ok(());
        }
        if self.peek() != b'"' {
            return self.error("a name in quotes");
        }
        self.string()?;
        self.blank();
        self.sign(b':', "`:`")?;
        self.blank();
        Ok(())
    }

    fn rest(&self) -> &'t str {
        self.text.get(self.at..).unwrap_or_default()
    }

    /// What programs write for a number that is none.
    fn no_number(&mut self) -> Result<Slot, JsonError> {
        let rest = &self.bytes[self.at..];
        let said = ["infinity", "inf", "nan"].into_iter().find(|word| {
            rest.get(..word.len())
                .is_some_and(|start| start.eq_ignore_ascii_case(word.as_bytes()))
        });
        let Some(said) = said else {
            return self.error("a value");
        };
        self.at += said.len();
        match self.peek().is_ascii_alphanumeric() {
            true => self.error("a value"),
            false => Ok(Slot::Missing),
        }
    }

    fn word(&mut self, word: &'static str, slot: Slot) -> Result<Slot, JsonError> {
        if !self.rest().starts_with(word) {
            return self.error("a value");
        }
        self.at += word.len();
        Ok(slot)
    }

    fn nested(
        &mut self,
        inside: impl FnOnce(&mut Self) -> Result<(), JsonError>,
    ) -> Result<Slot, JsonError> {
        let start = self.at;
        let is_list = self.peek() == b'[';
        inside(self)?;
        Ok(Slot::Nested {
            start: place(start),
            end: place(self.at),
            is_list,
        })
    }

    fn enter(&mut self) -> Result<(), JsonError> {
        if self.depth >= JSON_DEPTH_MAX {
            return self.error("less nesting");
        }
        self.depth += 1;
        self.at += 1;
        self.blank();
        Ok(())
    }

    /// Goes through an object; `member` must take the value of the key it is given.
    pub(super) fn members(
        &mut self,
        mut member: impl FnMut(&mut Self, Slot) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.enter()?;
        if self.peek() != b'}' {
            loop {
                if self.peek() != b'"' {
                    return self.error("a name in quotes");
                }
                let key = self.string()?;
                self.blank();
                self.sign(b':', "`:`")?;
                self.blank();
                member(self, key)?;
                self.blank();
                if self.peek() != b',' {
                    break;
                }
                self.at += 1;
                self.blank();
            }
        }
        self.depth -= 1;
        self.sign(b'}', "`,` or `}`")
    }

    /// Goes through a list; `element` must take one value.
    fn elements(
        &mut self,
        mut element: impl FnMut(&mut Self) -> Result<(), JsonError>,
    ) -> Result<(), JsonError> {
        self.enter()?;
        if self.peek() != b']' {
            loop {
                element(self)?;
                self.blank();
                if self.peek() != b',' {
                    break;
                }
                self.at += 1;
                self.blank();
            }
        }
        self.depth -= 1;
        self.sign(b']', "`,` or `]`")
    }

    fn sign(&mut self, sign: u8, expected: &'static str) -> Result<(), JsonError> {
        if self.peek() != sign || self.at >= self.bytes.len() {
            return self.error(expected);
        }
        self.at += 1;
        Ok(())
    }

    fn string(&mut self) -> Result<Slot, JsonError> {
        self.at += 1;
        self.no_text = false;
        let start = self.at;
        let mut escaped = false;
        loop {
            let rest = self.bytes.get(self.at..).unwrap_or_default();
            let plain = |byte: &u8| PLAIN[usize::from(*byte)];
            let long = plain_chunks(rest);
            let short = rest[long..].iter().take_while(|byte| plain(byte));
            self.at += long + short.count();
            match self.peek() {
                b'"' => break,
                b'\\' => {
                    escaped = true;
                    self.escape()?;
                }
                _ if self.at < self.bytes.len() => {
                    self.no_text = true;
                    self.at += 1;
                }
                _ => return self.error("a closing quote"),
            }
        }
        let end = self.at;
        self.at += 1;
        Ok(Slot::Text {
            start: place(start),
            end: place(end),
            escaped,
        })
    }

    fn escape(&mut self) -> Result<(), JsonError> {
        self.at += 1;
        match self.peek() {
            b'"' | b'\\' | b'/' | b'b' | b'f' | b'n' | b'r' | b't' => self.at += 1,
            b'u' => {
                let high = self.hex()?;
                match high {
                    0xD800..0xDC00 if self.bytes[self.at..].starts_with(b"\\u") => {
                        let second = self.at;
                        self.at += 1;
                        if !(0xDC00..0xE000).contains(&self.hex()?) {
                            self.no_text = true;
                            // It may be the first half of another pair.
                            self.at = second;
                        }
                    }
                    0xD800..0xE000 => self.no_text = true,
                    _ => {}
                }
            }
            _ => return self.error("an escape"),
        }
        Ok(())
    }

    /// `u` and four hexadecimal digits.
    fn hex(&mut self) -> Result<u32, JsonError> {
        let digits = self.bytes.get(self.at + 1..self.at + 5);
        let valid = digits.filter(|digits| digits.iter().all(u8::is_ascii_hexdigit));
        let Some(digits) = valid else {
            return self.error("four hexadecimal digits");
        };
        let code = digits.iter().fold(0, |code, digit| {
            code * 16 + char::from(*digit).to_digit(16).unwrap_or(0)
        });
        self.at += 5;
        Ok(code)
    }

    fn number(&mut self) -> Result<Slot, JsonError> {
        let start = self.at;
        if self.peek() == b'-' {
            self.at += 1;
        }
        match self.peek() {
            b'0' => self.at += 1,
            b'1'..=b'9' => self.digits()?,
            b'i' | b'I' | b'n' | b'N' => return self.no_number(),
            _ => return self.error("a digit"),
        }
        let mut whole = true;
        if self.peek() == b'.' {
            whole = false;
            self.at += 1;
            self.digits()?;
        }
        if matches!(self.peek(), b'e' | b'E') {
            whole = false;
            self.at += 1;
            if matches!(self.peek(), b'+' | b'-') {
                self.at += 1;
            }
            self.digits()?;
        }
        let text = &self.text[start..self.at];
        if whole && let Ok(value) = text.parse() {
            return Ok(Slot::Int(value));
        }
        match text.parse::<f64>() {
            Ok(value) if value.is_finite() => Ok(Slot::Float(value)),
            _ => Ok(Slot::Missing),
        }
    }

    fn digits(&mut self) -> Result<(), JsonError> {
        if !self.peek().is_ascii_digit() {
            return self.error("a digit");
        }
        while self.peek().is_ascii_digit() {
            self.at += 1;
        }
        Ok(())
    }

    /// The next value with everything in it.
    fn decoded(&mut self) -> Result<Value, JsonError> {
        match self.peek() {
            b'{' => {
                let text = self.text;
                let mut members: Vec<(Arc<str>, Value)> = Vec::new();
                self.members(|it, key| {
                    let key = text_of(text, key);
                    let value = it.decoded()?;
                    members.retain(|(known, _)| **known != *key);
                    members.push((key.into(), value));
                    Ok(())
                })?;
                Ok(Value::Object(members.into()))
            }
            b'[' => {
                let mut values = Vec::new();
                self.elements(|it| {
                    values.push(it.decoded()?);
                    Ok(())
                })?;
                Ok(Value::List(values.into()))
            }
            _ => {
                let text = self.text;
                self.value().map(|slot| scalar(text, slot))
            }
        }
    }
}

/// What may stand in a string as it is. The end of the text reads as 0, which may not.
const PLAIN: [bool; 256] = {
    let mut plain = [true; 256];
    let mut byte = 0;
    while byte < 0x20 {
        plain[byte] = false;
        byte += 1;
    }
    plain[b'"' as usize] = false;
    plain[b'\\' as usize] = false;
    plain
};

/// Bytes at the front that are [`PLAIN`], in whole chunks: without a branch for each byte, a chunk is
/// a few instructions.
fn plain_chunks(bytes: &[u8]) -> usize {
    let is_plain = |byte: &u8| (*byte >= 0x20) & (*byte != b'"') & (*byte != b'\\');
    let (chunks, _) = bytes.as_chunks::<16>();
    let whole = |chunk: &&[u8; 16]| chunk.iter().fold(true, |all, byte| all & is_plain(byte));
    chunks.iter().take_while(whole).count() * 16
}

/// Payloads are far below 4 GiB; the caller refuses larger ones.
fn place(at: usize) -> u32 {
    u32::try_from(at).unwrap_or(u32::MAX)
}

fn scalar(text: &str, slot: Slot) -> Value {
    match slot {
        Slot::Bool(value) => Value::Bool(value),
        Slot::Int(value) => Value::Int(value),
        Slot::Float(value) => Value::Float(value),
        Slot::Text { .. } => Value::Text(text_of(text, slot).into()),
        Slot::Missing | Slot::Nested { .. } => Value::Null,
    }
}

/// The whole value that `slot` points at in `text`.
pub(crate) fn decode(text: &str, slot: Slot) -> Value {
    match slot {
        Slot::Nested { start, end, .. } => {
            let nested = text.get(start as usize..end as usize).unwrap_or_default();
            Scanner::new(nested).decoded().unwrap_or(Value::Null)
        }
        _ => scalar(text, slot),
    }
}

/// The text that `slot` points at, its escapes resolved; empty if it points at something else. Where they are half a
/// surrogate pair, it is as it was written.
pub(crate) fn text_of(text: &str, slot: Slot) -> Cow<'_, str> {
    let Slot::Text {
        start,
        end,
        escaped,
    } = slot
    else {
        return Cow::Borrowed("");
    };
    let (start, end) = (start as usize, end as usize);
    if !escaped {
        return Cow::Borrowed(text.get(start..end).unwrap_or_default());
    }
    let with_quotes = start.checked_sub(1).and_then(|s| text.get(s..end + 1));
    let parsed = with_quotes.and_then(|quoted| serde_json::from_str(quoted).ok());
    match parsed {
        Some(parsed) => Cow::Owned(parsed),
        None => Cow::Borrowed(text.get(start..end).unwrap_or_default()),
    }
}
