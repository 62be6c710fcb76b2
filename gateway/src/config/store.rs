//! `[store]`: how much the event store holds, for how long, and when it commits.

pub(super) mod dead_letters;

use std::time::Duration;

use super::key::unit;
use super::key::{Choice, OneOf, Size, duration, keys, one_of, size};
use super::section::Section;

keys! {
    /// Keys of `[store]`.
    pub(super) STORE: StoreKeys {
        max_size: Size = size("1MiB", "16TiB").default("2GiB", "bytes on disk of all generations together"),
        commit_delay: Duration = duration("0ms", "1s").default("0ms", "how long an acknowledgement waits for company where some is to come: fewer, larger commits, less wear"),
        commit_delay_max: Duration = duration("0ms", "1s").default("5ms", "how long an acknowledgement may wait for company"),
        when_full: OneOf<WhenFull> = one_of().default("refuse", "at the cap stop acknowledging, or give up the least urgent events"),
        expire_after: Option<Duration> = duration("1s", "3650d").optional("never", "give up events that wait for longer; only the gateway's running time counts"),
        keep_for: Duration = duration("0s", "3650d").default("24h", "how long delivered events are kept for replay"),
        endurance: Option<Size> = size("1GiB", "16384TiB").optional("unknown", "what may be written to the disk in all, as its maker says: `store status` and the metrics then tell its lifetime"),
        free_min: Size = size("0B", "1TiB").default("64MiB", "below this much free disk nothing is acknowledged"),
        generation_size: Size = size("16KiB", "1GiB").default("8MiB", "disk space is given back in pieces of this size; at most an eighth of `max_size`, to which the default gives way"),
    }
}

/// What to do when the store is at `max_size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Stop acknowledging; keep forwarding.
    Refuse,
    /// Give up the least urgent events, the oldest first, with gap records.
    Shed,
}

impl Choice for WhenFull {
    const CHOICES: &'static [(&'static str, WhenFull)] =
        &[("refuse", WhenFull::Refuse), ("shed", WhenFull::Shed)];
}

/// `[store]`
#[derive(Debug, Clone, PartialEq)]
pub struct Store {
    /// `max_size` (2GiB): bytes on disk of all generations together.
    pub max_size_bytes: u64,
    /// `commit_delay` (0ms): how long an ack waits for company where some is to come.
    pub commit_delay: Duration,
    /// `commit_delay_max` (5ms): how long an ack may wait for company.
    pub commit_delay_max: Duration,
    /// `when_full` ("refuse")
    pub when_full: WhenFull,
    /// `keep_for` (24h): delivered events kept for replay.
    pub keep_for: Duration,
    /// `expire_after` (never): undelivered events older than that are given up, with gap records.
    pub expire_after: Option<Duration>,
    /// `endurance` (unknown): what may be written to the disk in all, for an estimate of its lifetime.
    pub endurance_bytes: Option<u64>,
    /// `free_min` (64MiB): below this much free disk nothing is acknowledged.
    pub free_min_bytes: u64,
    /// `generation_size` (8MiB)
    pub generation_bytes: u64,
}

impl Store {
    /// The keys in which the other says something else.
    pub(super) fn differs_in(&self, other: &Store) -> Vec<&'static str> {
        let Store {
            max_size_bytes,
            commit_delay,
            commit_delay_max,
            when_full,
            keep_for,
            expire_after,
            endurance_bytes,
            free_min_bytes,
            generation_bytes,
        } = self;
        super::differing(&[
            ("max_size", *max_size_bytes == other.max_size_bytes),
            ("commit_delay", *commit_delay == other.commit_delay),
            (
                "commit_delay_max",
                *commit_delay_max == other.commit_delay_max,
            ),
            ("when_full", *when_full == other.when_full),
            ("keep_for", *keep_for == other.keep_for),
            ("expire_after", *expire_after == other.expire_after),
            ("endurance", *endurance_bytes == other.endurance_bytes),
            ("free_min", *free_min_bytes == other.free_min_bytes),
            (
                "generation_size",
                *generation_bytes == other.generation_bytes,
            ),
        ])
    }

    pub(super) fn read(section: &Section<'_>) -> Store {
        let when_full = section.read(&STORE.when_full);
        let expire_after = section.read(&STORE.expire_after);
        let endurance_bytes = section.read(&STORE.endurance);
        let commit_delay_max = section.read(&STORE.commit_delay_max);
        let max_size_bytes = section.read(&STORE.max_size);
        Store {
            max_size_bytes,
            commit_delay: commit_delay(section, commit_delay_max),
            commit_delay_max,
            when_full,
            expire_after,
            keep_for: section.read(&STORE.keep_for),
            endurance_bytes,
            free_min_bytes: section.read(&STORE.free_min),
            generation_bytes: generation_bytes(section, max_size_bytes),
        }
    }
}

/// It lies within its bound.
fn commit_delay(section: &Section<'_>, delay_max: Duration) -> Duration {
    let delay = section.read(&STORE.commit_delay);
    if delay > delay_max {
        let message = "`commit_delay` is more than `commit_delay_max`";
        let error = section
            .error(&STORE.commit_delay, message)
            .with_label("raise commit_delay_max as well")
            .with_note("an acknowledgement never waits for longer than commit_delay_max");
        section.context.report(error);
    }
    delay
}

/// Eight generations fit under the cap: disk space is given back one at a time. The default gives way by itself, what
/// somebody wrote does not.
fn generation_bytes(section: &Section<'_>, max_size_bytes: u64) -> u64 {
    let bytes = section.read(&STORE.generation_size);
    let eighth = (max_size_bytes / 8).max(1);
    if bytes > eighth && section.has(&STORE.generation_size) {
        let text = unit::size_text(eighth);
        let message = "`generation_size` is more than an eighth of `max_size`";
        let error = section
            .error(&STORE.generation_size, message)
            .with_label(format!("write generation_size = \"{text}\" or less"))
            .with_note("disk space is given back one generation at a time");
        section.context.report(error);
    }
    bytes.min(eighth)
}
