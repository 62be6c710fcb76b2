//! Documents that are kept beside the log, each replaced as a whole: small, rarely written, and there even where the log
//! takes nothing. They are no part of a backup, and their owner's alone: there may be keys among them.

use crate::engine::disk;
use crate::format::checksummed::{verified, with_checksum};
use crate::format::directory::documents_dir;
use std::fs::File;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// Upper bound of one document.
pub const DOCUMENT_BYTES_MAX: usize = 16 << 20;

/// The documents of one store.
pub(super) struct Documents {
    dir: PathBuf,
    read_only: bool,
}

impl Documents {
    pub(super) fn new(store: &Path, read_only: bool) -> Documents {
        let dir = documents_dir(store);
        if !read_only && dir.exists() {
            // Earlier releases left it open to whoever came as far.
            let _ = disk::make_private(&dir);
        }
        Documents { dir, read_only }
    }

    /// Replaces the document `name`: after a crash there is the old one or the new one.
    pub(super) fn put(&self, name: &str, bytes: &[u8]) -> io::Result<()> {
        self.check_writable()?;
        if bytes.len() > DOCUMENT_BYTES_MAX {
            let why = format!(
                "{} bytes, at most {DOCUMENT_BYTES_MAX} are kept",
                bytes.len()
            );
            return Err(io::Error::new(io::ErrorKind::FileTooLarge, why));
        }
        disk::create_dir(&self.dir)?;
        disk::make_private(&self.dir)?;
        disk::write_private(&self.dir.join(name), &with_checksum(bytes.to_vec()))
    }

    /// The document `name`, if there is one.
    pub(super) fn get(&self, name: &str) -> io::Result<Option<Vec<u8>>> {
        let file = match File::open(self.dir.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
            file => file?,
        };
        let mut bytes = Vec::new();
        file.take(DOCUMENT_BYTES_MAX as u64 + 5)
            .read_to_end(&mut bytes)?;
        match verified(&bytes) {
            Some(body) => Ok(Some(body.to_vec())),
            None => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                "its checksum is wrong",
            )),
        }
    }

    /// Removes the document `name`, if there is one.
    pub(super) fn remove(&self, name: &str) -> io::Result<()> {
        self.check_writable()?;
        match std::fs::remove_file(self.dir.join(name)) {
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(()),
            Err(error) => Err(error),
            Ok(()) => disk::sync_dir(&self.dir),
        }
    }

    fn check_writable(&self) -> io::Result<()> {
        match self.read_only {
            true => Err(io::Error::new(
                io::ErrorKind::ReadOnlyFilesystem,
                "the store is only looked at",
            )),
            false => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_document_is_kept_as_a_whole_or_told_to_be_damaged() {
        let dir = tempfile::tempdir().unwrap();
        let documents = Documents::new(dir.path(), false);
        assert_eq!(documents.get("rules").unwrap(), None);
        documents.remove("rules").unwrap();
        for bytes in [&b"one"[..], b"", &[7; 100_000]] {
            documents.put("rules", bytes).unwrap();
            let again = Documents::new(dir.path(), true);
            assert_eq!(again.get("rules").unwrap().unwrap(), bytes);
        }
        let path = dir.path().join("documents/rules");
        let whole = std::fs::read(&path).unwrap();
        for cut in [0, 3, 4, 50_000, whole.len() - 1] {
            std::fs::write(&path, &whole[..cut]).unwrap();
            let error = documents.get("rules").unwrap_err();
            assert_eq!(error.kind(), io::ErrorKind::InvalidData, "{cut}");
        }
        documents.remove("rules").unwrap();
        assert_eq!(documents.get("rules").unwrap(), None);
    }

    #[test]
    fn a_document_is_bounded_and_a_store_that_is_looked_at_takes_none() {
        let dir = tempfile::tempdir().unwrap();
        let large = vec![0; DOCUMENT_BYTES_MAX + 1];
        let documents = Documents::new(dir.path(), false);
        assert!(documents.put("rules", &large).is_err());
        documents.put("rules", &large[1..]).unwrap();
        assert_eq!(
            documents.get("rules").unwrap().unwrap().len(),
            DOCUMENT_BYTES_MAX
        );
        let looked_at = Documents::new(dir.path(), true);
        assert!(looked_at.put("rules", b"x").is_err());
        assert!(looked_at.remove("rules").is_err());
    }
}
