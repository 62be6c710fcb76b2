//! The directories of generations as an opening finds them.

use crate::Sequence;
use crate::api::error::OpenError;
use crate::generation::removal::delete_dir;
use std::path::{Path, PathBuf};

/// A generation's directory as found.
#[derive(Clone)]
pub(super) struct GenerationDir {
    pub(super) id: u64,
    pub(super) first: Sequence,
    pub(super) revision: u32,
    pub(super) dir: PathBuf,
}

/// Deletes a generation that was never begun completely.
pub(super) fn discard(dir: &Path) -> Result<(), OpenError> {
    delete_dir(dir).map_err(|error| OpenError::io(dir, &error))
}
