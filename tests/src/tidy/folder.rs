//! Source files on the disk, and how many of them a folder may hold.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Source files that a folder may hold; those of its own folders count there.
pub const FOLDER_FILES_MAX: usize = 12;

/// Every source file below `folder`, sorted.
///
/// # Panics
/// When a folder cannot be read.
pub fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    let entries =
        std::fs::read_dir(folder).unwrap_or_else(|error| panic!("{}: {error}", folder.display()));
    let mut paths: Vec<PathBuf> = entries.flatten().map(|entry| entry.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

/// Every folder that holds too many of `files`.
pub fn overfull(files: &[PathBuf]) -> Vec<String> {
    let mut folders: BTreeMap<&Path, usize> = BTreeMap::new();
    for folder in files.iter().filter_map(|file| file.parent()) {
        *folders.entry(folder).or_default() += 1;
    }
    folders
        .into_iter()
        .filter(|(_, count)| *count > FOLDER_FILES_MAX)
        .map(|(folder, count)| {
            format!(
                "{}: {count} files, at most {FOLDER_FILES_MAX}: what belongs together gets a folder",
                folder.display()
            )
        })
        .collect()
}
