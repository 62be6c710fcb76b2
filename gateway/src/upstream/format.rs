//! How the attributes of an event leave.

use crate::config::key::Choice;

/// How they leave.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `"binary"`: the payload as it is, the attributes in the protocol's metadata.
    Binary,
    /// `"structured"`: one JSON document.
    Structured,
}

impl Choice for Format {
    const CHOICES: &'static [(&'static str, Format)] = &[
        ("binary", Format::Binary),
        ("structured", Format::Structured),
    ];
}
