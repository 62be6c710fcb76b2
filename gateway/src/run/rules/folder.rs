//! The folder of `*.rules` files: read as a whole and compiled as a whole.

use std::path::{Path, PathBuf};
use std::time::SystemTime;

use tidegate_rules::diagnostic::Diagnostic;
use tidegate_rules::{Checked, Destinations, RuleFile, RuleSet};

/// The largest rule file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The most rule files in a folder.
pub const FILES_MAX: usize = 1000;

/// Why a folder could not be read.
#[derive(Debug)]
pub struct FolderError {
    /// The file or folder.
    pub path: PathBuf,
    /// What went wrong.
    pub message: String,
}

impl std::fmt::Display for FolderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

impl std::error::Error for FolderError {}

/// Reads all rule files of `folder`, sorted by name. Editors' leftovers (`.x.rules.swp`,
/// `x.rules~`, `x.rules.save`) are no rule files.
///
/// # Errors
/// [`FolderError`] for a folder or file that cannot be read, is too large, or is not UTF-8.
pub fn read(folder: &Path) -> Result<Vec<RuleFile>, FolderError> {
    let mut paths = Vec::new();
    for entry in std::fs::read_dir(folder).map_err(|e| failed(folder, &e))? {
        let path = entry.map_err(|e| failed(folder, &e))?.path();
        if is_rule_file(&path) {
            paths.push(path);
        }
    }
    if paths.len() > FILES_MAX {
        return Err(FolderError {
            path: folder.into(),
            message: format!("{} rule files, at most {FILES_MAX} are read", paths.len()),
        });
    }
    paths.sort();
    paths.iter().map(|path| read_file(folder, path)).collect()
}

fn read_file(folder: &Path, path: &Path) -> Result<RuleFile, FolderError> {
    let size = std::fs::metadata(path).map_err(|e| failed(path, &e))?.len();
    if size > FILE_BYTES_MAX {
        return Err(FolderError {
            path: path.into(),
            message: format!("{size} bytes, a rule file has at most {FILE_BYTES_MAX}"),
        });
    }
    let text = std::fs::read_to_string(path).map_err(|e| failed(path, &e))?;
    let shown = folder.file_name().map_or_else(PathBuf::new, PathBuf::from);
    let shown = shown.join(path.file_name().unwrap_or_default());
    Ok(RuleFile {
        path: shown.display().to_string(),
        text,
    })
}

fn failed(path: &Path, error: &std::io::Error) -> FolderError {
    FolderError {
        path: path.into(),
        message: format!("cannot be read: {error}"),
    }
}

fn is_rule_file(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|ending| ending == "rules")
}

/// Compiles what was read; a folder without rules sends every event to every upstream.
///
/// # Errors
/// All mistakes of all files.
pub fn compile(
    files: &[RuleFile],
    destinations: &Destinations,
) -> Result<Checked, Vec<Diagnostic>> {
    let checked = tidegate_rules::compile(files, destinations)?;
    if !checked.rules.is_empty() {
        return Ok(checked);
    }
    Ok(Checked {
        rules: RuleSet::pass_all(destinations),
        warnings: checked.warnings,
    })
}

/// Names, sizes and times of change of all rule files.
pub(super) type FolderState = Vec<(PathBuf, u64, Option<SystemTime>)>;

/// How the folder is now.
pub(super) fn state(folder: &Path) -> FolderState {
    let mut files: FolderState = std::fs::read_dir(folder)
        .into_iter()
        .flatten()
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| is_rule_file(path))
        .take(FILES_MAX + 1)
        .map(|path| {
            let meta = std::fs::metadata(&path).ok();
            let size = meta.as_ref().map_or(0, std::fs::Metadata::len);
            let changed = meta.and_then(|meta| meta.modified().ok());
            (path, size, changed)
        })
        .collect();
    files.sort();
    files
}
