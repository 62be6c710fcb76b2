//! The few file-system calls the store needs beside sled: durable small files, durable directory entries, allocated
//! and free bytes.

use std::fs::{self, File, Permissions};
use std::io::{self, Write};
use std::os::unix::fs::{MetadataExt, OpenOptionsExt, PermissionsExt, chown};
use std::path::Path;

/// Makes the entries of `dir` durable: without it a power cut may forget a new file's name although its data was synced.
pub(crate) fn sync_dir(dir: &Path) -> io::Result<()> {
    File::open(dir)?.sync_all()
}

/// Creates `dir` and makes its name durable.
pub(crate) fn create_dir(dir: &Path) -> io::Result<()> {
    fs::create_dir_all(dir)?;
    match dir.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => sync_dir(parent),
        _ => Ok(()),
    }
}

/// Creates `dir`, a part of a store, and makes its name durable.
pub(crate) fn create_part(dir: &Path) -> io::Result<()> {
    create_dir(dir)?;
    share(dir);
    Ok(())
}

/// What a group may do with a folder that it looks into, and with a file there.
const LOOKS_INTO: u32 = 0o050;
const LOOKS_AT: u32 = 0o040;

/// Lets the group look at a new part of a store that may look into the folder that it is in, whatever the umask says.
/// Where that cannot be, only who may write to the store can look at it.
pub(crate) fn share(path: &Path) {
    let inherited = path.parent().map(|folder| {
        let folder = fs::metadata(folder)?;
        match folder.mode() & LOOKS_INTO == LOOKS_INTO {
            true => let_look(path, folder.gid()),
            false => Ok(()),
        }
    });
    drop(inherited);
}

/// Lets the members of a group look at a file or folder.
pub(crate) fn let_look(path: &Path, group: u32) -> io::Result<()> {
    let found = fs::symlink_metadata(path)?;
    let bits = match (found.is_dir(), found.is_file()) {
        (true, _) => LOOKS_INTO,
        (_, true) => LOOKS_AT,
        _ => return Ok(()),
    };
    if found.gid() != group {
        chown(path, None, Some(group))?;
    }
    let mode = found.mode() & 0o7777;
    match mode & bits == bits {
        true => Ok(()),
        false => fs::set_permissions(path, Permissions::from_mode(mode | bits)),
    }
}

/// Replaces `path` by a file with `bytes`: after a crash there is the old content or the new, never a mixture.
pub(crate) fn write_atomically(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let file = File::create(&fresh)?;
    share(&fresh);
    replace(file, &fresh, path, bytes)
}

/// The same with a file that its owner alone may read.
pub(crate) fn write_private(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let fresh = path.with_extension("new");
    let file = File::options()
        .write(true)
        .create(true)
        .truncate(true)
        .mode(PRIVATE_FILE)
        .open(&fresh)?;
    // One that a crash left may have been made otherwise.
    file.set_permissions(Permissions::from_mode(PRIVATE_FILE))?;
    replace(file, &fresh, path, bytes)
}

fn replace(mut file: File, fresh: &Path, path: &Path, bytes: &[u8]) -> io::Result<()> {
    file.write_all(bytes)?;
    file.sync_all()?;
    fs::rename(fresh, path)?;
    path.parent().map_or(Ok(()), sync_dir)
}

/// Closes a folder to all but its owner.
pub(crate) fn make_private(dir: &Path) -> io::Result<()> {
    fs::set_permissions(dir, Permissions::from_mode(PRIVATE_DIR))
}

const PRIVATE_FILE: u32 = 0o600;
const PRIVATE_DIR: u32 = 0o700;

/// Writes `bytes` over those of a file of the same length, which takes no room.
pub(crate) fn overwrite(path: &Path, bytes: &[u8]) -> io::Result<()> {
    let mut file = fs::OpenOptions::new().write(true).open(path)?;
    file.write_all(bytes)?;
    file.sync_all()
}

/// Renames within one directory and makes the new name durable.
pub(crate) fn rename(from: &Path, to: &Path) -> io::Result<()> {
    fs::rename(from, to)?;
    for parent in [from.parent(), to.parent()].into_iter().flatten() {
        sync_dir(parent)?;
    }
    Ok(())
}

/// Bytes that the files under `path` take on disk (allocated blocks, not lengths); 0 for what does not exist.
pub(crate) fn allocated_bytes(path: &Path) -> u64 {
    let Ok(found) = fs::symlink_metadata(path) else {
        return 0;
    };
    let own = found.blocks() * 512;
    if !found.is_dir() {
        return own;
    }
    let entries = fs::read_dir(path).into_iter().flatten().flatten();
    own + entries
        .map(|entry| allocated_bytes(&entry.path()))
        .sum::<u64>()
}

/// Bytes that this process may still write to the file system holding `path`.
pub(crate) fn free_bytes(path: &Path) -> io::Result<u64> {
    let found = rustix::fs::statvfs(path)?;
    Ok(found.f_bavail.saturating_mul(found.f_frsize))
}

/// Bytes this process caused to be written to devices, as the kernel counts them; `None` where it does not tell.
pub(crate) fn device_bytes_written() -> Option<u64> {
    let text = fs::read_to_string("/proc/self/io").ok()?;
    let line = text
        .lines()
        .find_map(|line| line.strip_prefix("write_bytes: "))?;
    line.trim().parse().ok()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_small_file_is_replaced_as_a_whole() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("high_water");
        write_atomically(&path, b"one").unwrap();
        write_atomically(&path, b"two").unwrap();
        assert_eq!(fs::read(&path).unwrap(), b"two");
        assert_eq!(fs::read_dir(dir.path()).unwrap().count(), 1);
    }

    #[test]
    fn a_group_that_looks_into_a_folder_looks_at_what_is_made_there() {
        let dir = tempfile::tempdir().unwrap();
        let mode = |path: &Path| path.metadata().unwrap().mode() & 0o777;
        for (folder, file, part, private) in
            [(0o700, 0o600, 0o700, 0o600), (0o750, 0o640, 0o750, 0o600)]
        {
            let folder = Permissions::from_mode(folder);
            fs::set_permissions(dir.path(), folder).unwrap();
            let [made, within] = ["file", "part"].map(|name| dir.path().join(name));
            fs::write(&made, b"").unwrap();
            fs::set_permissions(&made, Permissions::from_mode(0o600)).unwrap();
            share(&made);
            assert_eq!(mode(&made), file);
            fs::create_dir(&within).unwrap();
            fs::set_permissions(&within, Permissions::from_mode(0o700)).unwrap();
            share(&within);
            assert_eq!(mode(&within), part);
            fs::remove_dir(&within).unwrap();
            write_private(&made, b"key").unwrap();
            assert_eq!(mode(&made), private);
        }
    }

    #[test]
    fn a_hole_takes_no_room() {
        let dir = tempfile::tempdir().unwrap();
        let file = File::create(dir.path().join("hole")).unwrap();
        file.set_len(1 << 30).unwrap();
        assert!(allocated_bytes(dir.path()) < 1 << 20);
        assert_eq!(allocated_bytes(&dir.path().join("absent")), 0);
    }
}
