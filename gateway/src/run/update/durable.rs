//! Small files that are there as a whole or not at all, whenever the power is cut.

use std::fs::{self, File, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use rustix::fs::OFlags;

/// Bytes of a document that are read.
const BYTES_MAX: u64 = 256 << 10;

/// Everybody may read it.
const FOR_ALL: u32 = 0o644;

/// Replaces `path`: after a power cut there is the old content or the new. Who may read it, the umask says.
pub(super) fn write(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, None)
}

/// The same, for everybody to read, whatever the umask says.
pub(super) fn write_for_all(path: &Path, bytes: &[u8]) -> io::Result<()> {
    replace(path, bytes, Some(Permissions::from_mode(FOR_ALL)))
}

fn replace(path: &Path, bytes: &[u8], permissions: Option<Permissions>) -> io::Result<()> {
    let fresh = beside(path, ".new");
    // What a power cut left, or somebody put there, is not written through.
    let _ = fs::remove_file(&fresh);
    let mut file = File::options()
        .write(true)
        .create_new(true)
        .mode(FOR_ALL)
        .open(&fresh)?;
    let permitted = permissions.map_or(Ok(()), |permissions| file.set_permissions(permissions));
    let written = permitted
        .and_then(|()| file.write_all(bytes))
        .and_then(|()| file.sync_all());
    if let Err(error) = written.and_then(|()| fs::rename(&fresh, path)) {
        let _ = fs::remove_file(&fresh);
        return Err(error);
    }
    sync_folder_of(path)
}

/// What a small file holds; `None` where there is none. A link, a pipe or a large file in its place is an error.
pub(super) fn read(path: &Path) -> io::Result<Option<Vec<u8>>> {
    let flags = OFlags::NOFOLLOW | OFlags::NONBLOCK;
    let opened = File::options()
        .read(true)
        .custom_flags(flags.bits().cast_signed())
        .open(path);
    let file = match opened {
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        opened => opened?,
    };
    let found = file.metadata()?;
    if !found.is_file() || found.len() > BYTES_MAX {
        return Err(io::Error::new(
            io::ErrorKind::InvalidData,
            "it is no small file",
        ));
    }
    let mut bytes = Vec::new();
    file.take(BYTES_MAX).read_to_end(&mut bytes)?;
    Ok(Some(bytes))
}

/// Makes the entries of the folder that `path` is in durable.
pub(super) fn sync_folder_of(path: &Path) -> io::Result<()> {
    match path.parent() {
        Some(folder) if !folder.as_os_str().is_empty() => File::open(folder)?.sync_all(),
        _ => File::open(".")?.sync_all(),
    }
}

/// `path` with `end` behind its name.
pub(super) fn beside(path: &Path, end: &str) -> PathBuf {
    let mut name = path.as_os_str().to_owned();
    name.push(end);
    name.into()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_is_written_is_read_and_a_link_is_not_followed() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("a.json");
        assert!(read(&path).expect("no file").is_none());
        write(&path, b"one").expect("written");
        write(&path, b"two").expect("written again");
        assert_eq!(read(&path).expect("a file").as_deref(), Some(&b"two"[..]));
        let link = dir.path().join("link");
        std::os::unix::fs::symlink(&path, &link).expect("a link");
        assert!(read(&link).is_err());
        std::os::unix::fs::symlink(&path, beside(&path, ".new")).expect("a link");
        write(&path, b"three").expect("written past a link");
        assert_eq!(std::fs::read(&path).expect("a file"), b"three");
    }
}
