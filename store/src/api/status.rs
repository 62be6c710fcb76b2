//! What the store tells about itself: the report of an opening, figures while it runs, and the result of a verification.

use crate::Sequence;

/// Sequences whose records could not be read. They are skipped and never delivered altered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Damage {
    /// The generation's number.
    pub generation: u64,
    /// First missing sequence.
    pub first: Sequence,
    /// Last missing sequence.
    pub last: Sequence,
}

/// A generation that was moved to `quarantine/`, or a database of dead letters.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Quarantined {
    /// Its directory's name under `quarantine/`.
    pub name: String,
    /// First sequence that may be inside.
    pub first: Sequence,
    /// Last sequence that may be inside; below `first` if that is not known, and for dead letters.
    pub last: Sequence,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// Why.
    pub why: String,
}

/// What opening found and did. Empty lists are the normal case.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct OpenReport {
    /// Generations that could not be used.
    pub quarantined: Vec<Quarantined>,
    /// Acknowledged sequences that are missing.
    pub damage: Vec<Damage>,
    /// Deletions that a crash had interrupted, now finished.
    pub finished_deletions: u32,
    /// Records taken back because their commit was cut off by a crash before it was complete (never acknowledged).
    pub taken_back: u64,
    /// Names in the directory that the store did not make; left alone.
    pub ignored: Vec<String>,
    /// Generations whose summary was counted anew.
    pub rescanned: u32,
    /// Time the opening took.
    pub micros: u64,
}

/// How far an opening is.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct OpenProgress {
    /// Generations looked at.
    pub done: u64,
    /// All of them; 0 before they are known.
    pub generations: u64,
}

/// The state of a generation.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum GenerationState {
    /// New records go here.
    Writing,
    /// Complete, and open for a reader.
    Open,
    /// Complete, and closed.
    Closed,
}

/// One generation in [`Stats`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GenerationInfo {
    /// Its number.
    pub id: u64,
    /// First sequence.
    pub first: Sequence,
    /// First sequence after it.
    pub end: Sequence,
    /// Records in it; fewer than its range has sequences if it was rewritten.
    pub records: u64,
    /// Bytes of blocks.
    pub payload_bytes: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// What it is used for now.
    pub state: GenerationState,
    /// Some lane still has to acknowledge something in it.
    pub pending: bool,
    /// Some of it could not be read.
    pub damaged: bool,
}

/// Counted since the store was opened.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Commits that became durable.
    pub commits: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of those records.
    pub record_bytes: u64,
    /// Bytes of the blocks they were packed into.
    pub block_bytes: u64,
    /// Microseconds spent writing and waiting for the disk.
    pub write_micros: u64,
    /// Commits that failed on the disk.
    pub failures: u64,
    /// Generations deleted.
    pub deleted: u64,
    /// Generations written anew with what is still needed.
    pub rewritten: u64,
    /// Times the ballast was given up to get going on a full disk.
    pub ballast_released: u64,
}

/// Figures of a running store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Stats {
    /// All generations, oldest first.
    pub generations: Vec<GenerationInfo>,
    /// First sequence held.
    pub first: Sequence,
    /// The next sequence to be assigned.
    pub end: Sequence,
    /// Records held.
    pub events: u64,
    /// Bytes on disk that count against the cap: generations and dead letters.
    pub disk_bytes: u64,
    /// The cap.
    pub max_size_bytes: u64,
    /// Bytes free on the file system for this process.
    pub free_bytes: u64,
    /// Below this the store refuses.
    pub free_bytes_min: u64,
    /// The ballast is in place.
    pub ballast: bool,
    /// Generations in quarantine.
    pub quarantined: Vec<Quarantined>,
    /// Sequences found damaged since the opening.
    pub damage: Vec<Damage>,
    /// sled wrote files that it never syncs. It must not happen; if it does, tell the authors.
    pub blobs: bool,
    /// Dead letters held.
    pub dead_letters: u64,
    /// Since the opening.
    pub counters: Counters,
    /// Write barriers (fdatasync through sled) of this process.
    pub barriers: u64,
    /// Bytes this process caused to be written to devices since the opening, where the kernel tells.
    pub device_bytes: Option<u64>,
}

/// The result of reading everything.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Generations read.
    pub generations: u64,
    /// Records whose checksums are right.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Dead letters whose checksums are right.
    pub dead_letters: u64,
    /// Sequences that cannot be read.
    pub damage: Vec<Damage>,
    /// Generations or dead letters that could not be read at all, and why.
    pub unreadable: Vec<String>,
}

impl VerifyReport {
    /// True if everything could be read and was as it had been written.
    pub fn is_sound(&self) -> bool {
        self.damage.is_empty() && self.unreadable.is_empty()
    }
}
