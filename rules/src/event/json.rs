//! JSON payloads, decoded only as far as rules read them and changed only where rules set them.
//!
//! [`Wanted::extract`] walks a payload once, checks all of it against RFC 8259, and notes where
//! the wanted fields are; nothing is copied. [`rewrite`] puts a changed payload together from the
//! bytes of the old one: members keep their order, and untouched ones keep every byte.

mod members;
mod scan;
#[cfg(test)]
mod tests;
mod wanted;

use std::fmt;

pub(crate) use members::{Edit, is_json, raw_element, raw_member, rewrite};
pub(crate) use scan::{decode, text_of};
pub(crate) use wanted::{FieldId, Wanted};

/// How deep payloads may nest.
pub const JSON_DEPTH_MAX: usize = 128;

/// Where a wanted field is in the payload, and what it is.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub(crate) enum Slot {
    /// Not there, or `null`.
    #[default]
    Missing,
    Bool(bool),
    /// A number without fraction and exponent that fits.
    Int(i64),
    /// Any other number.
    Float(f64),
    /// A text: the bytes between its quotes.
    Text {
        start: u32,
        end: u32,
        escaped: bool,
    },
    /// A list or an object with its brackets.
    Nested {
        start: u32,
        end: u32,
        is_list: bool,
    },
}

/// Why a payload is not JSON.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct JsonError {
    /// Byte where it stops being JSON.
    pub(crate) at: usize,
    /// What should stand there.
    pub(crate) expected: &'static str,
}

impl fmt::Display for JsonError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "expected {} at byte {}", self.expected, self.at)
    }
}
