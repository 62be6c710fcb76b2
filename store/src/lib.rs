//! The durable event log of Tidegate: records as bytes, on sled, in generations that are deleted as a whole.
//!
//! What a caller may rely on: when [`Writer::commit`] returns `Ok`, its records and marks survive a power cut; records
//! come back byte for byte, in order, or are reported missing, never altered; a cursor never skips a record that was
//! not confirmed. The README beside this crate says why it is built so; `layout` and `meta` define the bytes on disk.
//!
//! ```text
//! store.rs       Writer and Store, the two handles          open.rs        opening; recover.rs, scan.rs, pending.rs
//! commit.rs      building a commit                          write.rs       making it durable; rotation
//! read.rs        reading; collector.rs keeps what is wanted  state.rs       what is in memory, behind one lock
//! cursor.rs      positions of lanes, backlog                interval.rs    sets of acknowledged sequences
//! layout.rs      blocks on disk                             meta.rs        small keys on disk
//! generation.rs  one generation     summary.rs  its figures tail.rs        recent blocks in memory
//! retention.rs   room and deletion  ballast.rs  reserve     quarantine.rs  what cannot be used
//! shed.rs        giving up what was not delivered           gap.rs         its account; age.rs its clock
//! rewrite.rs     generations written anew; records.rs       kept.rs        what was left out of them
//! dead_letter.rs the chain of dead letters, letter.rs       verify.rs      reading everything
//! engine.rs      sled, fenced       shim.rs     its barrier watch.rs       its waits
//! disk.rs        the file system            backup.rs      copies that are stores themselves
//! ```
#![deny(unsafe_code)]

mod age;
mod backup;
mod ballast;
mod codec;
mod collector;
mod commit;
mod cursor;
mod dead_letter;
mod disk;
mod engine;
mod error;
mod filter;
mod gap;
mod generation;
mod interval;
mod kept;
mod layout;
mod letter;
mod letter_count;
mod meta;
mod open;
mod pack;
mod pending;
mod quarantine;
mod read;
mod records;
mod recover;
mod retention;
mod rewrite;
mod scan;
mod shared;
mod shed;
#[allow(unsafe_code)]
mod shim;
mod state;
mod status;
mod store;
mod summary;
mod tail;
mod verify;
mod watch;
mod wire;
mod write;

pub use backup::{BackupReport, restore};
pub use collector::Search;
pub use commit::{Append, Commit, MARK_BYTES_MAX, RECORD_BYTES_MAX, Route};
pub use cursor::{Backlog, Cursor, LaneInfo};
pub use dead_letter::{DeadLetter, DeadLetterId};
pub use error::{BackupError, CommitError, DeadLetterError, LaneError, OpenError, ReadError};
pub use gap::{Gap, GapLane, GapReason, GapTotal, WhenFull};
pub use open::{Options, inspect, open};
pub use read::{ReadBatch, ReadLimit, StoredRecord};
pub use shed::{Shed, Teller};
pub use shim::limit_heaps;
pub use status::{
    Counters, Damage, GenerationInfo, GenerationState, OpenReport, Quarantined, Stats, VerifyReport,
};
pub use store::{Store, Writer};
pub use write::Committed;

/// A record's place in the log: 1, 2, 3 … without gaps, assigned when its commit is made, never reused.
pub type Sequence = u64;

/// The small stable number of a lane, below 64 so that a set of lanes fits a `u64`.
pub type LaneId = u16;
