//! Where things lie in the store's directory, and what its file `format` says.
//!
//! ```text
//! <dir>/format                     "tidegate-store 4"
//!       lock                       held by the process that has the store open; its pid
//!       high_water                 generation and sequence at the last rotation, outside sled
//!       ballast                    room in reserve
//!       generations/<id>-<first>/  one sled database each, and the value log `values` with its large records
//!       dead-letters/<n>/          a sled database
//!       holes                      ranges that went from the middle of the log, outside sled
//!       documents/                 one file each, replaced as a whole
//!       quarantine/                what could not be used
//! ```

use std::path::{Path, PathBuf};

/// What the file `format` says. The bytes of format 4 are those of 3; its records and dead letters are such as gateways of
/// before do not read.
pub(crate) const FORMAT: &str = "tidegate-store 4\n";
/// What it says while a backup is being written; no release opens that.
pub(crate) const UNFINISHED: &str = "tidegate-store backup, unfinished\n";
/// Formats that are read and, from the first new block on, written as the newest.
pub(crate) const OLDER_FORMATS: [&str; 3] = [
    "tidegate-store 1\n",
    "tidegate-store 2\n",
    "tidegate-store 3\n",
];

/// Where that is said.
pub(crate) fn format_file(dir: &Path) -> PathBuf {
    dir.join("format")
}

/// Where the generations are.
pub(crate) fn generations_dir(dir: &Path) -> PathBuf {
    dir.join("generations")
}

/// Where the dead letters are.
pub(crate) fn dead_letters_dir(dir: &Path) -> PathBuf {
    dir.join("dead-letters")
}

/// Where the documents are.
pub(crate) fn documents_dir(dir: &Path) -> PathBuf {
    dir.join("documents")
}

/// Where unusable generations go.
pub(crate) fn quarantine_dir(dir: &Path) -> PathBuf {
    dir.join("quarantine")
}

/// True if a name in the directory needs not to be told to an operator.
pub(crate) fn is_known_name(name: &Path) -> bool {
    let known = [
        "format",
        "lock",
        "high_water",
        "holes",
        "ballast",
        "generations",
        "dead-letters",
        "documents",
        "quarantine",
        "lost+found",
    ];
    known.iter().any(|known| name == Path::new(known))
}
