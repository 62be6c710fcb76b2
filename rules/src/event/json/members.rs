//! Changing the members of a JSON object without touching the others.

use std::borrow::Cow;

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

/// A member by the bytes of its name (with quotes) and of its value.
struct Member<'t> {
    name: Cow<'t, str>,
    written: Cow<'t, str>,
    value: Cow<'t, str>,
}

/// The object in `text` with the `edits` made in their order.
///
/// # Errors
/// `text` is no JSON object.
pub(crate) fn rewrite(text: &str, edits: &[Edit<'_>]) -> Result<String, JsonError> {
    let mut members = members(text)?;
    for edit in edits {
        match edit {
            Edit::Set(name, json) => set(&mut members, name, json),
            Edit::Drop(name) => members.retain(|member| member.name != *name),
            Edit::Rename(from, to) => rename(&mut members, from, to),
        }
    }
    let mut out = String::with_capacity(text.len() + 32);
    for member in &members {
        out.push(if out.is_empty() { '{' } else { ',' });
        out.push_str(&member.written);
        out.push(':');
        out.push_str(&member.value);
    }
    if out.is_empty() {
        out.push('{');
    }
    out.push('}');
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
            written: Cow::Borrowed(&text[from as usize - 1..end as usize + 1]),
            value: Cow::Borrowed(&text[start..scanner.at]),
        });
        Ok(())
    })?;
    scanner.end()?;
    Ok(members)
}

fn set(members: &mut Vec<Member<'_>>, name: &str, json: &str) {
    let value = Cow::Owned(json.to_owned());
    match members.iter_mut().find(|member| member.name == name) {
        Some(member) => member.value = value,
        None => members.push(Member {
            name: Cow::Owned(name.to_owned()),
            written: Cow::Owned(quoted(name)),
            value,
        }),
    }
}

/// A member that is not there, or `null`, leaves what has the new name already.
fn rename(members: &mut Vec<Member<'_>>, from: &str, to: &str) {
    let found = members.iter().position(|member| member.name == from);
    let Some(at) = found.filter(|_| from != to) else {
        return;
    };
    if members[at].value == "null" {
        members.remove(at);
        return;
    }
    members[at].name = Cow::Owned(to.to_owned());
    members[at].written = Cow::Owned(quoted(to));
    let mut place = 0;
    members.retain(|member| {
        place += 1;
        place - 1 == at || member.name != to
    });
}

fn quoted(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}
