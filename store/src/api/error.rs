//! One error per operation; each says what the caller can do.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

/// Why the store could not be opened.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum OpenError {
    /// Another process has the directory. Stop it, or choose another directory.
    InUse {
        /// The directory.
        dir: PathBuf,
        /// The other process, if it told.
        pid: Option<u32>,
    },
    /// The directory was written by a later release; nothing was touched.
    Newer {
        /// The directory.
        dir: PathBuf,
        /// What its `format` file says.
        found: String,
    },
    /// The directory holds a backup that was not finished, or a restoring that was interrupted; nothing was touched.
    Unfinished {
        /// The directory.
        dir: PathBuf,
    },
    /// The write barrier does not work in this binary: no promise could be kept.
    NoBarrier(String),
    /// The disk is too full even after the ballast was released. Make room and start again.
    NoSpace {
        /// The directory.
        dir: PathBuf,
        /// What the system said.
        why: String,
    },
    /// There is no room anywhere for the copies that looking at a store takes.
    NoRoomToLook(String),
    /// The directory cannot be used. Check that it exists, its owner and the disk's health.
    Io {
        /// What could not be read or written.
        path: PathBuf,
        /// What the system said.
        why: String,
    },
}

impl fmt::Display for OpenError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            OpenError::InUse {
                dir,
                pid: Some(pid),
            } => {
                write!(
                    f,
                    "{} is in use by process {pid}; stop it or choose another data directory",
                    dir.display()
                )
            }
            OpenError::InUse { dir, pid: None } => {
                write!(
                    f,
                    "{} is in use by another process; stop it or choose another data directory",
                    dir.display()
                )
            }
            OpenError::Newer { dir, found } => {
                write!(
                    f,
                    "{} was written by a later release ({found}); install that release",
                    dir.display()
                )
            }
            OpenError::Unfinished { dir } => {
                write!(
                    f,
                    "the copy of a store in {} was not finished; delete it and make it again",
                    dir.display()
                )
            }
            OpenError::NoBarrier(why) => write!(f, "the disk write barrier does not work: {why}"),
            OpenError::NoSpace { dir, why } => {
                write!(
                    f,
                    "the disk is full: no space to open the store in {}: {why}; make room",
                    dir.display()
                )
            }
            OpenError::NoRoomToLook(why) => f.write_str(why),
            OpenError::Io { path, why } => write!(f, "cannot use {}: {why}", path.display()),
        }
    }
}

impl std::error::Error for OpenError {}

impl OpenError {
    pub(crate) fn io(path: &Path, error: &io::Error) -> OpenError {
        let why = error.to_string();
        match is_no_space(error) {
            true => OpenError::NoSpace {
                dir: path.to_path_buf(),
                why,
            },
            false => OpenError::Io {
                path: path.to_path_buf(),
                why,
            },
        }
    }
}

/// True for the errors that say "no room": full disk, used-up quota.
pub(crate) fn is_no_space(error: &io::Error) -> bool {
    use io::ErrorKind::{QuotaExceeded, StorageFull};
    matches!(error.kind(), StorageFull | QuotaExceeded)
}

/// Why a backup was not made, or a store not restored. What was written of it stays, and says that it is unfinished.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum BackupError {
    /// There is something in the directory. Choose one that is empty or not there yet.
    NotEmpty(PathBuf),
    /// The directory lies inside the store. Choose one outside.
    Inside(PathBuf),
    /// The backup to restore from cannot be opened.
    Unusable(OpenError),
    /// The original could not be read. Run `verify`.
    Read(String),
    /// The copy could not be written. Make room or choose another directory, delete what is there, and begin again.
    Write {
        /// Where.
        dir: PathBuf,
        /// What the system said.
        why: String,
    },
}

impl BackupError {
    pub(crate) fn io(dir: &Path, error: &io::Error) -> BackupError {
        BackupError::Write {
            dir: dir.to_path_buf(),
            why: error.to_string(),
        }
    }
}

impl fmt::Display for BackupError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            BackupError::NotEmpty(dir) => write!(
                f,
                "{} is not empty; choose a folder that is empty or not there yet",
                dir.display()
            ),
            BackupError::Inside(dir) => write!(
                f,
                "{} lies inside the store; choose a folder outside",
                dir.display()
            ),
            BackupError::Unusable(error) => write!(f, "{error}"),
            BackupError::Read(why) => write!(f, "cannot read the store: {why}"),
            BackupError::Write { dir, why } => write!(
                f,
                "cannot write {}: {why}; delete what is there and begin again",
                dir.display()
            ),
        }
    }
}

impl std::error::Error for BackupError {}

/// Why a commit was not made. In every case nothing of it may be acknowledged.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum CommitError {
    /// The size cap is reached. Offer it again after something was confirmed; reading goes on.
    Full {
        /// Bytes on disk.
        disk_bytes: u64,
        /// The cap.
        max_size_bytes: u64,
    },
    /// The disk has too little room. Offer it again later; reading goes on.
    NoSpace {
        /// Bytes free for this process.
        free_bytes: u64,
        /// The configured minimum.
        free_bytes_min: u64,
        /// What the reserve takes beyond that; 0 while it is there.
        reserve_bytes: u64,
    },
    /// A record, route or mark breaks a limit. Offer the rest without it; trying again gives the same.
    Invalid {
        /// Index of the record in the commit, as `push` gave it; `None` for a mark.
        index: Option<usize>,
        /// Which limit.
        why: &'static str,
    },
    /// The disk failed. The senders must offer everything again. If `replaced`, a new generation stands ready and the
    /// next commit may work; if not, each further commit tries to open one, and the gateway should think of stopping.
    Failed {
        /// A fresh generation was opened in place of the failed one.
        replaced: bool,
        /// What the system said.
        why: String,
    },
}

