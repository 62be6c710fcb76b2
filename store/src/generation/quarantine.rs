//! Where unusable generations and databases of dead letters go: aside, a generation with its range in its name, never
//! deleted by the store.

use super::name::parse_name;
use crate::Sequence;
use crate::api::status::Quarantined;
use crate::engine::disk;
use std::io;
use std::path::Path;

/// How the names of databases of dead letters begin.
const DEAD_LETTERS: &str = "dead-letters-";
const EARLIER: &str = "found in an earlier run";

/// Moves a generation's directory into quarantine; its name there ends in the last sequence that it may hold.
pub(crate) fn move_dir(dir: &Path, quarantine: &Path, last: Sequence) -> io::Result<String> {
    disk::create_part(quarantine)?;
    let own = dir
        .file_name()
        .unwrap_or_default()
        .to_string_lossy()
        .into_owned();
    let mut name = format!("{own}-{last:020}");
    let mut again = 1;
    while quarantine.join(&name).exists() {
        again += 1;
        name = format!("{own}-{last:020}.{again}");
    }
    disk::rename(dir, &quarantine.join(&name))?;
    Ok(name)
}

/// Moves a generation into quarantine and describes it.
pub(crate) fn isolate(
    dir: &Path,
    quarantine: &Path,
    last: Sequence,
    why: &str,
) -> io::Result<Quarantined> {
    let name = move_dir(dir, quarantine, last)?;
    let first = dir
        .file_name()
        .and_then(|name| parse_name(&name.to_string_lossy()))
        .map_or(0, |(_, first)| first);
    let moved = quarantine.join(&name);
    Ok(described(&moved, first, last, why))
}

/// Describes a directory that is in quarantine, or would go there if it might be moved.
pub(crate) fn described(dir: &Path, first: Sequence, last: Sequence, why: &str) -> Quarantined {
    let name = dir.file_name().unwrap_or_default();
    Quarantined {
        name: name.to_string_lossy().into_owned(),
        first,
        last,
        disk_bytes: disk::allocated_bytes(dir),
        why: why.to_owned(),
    }
}

/// Moves a database of dead letters into quarantine.
pub(crate) fn move_dead_letters(
    dir: &Path,
    quarantine: &Path,
    why: &str,
) -> io::Result<Quarantined> {
    disk::create_part(quarantine)?;
    let name = free_name(quarantine, dir);
    disk::rename(dir, &quarantine.join(&name))?;
    Ok(dead_letters(quarantine, name, why))
}

/// Copies the files of a database of dead letters into quarantine.
pub(crate) fn copy_dead_letters(
    dir: &Path,
    quarantine: &Path,
    why: &str,
) -> io::Result<Quarantined> {
    disk::create_part(quarantine)?;
    let name = free_name(quarantine, dir);
    let to = quarantine.join(&name);
    disk::create_part(&to)?;
    for entry in std::fs::read_dir(dir)? {
        let entry = entry?;
        if entry.file_type()?.is_file() {
            let copy = to.join(entry.file_name());
            std::fs::copy(entry.path(), &copy)?;
            std::fs::File::open(&copy)?.sync_all()?;
        }
    }
    disk::sync_dir(&to)?;
    Ok(dead_letters(quarantine, name, why))
}

fn free_name(quarantine: &Path, dir: &Path) -> String {
    let own = dir.file_name().unwrap_or_default().to_string_lossy();
    let mut name = format!("{DEAD_LETTERS}{own}");
    let mut again = 1;
    while quarantine.join(&name).exists() {
        again += 1;
        name = format!("{DEAD_LETTERS}{own}.{again}");
    }
    name
}

/// No range belongs to dead letters: `last` lies below `first`.
fn dead_letters(quarantine: &Path, name: String, why: &str) -> Quarantined {
    Quarantined {
        disk_bytes: disk::allocated_bytes(&quarantine.join(&name)),
        name,
        first: 1,
        last: 0,
        why: why.to_owned(),
    }
}

/// What earlier openings put there.
pub(crate) fn list(quarantine: &Path) -> Vec<Quarantined> {
    let entries = std::fs::read_dir(quarantine)
        .into_iter()
        .flatten()
        .flatten();
    let mut found: Vec<_> = entries
        .filter_map(|entry| {
            let name = entry.file_name().to_string_lossy().into_owned();
            if name.starts_with(DEAD_LETTERS) {
                return Some(dead_letters(quarantine, name, EARLIER));
            }
            let (own, last) = name.rsplit_once('-')?;
            let (_, first) = parse_name(own)?;
            let last = last.split('.').next()?.parse().ok()?;
            let disk_bytes = disk::allocated_bytes(&entry.path());
            Some(Quarantined {
                name,
                first,
                last,
                disk_bytes,
                why: EARLIER.into(),
            })
        })
        .collect();
    found.sort_by(|a, b| a.name.cmp(&b.name));
    found
}
