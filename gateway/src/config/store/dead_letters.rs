//! `[dead_letters]`: how many are kept of each rule, upstream and source.

use crate::config::key::{Choice, Count, OneOf, Size, count, keys, one_of, size};
use crate::config::section::Section;

keys! {
    /// Keys of `[dead_letters]`.
    pub(in crate::config) DEAD_LETTERS: DeadLetterKeys {
        max: Count<u64> = count(1, 10_000_000).default("10000", "dead letters kept of each rule, upstream and source"),
        max_size: Option<Size> = size("4KiB", "16TiB").optional("a 32nd of `[store] max_size`", "their bytes; all together have an eighth of `[store] max_size`"),
        when_full: OneOf<WhenTooMany> = one_of().default("drop", "beyond that drop the newest, counted in gap records, or let them wait in the store"),
    }
}

/// What becomes of a dead letter beyond the bound.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenTooMany {
    /// It is dropped and counted.
    Drop,
    /// It waits where it is, and what is behind it too.
    Refuse,
}

impl Choice for WhenTooMany {
    const CHOICES: &'static [(&'static str, WhenTooMany)] =
        &[("drop", WhenTooMany::Drop), ("refuse", WhenTooMany::Refuse)];
}

/// `[dead_letters]`
#[derive(Debug, Clone, PartialEq)]
pub struct DeadLetters {
    /// `max` (10000): letters of each rule, upstream and source.
    pub max: u64,
    /// `max_size` (a 32nd of `[store] max_size`): their bytes.
    pub max_size_bytes: u64,
    /// `when_full` ("drop")
    pub when_full: WhenTooMany,
}

impl DeadLetters {
    /// The keys in which the other says something else.
    pub(in crate::config) fn differs_in(&self, other: &DeadLetters) -> Vec<&'static str> {
        let DeadLetters {
            max,
            max_size_bytes,
            when_full,
        } = self;
        crate::config::differing(&[
            ("max", *max == other.max),
            ("max_size", *max_size_bytes == other.max_size_bytes),
            ("when_full", *when_full == other.when_full),
        ])
    }

    /// Reads the section; `store_bytes` is `[store] max_size`.
    pub(in crate::config) fn read(section: &Section<'_>, store_bytes: u64) -> DeadLetters {
        let share = (store_bytes / 32).max(4096);
        DeadLetters {
            max: section.read(&DEAD_LETTERS.max),
            max_size_bytes: section.read(&DEAD_LETTERS.max_size).unwrap_or(share),
            when_full: section.read(&DEAD_LETTERS.when_full),
        }
    }
}
