//! How the envelope of an event leaves.

use crate::config::key::Choice;

/// How the envelope leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `"binary"`: the payload as it is, the envelope in the protocol's metadata.
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
