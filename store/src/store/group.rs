//! The group that may look at a store while no gateway runs: it reads what is looked at, and nothing of the documents.

use crate::engine::disk::let_look;
use crate::format::directory::documents_dir;
use std::fs;
use std::io::{self, ErrorKind};
use std::path::Path;

/// Folders within each other in a store.
const DEPTH_MAX: usize = 4;

/// Lets the members of `group` read the store in `dir`, all that is there and whatever comes; not its documents. The store
/// may be open.
///
/// # Errors
/// The first file or folder that cannot be given to the group.
pub fn let_group_look(dir: &Path, group: u32) -> io::Result<()> {
    // Where it lies on another disk behind a link, that is it.
    let dir = dir.canonicalize()?;
    walk(&dir, &documents_dir(&dir), group, DEPTH_MAX)
}

/// The folder first: what is made in it from then on is for the group by itself.
fn walk(path: &Path, but: &Path, group: u32, depth: usize) -> io::Result<()> {
    if path == but {
        return Ok(());
    }
    let given = let_look(path, group).and_then(|()| fs::symlink_metadata(path));
    let is_dir = match given {
        // An open store deletes now and then.
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        given => given?.is_dir(),
    };
    if !is_dir || depth == 0 {
        return Ok(());
    }
    let entries = match fs::read_dir(path) {
        Err(error) if error.kind() == ErrorKind::NotFound => return Ok(()),
        entries => entries?,
    };
    for entry in entries {
        walk(&entry?.path(), but, group, depth - 1)?;
    }
    Ok(())
}
