//! Changing the members of a JSON object without touching the others.

use std::borrow::Cow;
use std::ops::Range;

use serde::de::IgnoredAny;
use serde_json::value::RawValue;

use super::scan::Scanner;
use super::{JsonError, Slot, text_of};

/// One change to a payload.
#[derive(Debug, Clone, PartialEq)]
pub(crate) enum Edit<'a> {
    /// The member has this JSON as its value, in its old place or at the end.
    Set(&'a str, String),
    /// The member is gone.
    Drop(&'a str),
    /// The member has another name and keeps its place; one that had the name before is gone.
    /// Without such a member nothing changes.
    Rename(&'a str, &'a str),
}

/// An object as its members and what is around them.
struct Object<'t> {
    text: &'t str,
    /// The brace that opens it, with the white space in front of it.
    brace: Range<usize>,
    /// White space between that brace and the first member.
    opening: Range<usize>,
    members: Vec<Member<'t>>,
    /// From the last member on.
    rest: Range<usize>,
}

/// A member, and how it is written.
struct Member<'t> {
    name: Cow<'t, str>,
    /// The comma in front of it with the white space around that; the first one and new ones have none.
    comma: Option<Range<usize>>,
    written: Piece,
    /// The colon with the white space around it.
    colon: Piece,
    value: Piece,
}

/// Something to be written.
enum Piece {
    /// As it was.
    Old(Range<usize>),
    New(String),
}

/// The value of a member of an object as it is written, the last one of its name.
pub(crate) fn raw_member<'t>(text: &'t str, name: &str) -> Option<&'t str> {
    let mut scanner = Scanner::new(text);
    scanner.blank();
    let mut found = None;
    let read = scanner.members(|scanner, key| {
        let start = scanner.at;
        scanner.value()?;
        if text_of(text, key) == name {
            found = text.get(start..scanner.at);
        }
        Ok(())
    });
    read.ok().and(found)
}

/// An element of a list as it is written.
pub(crate) fn raw_element(text: &str, place: usize) -> Option<&str> {
    let elements: Vec<&RawValue> = serde_json::from_str(text).ok()?;
    elements.get(place).map(|element| element.get())
}

/// Whether a value is JSON to every reader.
pub(crate) fn is_json(text: &str) -> bool {
    serde_json::from_str::<IgnoredAny>(text).is_ok()
}

/// The object in `text` with the `edits` made in their order. `bytes` is what `text` was made of, byte for byte: what is
/// not edited is taken from there, white space too.
///
/// # Errors
/// `text` is no JSON object.
pub(crate) fn rewrite(text: &str, bytes: &[u8], edits: &[Edit<'_>]) -> Result<Vec<u8>, JsonError> {
    let mut object = object(text)?;
    let was_empty = object.members.is_empty();
    for edit in edits {
        match edit {
            Edit::Set(name, json) => object.set(name, json),
            Edit::Drop(name) => object.members.retain(|member| member.name != *name),
            Edit::Rename(from, to) => object.rename(from, to),
        }
    }
    let old = |range: &Range<usize>| bytes.get(range.clone()).unwrap_or_default();
    let mut out = Vec::with_capacity(text.len() + 32);
    out.extend_from_slice(old(&object.brace));
    if !object.members.is_empty() {
        out.extend_from_slice(old(&object.opening));
    }
    for (place, member) in object.members.iter().enumerate() {
        if place > 0 {
            out.extend_from_slice(member.comma.as_ref().map_or(b",", old));
        }
        for piece in [&member.written, &member.colon, &member.value] {
            out.extend_from_slice(match piece {
                Piece::Old(range) => old(range),
                Piece::New(text) => text.as_bytes(),
            });
        }
    }
    let rest = match object.members.is_empty() && !was_empty {
        // The white space that was behind the last member goes with it.
        true => old(&object.rest).trim_ascii_start(),
        false => old(&object.rest),
    };
    out.extend_from_slice(rest);
    Ok(out)
}

fn object(text: &str) -> Result<Object<'_>, JsonError> {
    let mut members: Vec<Member<'_>> = Vec::new();
    let mut scanner = Scanner::new(text);
    scanner.blank();
    if scanner.peek() != b'{' {
        return scanner.error("an object");
    }
    let inside = scanner.at + 1;
    let (mut first, mut behind) = (None, inside);
    scanner.members(|scanner, key| {
        let start = scanner.at;
        scanner.value()?;
        let Slot::Text {
            start: from, end, ..
        } = key
        else {
            return scanner.error("a name in quotes");
        };
        let written = from as usize - 1..end as usize + 1;
        let comma = first.is_some().then_some(behind..written.start);
        first.get_or_insert(written.start);
        behind = scanner.at;
        members.push(Member {
            name: text_of(text, key),
            comma,
            colon: Piece::Old(written.end..start),
            written: Piece::Old(written),
            value: Piece::Old(start..scanner.at),
        });
        Ok(())
    })?;
    scanner.end()?;
    Ok(Object {
        text,
        brace: 0..inside,
        opening: inside..first.unwrap_or(inside),
        members,
        rest: behind..text.len(),
    })
}

impl Object<'_> {
    /// Wherever a name stands, for some readers take the first of equal ones and some the last.
    fn set(&mut self, name: &str, json: &str) {
        let value = || Piece::New(json.to_owned());
        let mut is_new = true;
        let named = self.members.iter_mut().filter(|it| it.name == name);
        for member in named {
            member.value = value();
            is_new = false;
        }
        if is_new {
            self.members.push(Member {
                name: Cow::Owned(name.to_owned()),
                comma: None,
                written: Piece::New(quoted(name)),
                colon: Piece::New(":".to_owned()),
                value: value(),
            });
        }
    }

    /// A member that is not there, or `null`, leaves what has the new name already. As when reading, the last of equal
    /// names counts.
    fn rename(&mut self, from: &str, to: &str) {
        let last = self.members.iter().rev().find(|it| it.name == from);
        let Some(last) = last.filter(|_| from != to) else {
            return;
        };
        let is_null = match &last.value {
            Piece::Old(range) => self.text.get(range.clone()) == Some("null"),
            Piece::New(json) => json == "null",
        };
        let gone = if is_null { from } else { to };
        self.members.retain(|member| member.name != gone);
        for member in self.members.iter_mut().filter(|it| it.name == from) {
            member.name = Cow::Owned(to.to_owned());
            member.written = Piece::New(quoted(to));
        }
    }
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
