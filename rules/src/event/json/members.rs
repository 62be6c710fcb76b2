//! Changing the members of a JSON object without touching the others.

use std::borrow::Cow;
use std::ops::Range;

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

/// A member: its name, and what is written of it and its value.
struct Member<'t> {
    name: Cow<'t, str>,
    written: Piece,
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

/// The object in `text` with the `edits` made in their order. `bytes` is what `text` was made of, byte for byte: what is
/// not edited is taken from there.
///
/// # Errors
/// `text` is no JSON object.
pub(crate) fn rewrite(text: &str, bytes: &[u8], edits: &[Edit<'_>]) -> Result<Vec<u8>, JsonError> {
    let mut members = members(text)?;
    for edit in edits {
        match edit {
            Edit::Set(name, json) => set(&mut members, name, json),
            Edit::Drop(name) => members.retain(|member| member.name != *name),
            Edit::Rename(from, to) => rename(&mut members, text, from, to),
        }
    }
    let mut out = Vec::with_capacity(text.len() + 32);
    for Member { written, value, .. } in &members {
        out.push(if out.is_empty() { b'{' } else { b',' });
        for (piece, end) in [(written, &b":"[..]), (value, b"")] {
            out.extend_from_slice(match piece {
                Piece::Old(range) => bytes.get(range.clone()).unwrap_or_default(),
                Piece::New(text) => text.as_bytes(),
            });
            out.extend_from_slice(end);
        }
    }
    if out.is_empty() {
        out.push(b'{');
    }
    out.push(b'}');
    Ok(out)
}

fn members(text: &str) -> Result<Vec<Member<'_>>, JsonError> {
    let mut members: Vec<Member<'_>> = Vec::new();
    let mut scanner = Scanner::new(text);
    scanner.blank();
    if scanner.peek() != b'{' {
        return scanner.error("an object");
    }
    scanner.members(|scanner, key| {
        let start = scanner.at;
        scanner.value()?;
        let name = text_of(text, key);
        let Slot::Text {
            start: from, end, ..
        } = key
        else {
            return scanner.error("a name in quotes");
        };
        // As when reading, the last of equal names counts.
        members.retain(|known| known.name != name);
        members.push(Member {
            name,
            written: Piece::Old(from as usize - 1..end as usize + 1),
            value: Piece::Old(start..scanner.at),
        });
        Ok(())
    })?;
    scanner.end()?;
    Ok(members)
}

fn set(members: &mut Vec<Member<'_>>, name: &str, json: &str) {
    let value = Piece::New(json.to_owned());
    match members.iter_mut().find(|member| member.name == name) {
        Some(member) => member.value = value,
        None => members.push(Member {
            name: Cow::Owned(name.to_owned()),
            written: Piece::New(quoted(name)),
            value,
        }),
    }
}

/// A member that is not there, or `null`, leaves what has the new name already.
fn rename(members: &mut Vec<Member<'_>>, text: &str, from: &str, to: &str) {
    let found = members.iter().position(|member| member.name == from);
    let Some(at) = found.filter(|_| from != to) else {
        return;
    };
    let is_null = |value: &Piece| match value {
        Piece::Old(range) => text.get(range.clone()) == Some("null"),
        Piece::New(json) => json == "null",
    };
    if is_null(&members[at].value) {
        members.remove(at);
        return;
    }
    members[at].name = Cow::Owned(to.to_owned());
    members[at].written = Piece::New(quoted(to));
    let mut place = 0;
    members.retain(|member| {
        place += 1;
        place - 1 == at || member.name != to
    });
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
