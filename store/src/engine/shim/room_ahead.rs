//! Room ahead of sled's writes. A sync into a file that grows waits for the file system's journal, which on ext4 also
//! writes some 16 KiB to the device for it: new length, new blocks. So the file of the generation that is written to has
//! blocks ahead, a sixteenth of a generation at a time. Nothing is written into them, and none is taken where the disk
//! would be left with less than it must have free; without them all goes on as before. They are given back when the
//! database is closed, and what a crash left of them at the next opening.

use crate::engine::lock::locked;
use std::fs::File;
use std::os::fd::{AsRawFd, BorrowedFd};
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;

const PAGE_BYTES: u64 = 4 << 10;
const STEP_BYTES_MAX: u64 = 512 << 10;

/// A file that has room ahead.
struct Watched {
    device: u64,
    inode: u64,
    /// Where what is written ends.
    end: u64,
    step_bytes: u64,
    free_bytes_min: u64,
    /// False once there was no room, or where the file system cannot do it.
    takes: bool,
}

static WATCHED: Mutex<Vec<Watched>> = Mutex::new(Vec::new());

/// The room ahead of one file; given back when this is dropped.
pub(crate) struct RoomAhead {
    path: PathBuf,
    device: u64,
    inode: u64,
}

impl RoomAhead {
    /// From the next sync on, for a file of generations that hold so many bytes.
    pub(crate) fn of(
        path: &Path,
        generation_bytes: u64,
        free_bytes_min: u64,
    ) -> std::io::Result<RoomAhead> {
        let found = path.metadata()?;
        let step = (generation_bytes / 16).clamp(PAGE_BYTES, STEP_BYTES_MAX);
        locked(&WATCHED).push(Watched {
            device: found.dev(),
            inode: found.ino(),
            end: found.len(),
            step_bytes: step / PAGE_BYTES * PAGE_BYTES,
            free_bytes_min,
            takes: true,
        });
        Ok(RoomAhead {
            path: path.to_path_buf(),
            device: found.dev(),
            inode: found.ino(),
        })
    }
}

impl Drop for RoomAhead {
    /// The database must be closed by now.
    fn drop(&mut self) {
        let mut watched = locked(&WATCHED);
        let of_this = |w: &Watched| (w.device, w.inode) == (self.device, self.inode);
        let Some(at) = watched.iter().position(of_this) else {
            return;
        };
        let end = watched.swap_remove(at).end;
        drop(watched);
        let Ok(file) = File::options().write(true).open(&self.path) else {
            return;
        };
        if file.metadata().is_ok_and(|found| found.len() > end) {
            // What cannot be given back now is at the next opening.
            let _ = file.set_len(end);
        }
    }
}

/// Something was written to `fd`, up to `end`, and is about to be synced.
pub(super) fn written(fd: libc::c_int, end: u64) {
    let mut watched = locked(&WATCHED);
    if watched.is_empty() {
        return;
    }
    // SAFETY: the caller has it open until this returns.
    let descriptor = unsafe { BorrowedFd::borrow_raw(fd) };
    let Ok(found) = rustix::fs::fstat(descriptor) else {
        return;
    };
    let (device, inode) = (found.st_dev, found.st_ino);
    let of_this = |w: &&mut Watched| (w.device, w.inode) == (device, inode);
    let Some(file) = watched.iter_mut().find(of_this) else {
        return;
    };
    file.end = file.end.max(end);
    let (length, ahead) = (found.st_size as u64, file.step_bytes / 2);
    if file.takes && length < file.end + ahead {
        let to = (file.end + file.step_bytes).next_multiple_of(PAGE_BYTES);
        file.takes = has_free(descriptor, file.free_bytes_min) && extended(descriptor, length, to);
    }
}

fn has_free(descriptor: BorrowedFd<'_>, free_bytes_min: u64) -> bool {
    let found = rustix::fs::fstatvfs(descriptor);
    let free_bytes = found.map_or(0, |found| found.f_bavail.saturating_mul(found.f_frsize));
    free_bytes >= free_bytes_min.saturating_add(2 * STEP_BYTES_MAX)
}

/// Blocks and length of a file, without a write: what is there stays.
fn extended(descriptor: BorrowedFd<'_>, from: u64, to: u64) -> bool {
    let bytes = to.saturating_sub(from) as libc::off64_t;
    // SAFETY: fallocate takes numbers only, and any descriptor.
    unsafe { libc::fallocate64(descriptor.as_raw_fd(), 0, from as libc::off64_t, bytes) == 0 }
}

#[cfg(test)]
mod tests {
    use super::*;
    use std::io::Write;

    #[test]
    fn room_is_taken_ahead_in_steps_and_given_back() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let mut file = File::create(&path).unwrap();
        file.write_all(b"before").unwrap();
        let length = || path.metadata().unwrap().len();
        let room = RoomAhead::of(&path, 1 << 20, 0).unwrap();
        let mut written_bytes = 6;
        for _ in 0..100 {
            file.write_all(&[7; 3000]).unwrap();
            written_bytes += 3000;
            written(file.as_raw_fd(), written_bytes);
            let ahead = length() - written_bytes;
            assert!((30_000..=70_000).contains(&ahead), "{ahead}");
        }
        // A write to a place before the end moves nothing.
        written(file.as_raw_fd(), 100);
        drop(room);
        assert_eq!(length(), written_bytes);
        written(file.as_raw_fd(), written_bytes);
        assert_eq!(length(), written_bytes, "nobody asks for it any more");
    }

    #[test]
    fn none_is_taken_where_the_disk_has_too_little() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("db");
        let file = File::create(&path).unwrap();
        let _room = RoomAhead::of(&path, 1 << 20, u64::MAX >> 1).unwrap();
        written(file.as_raw_fd(), 3000);
        assert_eq!(path.metadata().unwrap().len(), 0);
    }
}
