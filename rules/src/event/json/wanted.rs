//! Which fields of a payload rules want to read.

use super::scan::Scanner;
use super::{JsonError, Slot, text_of};

/// The place of a field's [`Slot`], the same for all rules of a set.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct FieldId(pub(crate) u32);

/// Paths into a payload as a tree, so that one walk finds all of them.
#[derive(Debug, Clone, Default)]
pub(crate) struct Wanted {
    root: Node,
    ids: Vec<FieldId>,
}

#[derive(Debug, Clone, Default)]
struct Node {
    id: Option<FieldId>,
    children: Vec<(Box<str>, Node)>,
}

impl Wanted {
    /// Adds the field `id`, found by going down `path` from the payload.
    pub(crate) fn add(&mut self, id: FieldId, path: &[String]) {
        let mut node = &mut self.root;
        for name in path {
            let known = node
                .children
                .iter()
                .position(|(known, _)| **known == **name);
            let at = known.unwrap_or_else(|| {
                node.children.push((name.as_str().into(), Node::default()));
                node.children.len() - 1
            });
            node = &mut node.children[at].1;
        }
        if node.id.replace(id).is_none() {
            self.ids.push(id);
        }
    }

    /// Whether nothing is wanted.
    pub(crate) fn is_empty(&self) -> bool {
        self.ids.is_empty()
    }

    /// How many fields are wanted.
    pub(crate) fn len(&self) -> usize {
        self.ids.len()
    }

    /// Marks all wanted fields as missing.
    pub(crate) fn clear(&self, slots: &mut [Slot]) {
        for id in &self.ids {
            slots[id.0 as usize] = Slot::Missing;
        }
    }

    /// Finds the wanted fields in `text`. Of members with equal names the last one counts.
    ///
    /// # Errors
    /// `text` is not JSON; then all fields are missing.
    pub(crate) fn extract(&self, text: &str, slots: &mut [Slot]) -> Result<(), JsonError> {
        self.clear(slots);
        let mut scanner = Scanner::new(text);
        scanner.blank();
        let result = take(&self.root, &mut scanner, text, slots);
        let result = result.and_then(|()| scanner.end());
        if result.is_err() {
            self.clear(slots);
        }
        result
    }
}

/// Takes the next value, for `node` and what is wanted inside it.
fn take(
    node: &Node,
    scanner: &mut Scanner<'_>,
    text: &str,
    slots: &mut [Slot],
) -> Result<(), JsonError> {
    let slot = if node.children.is_empty() || scanner.peek() != b'{' {
        clear_inside(node, slots);
        scanner.value()?
    } else {
        clear_inside(node, slots);
        let start = scanner.at;
        scanner.members(|scanner, key| match child(node, text, key) {
            Some(child) => take(child, scanner, text, slots),
            None => scanner.value().map(drop),
        })?;
        Slot::Nested {
            start: u32::try_from(start).unwrap_or(u32::MAX),
            end: u32::try_from(scanner.at).unwrap_or(u32::MAX),
            is_list: false,
        }
    };
    if let Some(id) = node.id {
        slots[id.0 as usize] = slot;
    }
    Ok(())
}

/// A second member of the same name replaces all of the first.
fn clear_inside(node: &Node, slots: &mut [Slot]) {
    for (_, child) in &node.children {
        if let Some(id) = child.id {
            slots[id.0 as usize] = Slot::Missing;
        }
        clear_inside(child, slots);
    }
}

fn child<'n>(node: &'n Node, text: &str, key: Slot) -> Option<&'n Node> {
    let by_name = |name: &str| {
        let found = node.children.iter().find(|(known, _)| **known == *name);
        found.map(|(_, child)| child)
    };
    match key {
        Slot::Text {
            start,
            end,
            escaped: false,
        } => by_name(&text[start as usize..end as usize]),
        _ => by_name(&text_of(text, key)),
    }
}