/// Bytes as a person reads them: to one digit, and never nothing where there is something.
struct Mebibytes(u64);

impl fmt::Display for Mebibytes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        // As people count: a float is exact enough.
        match self.0 as f64 / f64::from(1 << 20) {
            little if self.0 > 0 && little < 0.1 => write!(f, "{} KiB", self.0.div_ceil(1 << 10)),
            mib => write!(f, "{mib:.1} MiB"),
        }
    }
}

/// What there is, what it would take, and what to do.
fn no_space(f: &mut fmt::Formatter<'_>, free: u64, least: u64, reserve: u64) -> fmt::Result {
    let free_mib = Mebibytes(free);
    if free < least {
        let least = Mebibytes(least);
        return write!(
            f,
            "the disk has {free_mib} free, below the minimum of {least}; make room"
        );
    }
    let wanted = least.saturating_add(reserve);
    if free < wanted {
        let (least, reserve) = (Mebibytes(least), Mebibytes(reserve));
        let more = Mebibytes(wanted - free);
        return write!(
            f,
            "the disk has {free_mib} free; beyond the minimum of {least} the store keeps {reserve} in reserve, for a disk \
             that is full: make {more} more free"
        );
    }
    if reserve > 0 {
        let reserve = Mebibytes(reserve);
        return write!(
            f,
            "the disk was full a moment ago: of {free_mib} free the store first takes {reserve} in reserve again; if this \
             stays, its inodes or a quota may be used up: make room"
        );
    }
    write!(
        f,
        "the disk is full although {free_mib} are free: its inodes or a quota may be used up; make room"
    )
}

impl fmt::Display for CommitError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            CommitError::Full {
                disk_bytes,
                max_size_bytes,
            } => {
                write!(
                    f,
                    "the store is full: {} of {}; it accepts again when upstreams confirm, or with a larger `max_size`",
                    Mebibytes(*disk_bytes),
                    Mebibytes(*max_size_bytes)
                )
            }
            CommitError::NoSpace {
                free_bytes,
                free_bytes_min,
                reserve_bytes,
            } => no_space(f, *free_bytes, *free_bytes_min, *reserve_bytes),
            CommitError::Invalid {
                index: Some(index),
                why,
            } => write!(f, "record {index} of the commit: {why}"),
            CommitError::Invalid { index: None, why } => write!(f, "a mark of the commit: {why}"),
            CommitError::Failed {
                replaced: true,
                why,
            } => {
                write!(
                    f,
                    "writing to the disk failed, and a new generation was opened: {why}; check the disk"
                )
            }
            CommitError::Failed {
                replaced: false,
                why,
            } => write!(f, "writing to the disk failed: {why}; check the disk"),
        }
    }
}

impl std::error::Error for CommitError {}

/// Why records could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ReadError {
    /// No such lane or class.
    UnknownLane,
    /// There is no room to open an older generation. Try again later.
    NoSpace(String),
    /// The disk failed. Try again later.
    Failed(String),
}

impl fmt::Display for ReadError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            ReadError::UnknownLane => write!(f, "no such lane or class"),
            ReadError::NoSpace(why) => {
                write!(f, "no space to open a generation for reading: {why}")
            }
            ReadError::Failed(why) => write!(f, "reading the store failed: {why}"),
        }
    }
}

impl std::error::Error for ReadError {}

/// Why a lane could not be created or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum LaneError {
    /// All 64 lanes are taken: drop those of upstreams that are no longer configured.
    TooMany,
    /// The name is empty or longer than 255 bytes.
    BadName,
    /// The store was opened for reading only.
    ReadOnly,
    /// It could not be made durable.
    Failed(String),
}

impl fmt::Display for LaneError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            LaneError::TooMany => write!(
                f,
                "there are already 64 lanes; drop those of removed upstreams"
            ),
            LaneError::BadName => write!(f, "the name of a lane has 1 to 255 bytes"),
            LaneError::ReadOnly => write!(f, "the store was opened for reading only"),
            LaneError::Failed(why) => write!(f, "the lane could not be stored: {why}"),
        }
    }
}

impl std::error::Error for LaneError {}

/// Why a dead letter could not be stored, read or removed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum DeadLetterError {
    /// Dead letters have reached their share of the size cap. Retry or drop some.
    Full {
        /// Bytes on disk.
        disk_bytes: u64,
        /// The share.
        max_bytes: u64,
    },
    /// The disk is full.
    NoSpace(String),
    /// This letter's bytes are damaged.
    Damaged(String),
    /// The store was opened for reading only.
    ReadOnly,
    /// The disk failed; the operation may be repeated.
    Failed(String),
}

impl fmt::Display for DeadLetterError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            DeadLetterError::Full {
                disk_bytes,
                max_bytes,
            } => {
                write!(
                    f,
                    "dead letters take {} of {}; retry or drop some",
                    Mebibytes(*disk_bytes),
                    Mebibytes(*max_bytes)
                )
            }
            DeadLetterError::NoSpace(why) => write!(f, "no space for a dead letter: {why}"),
            DeadLetterError::Damaged(why) => write!(f, "the dead letter is damaged: {why}"),
            DeadLetterError::ReadOnly => write!(f, "the store was opened for reading only"),
            DeadLetterError::Failed(why) => write!(f, "storing the dead letter failed: {why}"),
        }
    }
}

impl std::error::Error for DeadLetterError {}
