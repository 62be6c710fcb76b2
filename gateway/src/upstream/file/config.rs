//! `type = "file"` of `[upstreams.NAME]`.

use std::path::PathBuf;

use crate::config::key::{Count, Rows, Size, count, keys, path, size};
use crate::config::kinds::{Claim, Entry, Kind};
use crate::config::section::Section;

keys! {
    /// Keys of a file of JSON lines.
    KEYS: FileKeys {
        path: Option<PathBuf> = path().required("file of JSON lines; `events.jsonl` rotates to `events.jsonl.1` …"),
        rotate_size: Size = size("4KiB", "16TiB").default("64MiB", "size at which a new file is begun"),
        keep_files: Count<usize> = count(0, 100_000).default("8", "rotated files kept; 0 keeps all"),
    }
}

/// Appends JSON lines to a file: one structured CloudEvent a line.
#[derive(Debug, Clone, PartialEq)]
pub struct FileUpstream {
    /// `path`: `events.jsonl` rotates to `events.jsonl.1` …
    pub path: PathBuf,
    /// `rotate_size` (64MiB)
    pub rotate_bytes: u64,
    /// `keep_files` (8); 0 keeps all
    pub files_max: usize,
}

impl Kind for FileUpstream {
    const NAME: &'static str = "file";
    const KEYS: Rows = FileKeys::ROWS;

    fn read(section: &Section<'_>, _: &Entry<'_>) -> Option<FileUpstream> {
        let path = section.read(&KEYS.path);
        let rotate_bytes = section.read(&KEYS.rotate_size);
        let files_max = section.read(&KEYS.keep_files);
        let path = path?;
        if path.is_dir() {
            let error = section.error(&KEYS.path, format!("{} is a folder", path.display()));
            section
                .context
                .report(error.with_label("name a file in it"));
        } else if path.exists() && !path.is_file() {
            let warning =
                section.warning(&KEYS.path, format!("{} is no regular file", path.display()));
            section.context.report(warning.with_note(
                "nothing that is written to a device or a pipe is on a disk, so that events would wait; name another file",
            ));
        }
        Some(FileUpstream {
            path,
            rotate_bytes,
            files_max,
        })
    }

    fn claim(&self) -> Option<Claim<'_>> {
        Some(Claim::File(&self.path))
    }
}
