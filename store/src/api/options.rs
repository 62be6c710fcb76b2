//! The settings of a store.

use std::path::PathBuf;

/// What to do at the cap when nothing that is delivered is left to delete.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub enum WhenFull {
    /// Commits give [`crate::CommitError::Full`]; what is held stays.
    #[default]
    Refuse,
    /// [`crate::Writer::shed`] gives up the least urgent class first, and of that the oldest.
    Shed,
}

/// Settings. Make them with [`Options::new`] and change what you need.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Options {
    /// The store's directory; created if absent.
    pub dir: PathBuf,
    /// Cap on the bytes on disk (allocated blocks) of generations and dead letters. Default 2 GiB.
    pub max_size_bytes: u64,
    /// How long records stay after every lane is done with them, milliseconds. Default 24 h.
    pub keep_for_ms: u64,
    /// What to do at the cap. Default: refuse.
    pub when_full: WhenFull,
    /// How long a record may wait to be delivered before [`crate::Writer::expire`] gives it up, milliseconds; only the
    /// time counts during which the store was open. Default `None`: for ever.
    pub expire_after_ms: Option<u64>,
    /// Bytes of blocks after which a new generation begins; at most an eighth of the cap. Default 8 MiB: larger
    /// ones rotate less, but sled holds nearly the whole of an open generation in memory. Of large records, which it does
    /// not hold, eight times as much.
    pub generation_bytes: u64,
    /// Below this much free disk nothing is accepted. Default 64 MiB.
    pub free_bytes_min: u64,
    /// Room in reserve, taken from the disk at the opening. Default 32 MiB.
    pub ballast_bytes: u64,
    /// sled's cache per open generation; up to three are open at a time. Default 1 MiB.
    pub cache_bytes: u64,
    /// Whether blocks are compressed where that saves an eighth or more. Default true.
    pub compress: bool,
    /// Recent blocks kept in memory for readers that keep up. Default 4 MiB.
    pub tail_bytes: u64,
}

impl Options {
    /// The defaults, for this directory.
    pub fn new(dir: impl Into<PathBuf>) -> Options {
        Options {
            dir: dir.into(),
            max_size_bytes: 2 << 30,
            keep_for_ms: 24 * 60 * 60 * 1000,
            when_full: WhenFull::Refuse,
            expire_after_ms: None,
            generation_bytes: 8 << 20,
            free_bytes_min: 64 << 20,
            ballast_bytes: 32 << 20,
            cache_bytes: 1 << 20,
            compress: true,
            tail_bytes: 4 << 20,
        }
    }

    /// A generation's payload: the configured one, but at least eight must fit under the cap so that space comes back.
    pub(crate) fn generation_limits(&self) -> GenerationLimits {
        // Shedding needs room to rewrite a generation in, and gives up one at a time.
        let share = match self.when_full {
            WhenFull::Refuse => 8,
            WhenFull::Shed => 16,
        };
        let bounded = |bytes: u64| bytes.min(self.max_size_bytes / share).max(1);
        GenerationLimits {
            block_bytes: bounded(self.generation_bytes),
            value_bytes: bounded(self.generation_bytes.saturating_mul(8)),
        }
    }
}

/// When a generation is full.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct GenerationLimits {
    /// Bytes of blocks and parts.
    pub(crate) block_bytes: u64,
    /// Bytes of everything, with the large records in the value log.
    pub(crate) value_bytes: u64,
}

impl GenerationLimits {
    /// True if a generation with so much in it, of which so much are large records in the value log, takes no more.
    pub(crate) fn are_reached(&self, payload_bytes: u64, large_bytes: u64) -> bool {
        payload_bytes >= self.value_bytes
            || payload_bytes.saturating_sub(large_bytes) >= self.block_bytes
    }
}
