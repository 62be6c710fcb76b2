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

use std::io::Read;
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

/// The number in [`FORMAT`].
pub const FORMAT_WRITTEN: u32 = 4;

/// The numbers of all formats that are read.
pub fn formats_read() -> Vec<u32> {
    let all = OLDER_FORMATS.into_iter().chain([FORMAT]);
    all.filter_map(number).collect()
}

/// The number of the format that the store in `dir` says it has; `None` where there is no store, or it says nothing that
/// a release writes.
pub fn format_of(dir: &Path) -> Option<u32> {
    let file = std::fs::File::open(format_file(dir)).ok()?;
    let mut text = String::new();
    file.take(FORMAT_BYTES_MAX).read_to_string(&mut text).ok()?;
    number(&text)
}

/// Bytes that a release may write there.
const FORMAT_BYTES_MAX: u64 = 64;

/// The number in what a release writes: the name and a number above 0.
pub(crate) fn number(format: &str) -> Option<u32> {
    let number = format.strip_prefix("tidegate-store ")?.strip_suffix('\n')?;
    number.parse().ok().filter(|number| *number > 0)
}

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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_number_that_is_written_is_that_of_the_format_and_is_read() {
        assert_eq!(number(FORMAT), Some(FORMAT_WRITTEN));
        assert_eq!(formats_read(), [1, 2, 3, 4]);
        assert_eq!(number(UNFINISHED), None);
        assert_eq!(number("tidegate-store 0\n"), None);
    }
}
