//! Which file a program is, without reading it: a small machine takes the better part of a second to read and hash all of
//! one, at each start.

use std::os::unix::fs::MetadataExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::time::clock;

/// A file system may count the times of its files in steps of this.
const STEP_MS: i64 = 3_000;

/// What no two files share, and no two contents of one: its place, its size, and when it was changed, which nobody can set.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[serde(transparent)]
pub struct FileIdentity(String);

impl FileIdentity {
    /// That of the file at `path`. None where there is no file, or where it was changed just now: it could be changed once
    /// more at what its file system takes for the same moment.
    pub fn of(path: &Path) -> Option<FileIdentity> {
        FileIdentity::at(path, clock::unix_ms())
    }

    fn at(path: &Path, unix_ms: i64) -> Option<FileIdentity> {
        let found = std::fs::metadata(path).ok()?;
        let changed_ms = found.ctime().checked_mul(1000)?;
        let is_old = changed_ms.checked_add(STEP_MS)? <= unix_ms;
        (found.is_file() && is_old).then(|| {
            FileIdentity(format!(
                "{}:{}:{}:{}.{:09}:{}.{:09}",
                found.dev(),
                found.ino(),
                found.size(),
                found.mtime(),
                found.mtime_nsec(),
                found.ctime(),
                found.ctime_nsec()
            ))
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_file_is_another_after_each_change_and_has_no_identity_right_after_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("program");
        let later = clock::unix_ms() + 60_000;
        let identity = || FileIdentity::at(&path, later);
        assert_eq!(identity(), None);
        std::fs::write(&path, b"one").expect("room");
        assert_eq!(FileIdentity::of(&path), None);
        let first = identity().expect("it is there");
        assert_eq!(identity(), Some(first.clone()));
        // Its times as they were, and as many bytes.
        let was = std::fs::metadata(&path).and_then(|found| found.modified());
        std::thread::sleep(std::time::Duration::from_millis(50));
        std::fs::write(&path, b"two").expect("room");
        let file = std::fs::File::options().write(true).open(&path);
        let file = file.expect("it is there");
        file.set_modified(was.expect("a time")).expect("it is ours");
        assert_ne!(identity(), Some(first));
        assert_eq!(FileIdentity::at(dir.path(), later), None);
    }
}
