//! The directories of the generations as an opening finds them, each generation in one revision.

use crate::Sequence;
use crate::api::error::OpenError;
use crate::api::options::Options;
use crate::api::status::OpenReport;
use crate::format::directory::generations_dir;
use crate::generation::name::parse_revision;
use crate::generation::removal::delete_dir;
use crate::generation::survivors::Survivors;
use std::io::ErrorKind;
use std::path::{Path, PathBuf};

/// A generation's directory as found.
#[derive(Clone)]
pub(super) struct GenerationDir {
    pub(super) id: u64,
    pub(super) first: Sequence,
    revision: u32,
    pub(super) dir: PathBuf,
}

/// All of them, by age; what was to be deleted is, unless it is only looked.
pub(super) fn find(
    options: &Options,
    looks: bool,
    report: &mut OpenReport,
) -> Result<Vec<GenerationDir>, OpenError> {
    let parent = generations_dir(&options.dir);
    let entries = match std::fs::read_dir(&parent) {
        // A backup of an empty store, or a store of which no more than the folder was made.
        Err(error) if looks && error.kind() == ErrorKind::NotFound => return Ok(Vec::new()),
        entries => entries.map_err(|error| OpenError::io(&parent, &error))?,
    };
    let mut found = Vec::new();
    for entry in entries {
        let entry = entry.map_err(|error| OpenError::io(&parent, &error))?;
        let name = entry.file_name().to_string_lossy().into_owned();
        match parse_revision(&name) {
            Some((id, first, revision)) => found.push(GenerationDir {
                id,
                first,
                revision,
                dir: entry.path(),
            }),
            None => report.ignored.push(format!("generations/{name}")),
        }
    }
    found.sort_by_key(|found| (found.id, found.revision));
    finish_rewriting(&found, looks, report)
}

/// Of a generation that was being rewritten one revision stays: the newest that is complete. What was to be deleted
/// from the middle of the log is.
fn finish_rewriting(
    found: &[GenerationDir],
    looks: bool,
    report: &mut OpenReport,
) -> Result<Vec<GenerationDir>, OpenError> {
    let mut left = Vec::new();
    for group in found.chunk_by(|a, b| (a.id, a.first) == (b.id, b.first)) {
        let complete =
            |found: &&GenerationDir| found.revision == 0 || Survivors::load(&found.dir).is_some();
        let chosen = group.iter().rev().find(complete).or(group.last());
        for candidate in group {
            if chosen.is_some_and(|chosen| chosen.revision == candidate.revision) {
                left.push(candidate.clone());
            } else if !looks {
                discard(&candidate.dir)?;
                report.finished_deletions += 1;
            }
        }
    }
    Ok(left)
}

/// Deletes a generation that was never begun completely.
pub(super) fn discard(dir: &Path) -> Result<(), OpenError> {
    delete_dir(dir).map_err(|error| OpenError::io(dir, &error))
}
