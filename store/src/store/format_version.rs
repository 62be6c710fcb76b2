//! Which releases' directories are opened.

use crate::api::error::{OpenError, is_no_space};
use crate::engine::disk;
use crate::format::directory::{FORMAT, OLDER_FORMATS, UNFINISHED, format_file, number};
use std::fs;
use std::io;
use std::path::Path;

/// A directory of a later release is left untouched. One of an earlier release is said to be of this one before anything
/// is written that the earlier one cannot read; who only reads leaves it as it is.
pub(super) fn check_format(dir: &Path, read_only: bool) -> Result<(), OpenError> {
    let path = format_file(dir);
    match fs::read_to_string(&path) {
        Ok(found) if found == FORMAT => Ok(()),
        Ok(found) if found == UNFINISHED => Err(OpenError::Unfinished {
            dir: dir.to_path_buf(),
        }),
        Ok(found) if !OLDER_FORMATS.contains(&found.as_str()) && number(&found).is_some() => {
            Err(OpenError::Newer {
                dir: dir.to_path_buf(),
                found: found.trim().chars().take(60).collect(),
            })
        }
        Ok(_) if read_only => Ok(()),
        // Bytes that no release ever wrote are damage: each block says again how it is to be read.
        Ok(_) => write_format(&path),
        Err(error) => match error.kind() {
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData if !read_only => {
                write_format(&path)
            }
            io::ErrorKind::NotFound | io::ErrorKind::InvalidData => Ok(()),
            _ => Err(OpenError::io(&path, &error)),
        },
    }
}

fn write_format(path: &Path) -> Result<(), OpenError> {
    let written = disk::write_atomically(path, FORMAT.as_bytes());
    let written = written.or_else(|error| match is_no_space(&error) {
        // The few bytes that are there need no room to be others.
        // Where there are none the disk is full all the same.
        true => disk::overwrite(path, FORMAT.as_bytes()).map_err(|_| error),
        false => Err(error),
    });
    written.map_err(|error| OpenError::io(path, &error))
}
