//! The durable event log of Tidegate: records as bytes, on sled, in generations that are deleted as a whole.
//!
//! What a caller may rely on: when [`Writer::commit`] returns `Ok`, its records and marks survive a power cut; records
//! come back byte for byte, in order, or are reported missing, never altered; a cursor never skips a record that was
//! not confirmed. The README beside this crate says why it is built so; `format` and `catalog/small_keys.rs` define the
//! bytes on disk.
//!
//! The rooms, each of which uses only those below it:
//!
//! ```text
//! store          the two handles, Writer and Store; opening, and putting them together
//! room           making room: retention, rewriting; giving up by class (shed) and by age (expire)
//! recover        from the directories to the catalog, at an opening
//! append         commits: built, packed, made durable; generations begun; lanes made and dropped
//! read           readers and searches, confirming, verification, backup
//! dead_letters   their database
//! catalog        what is in memory, behind one lock: generations, tail, lanes with their cursors, marks
//! generation     one generation: its names, its figures, its small files, quarantine
//! engine         sled, fenced, with its barrier and its watchdog; the file system, free space, time, locks
//! format         bytes on disk: directory, blocks, compression, filters, varints
//! api            settings, limits, errors, figures, what a read gives
//! ```
#![deny(unsafe_code)]

mod api;
mod append;
mod catalog;
mod dead_letters;
mod engine;
mod format;
mod generation;
mod read;
mod recover;
mod room;
mod store;

pub use api::batch::{ReadBatch, ReadLimit, StoredRecord};
pub use api::dead_letter::{DeadLetter, DeadLetterId};
pub use api::error::{BackupError, CommitError, DeadLetterError, LaneError, OpenError, ReadError};
pub use api::gap::{Gap, GapLane, GapReason, GapTotal};
pub use api::lane::{Backlog, Cursor, LaneInfo, Route};
pub use api::limits::{MARK_BYTES_MAX, RECORD_BYTES_MAX};
pub use api::options::{Options, WhenFull};
pub use api::search::Search;
pub use api::status::{
    Counters, Damage, GenerationInfo, GenerationState, OpenProgress, OpenReport, Quarantined,
    Stats, VerifyReport,
};
pub use append::commit::{Append, Commit, Committed};
pub use engine::failure::tell_no_fenced_panics;
pub use engine::shim::limit_heaps;
pub use format::directory::{FORMAT_WRITTEN, format_of, formats_read};
pub use read::backup::BackupReport;
pub use room::give_up::GapWriter;
pub use room::shed::Shed;
pub use store::Store;
pub use store::documents::DOCUMENT_BYTES_MAX;
pub use store::group::let_group_look;
pub use store::open::{inspect, look, open, open_telling, restore};
pub use store::writer::Writer;

/// A record's place in the log: 1, 2, 3 … without gaps, assigned when its commit is made, never reused.
pub type Sequence = u64;

/// The small stable number of a lane, below 64 so that a set of lanes fits a `u64`.
pub type LaneId = u16;
