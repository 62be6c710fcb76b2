//! How a directory goes: by a new name first, so that a crash at any moment leaves it whole or as something that the next
//! opening removes.

use super::name::DEAD;
use crate::engine::disk;
use std::path::{Path, PathBuf};

/// Deletes a directory so that a crash at any moment leaves it whole or as something that the next opening removes.
pub(crate) fn delete_dir(dir: &Path) -> std::io::Result<()> {
    std::fs::remove_dir_all(retire(dir)?)
}

/// The same where only the name matters: what cannot be removed now is at the next opening.
pub(crate) fn retire_dir(dir: &Path) -> std::io::Result<()> {
    let dead = retire(dir)?;
    let _ = std::fs::remove_dir_all(dead);
    Ok(())
}

fn retire(dir: &Path) -> std::io::Result<PathBuf> {
    let mut dead = dir.as_os_str().to_owned();
    dead.push(DEAD);
    let dead = PathBuf::from(dead);
    disk::rename(dir, &dead)?;
    Ok(dead)
}
