//! The store's own figures, its verification, and copies of it.

use std::path::Path;

use serde::{Deserialize, Serialize};
use tidegate_store::{BackupError, BackupReport, Damage, GenerationState, Stats, Store};

use crate::observe::status::{StoreStatus, Wear};

/// The answer to `GET /store/status` and `tidegate store status`.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreReport {
    /// What `tidegate status` shows of it.
    pub store: StoreStatus,
    /// Oldest first.
    pub generations: Vec<GenerationReport>,
    /// What waits in each lane.
    pub lanes: Vec<LaneReport>,
    /// Commits since the store was opened.
    pub commits: u64,
    /// Records in them.
    pub records: u64,
    /// Write barriers since the store was opened.
    pub barriers: u64,
    /// Whether the reserve on the disk is in place.
    pub ballast: bool,
    /// What the disk was written for; only a running gateway knows.
    #[serde(default)]
    pub wear: Option<Wear>,
}

/// One generation.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GenerationReport {
    /// Its number.
    pub id: u64,
    /// `writing`, `open` or `closed`.
    pub state: String,
    /// First sequence in it.
    pub first: u64,
    /// First sequence after it.
    pub end: u64,
    /// Bytes on disk.
    pub disk_bytes: u64,
    /// An upstream has still to acknowledge something in it.
    pub pending: bool,
    /// Some of it could not be read.
    pub damaged: bool,
}

/// What waits in a lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct LaneReport {
    /// The upstream.
    pub name: String,
    /// Events.
    pub waiting: u64,
    /// Their bytes, estimated.
    pub waiting_bytes: u64,
    /// When the oldest was received, as near as is known.
    pub oldest_received_ms: Option<u64>,
}

/// Reads all figures of `store`, which lies in `folder`.
pub fn report(store: &Store, folder: &Path) -> StoreReport {
    let stats = store.stats();
    let lanes = store.lanes();
    StoreReport {
        generations: stats.generations.iter().map(generation).collect(),
        lanes: lanes
            .into_iter()
            .map(|lane| {
                let backlog = store.backlog(lane.id);
                LaneReport {
                    name: lane.name,
                    waiting: backlog.events,
                    waiting_bytes: backlog.bytes,
                    oldest_received_ms: backlog.oldest_time_ms,
                }
            })
            .collect(),
        commits: stats.counters.commits,
        records: stats.counters.records,
        barriers: stats.barriers,
        ballast: stats.ballast,
        wear: None,
        store: status_of(store, &stats, folder),
    }
}

/// The figures that `tidegate status` shows.
pub fn status(store: &Store, folder: &Path) -> StoreStatus {
    status_of(store, &store.stats(), folder)
}

fn status_of(store: &Store, stats: &Stats, folder: &Path) -> StoreStatus {
    StoreStatus {
        folder: folder.display().to_string(),
        events: stats.events,
        disk_bytes: stats.disk_bytes,
        max_size_bytes: stats.max_size_bytes,
        free_bytes: stats.free_bytes,
        free_min_bytes: stats.free_bytes_min,
        generations: stats.generations.len() as u64,
        quarantined: stats
            .quarantined
            .iter()
            .map(|q| format!("quarantine/{} ({} bytes): {}", q.name, q.disk_bytes, q.why))
            .collect(),
        damage: damage(store, &stats.damage),
        dead_letters: stats.dead_letters,
        refusing: false,
    }
}

fn generation(info: &tidegate_store::GenerationInfo) -> GenerationReport {
    let state = match info.state {
        GenerationState::Writing => "writing",
        GenerationState::Open => "open",
        GenerationState::Closed => "closed",
    };
    GenerationReport {
        id: info.id,
        state: state.to_owned(),
        first: info.first,
        end: info.end,
        disk_bytes: info.disk_bytes,
        pending: info.pending,
        damaged: info.damaged,
    }
}

/// What the opening found missing, and what readers came across since.
fn damage(store: &Store, since: &[Damage]) -> Vec<String> {
    let mut all: Vec<&Damage> = store.open_report().damage.iter().collect();
    for damage in since {
        if !all.contains(&damage) {
            all.push(damage);
        }
    }
    all.into_iter().map(damage_text).collect()
}

fn damage_text(damage: &Damage) -> String {
    format!(
        "events {} to {} in generation {} cannot be read",
        damage.first, damage.last, damage.generation
    )
}

/// One line of the answer to `POST /store/verify`: progress, and the result as the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum VerifyUpdate {
    /// Bytes read so far, of so many.
    Progress(u64, u64),
    /// It is done.
    Result(VerifyReport),
}

/// The result of reading everything.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct VerifyReport {
    /// Everything is as it was written.
    pub sound: bool,
    /// Generations read.
    pub generations: u64,
    /// Records whose checksums are right.
    pub records: u64,
    /// Their bytes.
    pub bytes: u64,
    /// Dead letters whose checksums are right.
    pub dead_letters: u64,
    /// What could not be read.
    pub damage: Vec<String>,
}

/// Reads every block and dead letter; `progress` is told bytes done and bytes in all. What the
/// opening found missing counts too.
pub fn verify(store: &Store, progress: impl FnMut(u64, u64)) -> VerifyReport {
    let report = store.verify(progress);
    let mut damage = damage(store, &report.damage);
    damage.extend(report.unreadable);
    VerifyReport {
        sound: damage.is_empty(),
        generations: report.generations,
        records: report.records,
        bytes: report.bytes,
        dead_letters: report.dead_letters,
        damage,
    }
}

/// One line of the answer to `POST /store/backup`: progress, and the outcome as the last one.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum BackupUpdate {
    /// Bytes copied so far, of so many.
    Progress(u64, u64),
    /// It is done.
    Result(CopyReport),
    /// It could not be done; the message says why.
    Failed(String),
}

/// What a backup or a restored store holds.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct CopyReport {
    /// Generations copied.
    pub generations: u64,
    /// Records in them.
    pub records: u64,
    /// Bytes of blocks.
    pub bytes: u64,
    /// Dead letters.
    pub dead_letters: u64,
    /// Blocks with wrong checksums, left out.
    pub damaged_blocks: u64,
    /// Generations delivered and deleted meanwhile, or not readable.
    pub left_out: u64,
}

impl From<BackupReport> for CopyReport {
    fn from(report: BackupReport) -> CopyReport {
        CopyReport {
            generations: report.generations,
            records: report.records,
            bytes: report.bytes,
            dead_letters: report.dead_letters,
            damaged_blocks: report.damaged_blocks,
            left_out: report.left_out,
        }
    }
}

/// Copies the store to a folder that is empty or absent; `progress` is told bytes done and bytes in all.
///
/// # Errors
/// What stands in the way.
pub fn backup(
    store: &Store,
    to: &Path,
    progress: impl FnMut(u64, u64),
) -> Result<CopyReport, String> {
    outcome(store.backup(to, progress))
}

/// Makes a store in a folder that is empty or absent from the backup in `from`.
///
/// # Errors
/// What stands in the way.
pub fn restore(
    from: &Path,
    to: &Path,
    progress: impl FnMut(u64, u64),
) -> Result<CopyReport, String> {
    outcome(tidegate_store::restore(from, to, progress))
}

fn outcome(copied: Result<BackupReport, BackupError>) -> Result<CopyReport, String> {
    copied
        .map(CopyReport::from)
        .map_err(|error| error.to_string())
}
