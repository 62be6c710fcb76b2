//! The value log of a generation: a file beside its database that large records, and the records of large commits, are
//! appended to, so that they are written once. `format/frame.rs` defines its frames. What stands behind the last frame that
//! the database names is what a crash left, and is cut off before anything is appended.

use super::disk;
use super::failure::EngineError;
use super::lock::locked;
use bytes::{Bytes, BytesMut};
use std::fs::File;
use std::io::{self, ErrorKind};
use std::os::unix::fs::FileExt;
use std::path::{Path, PathBuf};
use std::sync::Mutex;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, OnceLock};

/// Its name in the directory of the database.
pub(crate) const FILE: &str = "values";

/// So many bytes of frames are put together for one write.
const RUN_BYTES_MAX: usize = 128 << 10;

/// A frame, and the offset it goes to.
pub(crate) type Placed = (u64, Bytes);

/// The file while it is appended to.
struct Appending {
    file: File,
    /// Its name is not known to be on the disk.
    is_new: bool,
}

/// Frames that follow each other, written at once.
#[derive(Default)]
struct Run {
    offset: u64,
    bytes: Vec<u8>,
}

impl Run {
    fn put(&mut self, file: &File, offset: u64, frame: &[u8]) -> io::Result<()> {
        let follows = self.offset + self.bytes.len() as u64 == offset;
        if !follows || self.bytes.len() + frame.len() > RUN_BYTES_MAX {
            self.write(file)?;
            self.offset = offset;
        }
        if frame.len() > RUN_BYTES_MAX {
            file.write_all_at(frame, offset)?;
            self.offset = offset + frame.len() as u64;
        } else {
            self.bytes.extend_from_slice(frame);
        }
        Ok(())
    }

    fn write(&mut self, file: &File) -> io::Result<()> {
        file.write_all_at(&self.bytes, self.offset)?;
        self.bytes.clear();
        Ok(())
    }
}

/// See the module.
pub(crate) struct ValueLog {
    path: PathBuf,
    /// Where the next frame goes.
    end: AtomicU64,
    appending: Mutex<Option<Appending>>,
    reading: OnceLock<Arc<File>>,
}

impl ValueLog {
    /// That of the database in `dir`; there is no file before the first large record.
    pub(crate) fn of(dir: &Path) -> ValueLog {
        let path = dir.join(FILE);
        let end = path.metadata().map_or(0, |found| found.len());
        ValueLog {
            path,
            end: AtomicU64::new(end),
            appending: Mutex::new(None),
            reading: OnceLock::new(),
        }
    }

    /// Where the next frame goes.
    pub(crate) fn end(&self) -> u64 {
        self.end.load(Ordering::Acquire)
    }

    /// Bytes it takes on the disk.
    pub(crate) fn disk_bytes(&self) -> u64 {
        match self.end() {
            0 => 0,
            _ => disk::allocated_bytes(&self.path),
        }
    }

    /// Cuts off what stands behind `end`: no record of the database is there.
    pub(crate) fn cut(&self, end: u64) -> io::Result<()> {
        match File::options().write(true).open(&self.path) {
            Ok(file) if file.metadata()?.len() > end => file.set_len(end)?,
            Err(error) if error.kind() != ErrorKind::NotFound => return Err(error),
            _ => {}
        }
        self.end.store(end, Ordering::Release);
        Ok(())
    }

    /// Appends frames; [`ValueLog::sync`] must follow. After an error nothing more may be appended.
    pub(crate) fn append(&self, frames: &[Placed]) -> Result<(), EngineError> {
        let mut appending = locked(&self.appending);
        let Appending { file, is_new } = match appending.take() {
            Some(found) => found,
            None => {
                let file = File::options()
                    .create(true)
                    .write(true)
                    .truncate(false)
                    .open(&self.path)?;
                disk::share(&self.path);
                Appending { file, is_new: true }
            }
        };
        let mut end = self.end();
        let mut run = Run::default();
        for (offset, frame) in frames {
            if *offset < end {
                let why = format!("a frame at {offset} of the value log, which ends at {end}");
                return Err(EngineError::Failed(why));
            }
            run.put(&file, *offset, frame)?;
            end = offset + frame.len() as u64;
        }
        run.write(&file)?;
        self.end.store(end, Ordering::Release);
        *appending = Some(Appending { file, is_new });
        Ok(())
    }

    /// Returns when what was appended is on the disk. After an error nothing more may be appended.
    pub(crate) fn sync(&self) -> Result<(), EngineError> {
        let mut appending = locked(&self.appending);
        let Some(Appending { file, is_new }) = appending.take() else {
            return Ok(());
        };
        file.sync_data()?;
        if is_new {
            self.path.parent().map_or(Ok(()), disk::sync_dir)?;
        }
        *appending = Some(Appending {
            file,
            is_new: false,
        });
        Ok(())
    }

    /// Reads so many bytes; `None` where they are not there.
    pub(crate) fn read(&self, offset: u64, bytes: u64) -> Result<Option<Bytes>, EngineError> {
        let Some(file) = self.readable()? else {
            return Ok(None);
        };
        let Ok(bytes) = usize::try_from(bytes) else {
            return Ok(None);
        };
        let mut found = BytesMut::zeroed(bytes);
        match file.read_exact_at(&mut found, offset) {
            Ok(()) => Ok(Some(found.freeze())),
            Err(error) if error.kind() == ErrorKind::UnexpectedEof => Ok(None),
            Err(error) => Err(error.into()),
        }
    }

    fn readable(&self) -> Result<Option<Arc<File>>, EngineError> {
        if let Some(file) = self.reading.get() {
            return Ok(Some(file.clone()));
        }
        match File::open(&self.path) {
            Ok(file) => Ok(Some(self.reading.get_or_init(|| Arc::new(file)).clone())),
            Err(error) if error.kind() == ErrorKind::NotFound => Ok(None),
            Err(error) => Err(error.into()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn frames_come_back_and_what_stands_behind_the_last_one_is_cut_off() {
        let dir = tempfile::tempdir().unwrap();
        let log = ValueLog::of(dir.path());
        assert_eq!((log.end(), log.read(0, 1).unwrap()), (0, None));
        log.append(&[
            (0, Bytes::from_static(b"one")),
            (3, Bytes::from_static(b"two")),
        ])
        .unwrap();
        log.sync().unwrap();
        assert_eq!(log.read(3, 3).unwrap().unwrap(), "two");
        assert_eq!(log.read(4, 3).unwrap(), None, "beyond the end");
        assert!(log.append(&[(5, Bytes::from_static(b"over"))]).is_err());
        let log = ValueLog::of(dir.path());
        assert_eq!(log.end(), 6);
        log.cut(3).unwrap();
        assert_eq!(log.end(), 3);
        assert_eq!(std::fs::read(dir.path().join(FILE)).unwrap(), b"one");
        log.append(&[(3, Bytes::from_static(b"three"))]).unwrap();
        assert_eq!(log.read(0, 8).unwrap().unwrap(), "onethree");
        assert!(log.disk_bytes() > 0);
    }

    #[test]
    fn a_file_that_lost_its_end_is_not_taken_for_shorter() {
        let dir = tempfile::tempdir().unwrap();
        std::fs::write(dir.path().join(FILE), b"on").unwrap();
        let log = ValueLog::of(dir.path());
        log.cut(3).unwrap();
        log.append(&[(3, Bytes::from_static(b"two"))]).unwrap();
        assert_eq!(log.read(0, 6).unwrap().unwrap(), &b"on\0two"[..]);
    }
}
