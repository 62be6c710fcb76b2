//! The files of one database, as far as the store meddles with them: what a power cut or sled itself leaves there to be
//! put right before it is opened, and the note that writing to it failed.

use super::disk;
use super::value_log;
use std::ffi::OsStr;
use std::fs;
use std::io::{self, Read};
use std::path::{Path, PathBuf};

/// A file or directory beside the database after a failure.
const FAILED: &str = "failed";
/// A file beside the database that says what its large records are about; see `generation/beginnings.rs`.
pub(crate) const BEGINNINGS: &str = "beginnings";
/// sled's segments, by its default.
const SEGMENT_BYTES: u64 = 512 << 10;
/// Bytes of one read when a database is read through.
const READ_BYTES: usize = 256 << 10;

/// The database's file may hold what never reached the disk, and a later sync would not tell. The note keeps a later
/// process from writing to it too; it is not synced, for after a power cut only what is on the disk is left.
pub(crate) fn note_failure(dir: &Path) {
    if dir.exists() {
        let note = dir.join(FAILED);
        // On a failing disk one way may be open where the other is not.
        let _ = fs::File::create(&note)
            .map(drop)
            .or_else(|_| fs::create_dir(&note));
    }
}

/// True for a file beside the database that sled does not know, and that is read elsewhere.
pub(crate) fn is_beside(name: &OsStr) -> bool {
    name == value_log::FILE || name == BEGINNINGS
}

/// True if writing to the database in `dir` failed once, or opening it: it may be read, and nothing more be written to it.
pub(crate) fn has_failed(dir: &Path) -> bool {
    dir.join(FAILED).exists()
}

/// sled takes a read error while it opens for the end of its log, and overwrites what comes behind. So all files of its
/// own are read once before: an error ends the opening with nothing changed, and sled then reads from the page cache.
pub(crate) fn read_through(dir: &Path) -> io::Result<()> {
    let mut buffer = vec![0; READ_BYTES];
    for entry in fs::read_dir(dir)? {
        let entry = entry?;
        if !entry.file_type()?.is_file() || is_beside(&entry.file_name()) {
            continue;
        }
        let (bytes, used_bytes) = read_file(&entry.path(), &mut buffer)?;
        if entry.file_name() == "db" {
            give_back_room_ahead(&entry.path(), bytes, used_bytes);
        }
    }
    Ok(())
}

/// Bytes of a file, and of it what comes before the zeros at its end.
fn read_file(path: &Path, buffer: &mut [u8]) -> io::Result<(u64, u64)> {
    let mut file = fs::File::open(path)?;
    let (mut bytes, mut used_bytes) = (0, 0);
    loop {
        let read = match file.read(buffer) {
            Ok(0) => return Ok((bytes, used_bytes)),
            Ok(read) => read,
            Err(error) if error.kind() == io::ErrorKind::Interrupted => continue,
            Err(error) => return Err(error),
        };
        if let Some(last) = buffer[..read].iter().rposition(|byte| *byte != 0) {
            used_bytes = bytes + last as u64 + 1;
        }
        bytes += read as u64;
    }
}

/// What a crash left of the room ahead: sled would take its segments for free ones and write all of them. Nothing that it
/// wrote goes beyond the end of a segment.
fn give_back_room_ahead(database: &Path, bytes: u64, used_bytes: u64) {
    let end = used_bytes.next_multiple_of(SEGMENT_BYTES);
    if bytes > end
        && let Ok(file) = fs::File::options().write(true).open(database)
    {
        // It only costs time if this fails.
        let _ = file.set_len(end);
    }
}

/// What sled made there is for whom the folder is; see [`disk::share`].
pub(crate) fn share_files(dir: &Path) {
    let entries = fs::read_dir(dir).into_iter().flatten().flatten();
    entries.for_each(|entry| disk::share(&entry.path()));
}

/// sled picks the snapshot whose name sorts last, even one that it had not finished writing.
pub(crate) fn remove_torn_snapshots(dir: &Path) -> io::Result<()> {
    for path in snapshots(dir)?.filter(|path| path.extension().is_some_and(|e| e == "generating")) {
        fs::remove_file(path)?;
    }
    Ok(())
}

/// Removes the snapshots of a database that is not open; they are made anew when it is opened.
pub(crate) fn remove_snapshots(dir: &Path) -> bool {
    let found = snapshots(dir).into_iter().flatten();
    found.filter(|path| fs::remove_file(path).is_ok()).count() > 0
}

/// Without a snapshot sled replays its whole log. The configuration file is rewritten too: it is always the default.
pub(crate) fn set_snapshots_aside(dir: &Path) -> io::Result<()> {
    let aside = dir.join("aside");
    fs::create_dir_all(&aside)?;
    for path in snapshots(dir)?.chain([dir.join("conf")]) {
        if let Some(name) = path.file_name().filter(|_| path.exists()) {
            fs::rename(&path, aside.join(name))?;
        }
    }
    disk::sync_dir(dir)
}

fn snapshots(dir: &Path) -> io::Result<impl Iterator<Item = PathBuf>> {
    Ok(fs::read_dir(dir)?
        .flatten()
        .map(|entry| entry.path())
        .filter(|path| path.file_name().is_some_and(is_snapshot)))
}

/// True for a snapshot of sled's, finished or not.
pub(crate) fn is_snapshot(name: &OsStr) -> bool {
    name.as_encoded_bytes().starts_with(b"snap.")
}

/// True if sled put pages into files that it never syncs; the block size is chosen so that it does not.
pub(crate) fn has_blobs(dir: &Path) -> bool {
    fs::read_dir(dir.join("blobs")).is_ok_and(|mut entries| entries.next().is_some())
}
