//! Clock and disk.

use std::path::{Path, PathBuf};

use super::subject::Subject;
use super::{Finding, Severity};
use crate::cli::setup::machine::mounts::{Mount, existing};
use crate::cli::terminal::figures;
use crate::run::health::clock_is_behind;
use crate::time::clock;

/// Room that the store keeps in reserve.
const RESERVE_BYTES: u64 = 32 << 20;
/// Layers of file systems that lie one above the other.
const LAYERS_MAX: usize = 4;

pub(super) fn all(subject: &Subject) -> Vec<Finding> {
    let mount = subject.machine.mount_of(&subject.data_dir);
    let of_disk = mount.map(|mount| {
        [
            endurance(subject, &mount),
            barriers(subject, &mount, LAYERS_MAX),
            room(subject, &mount),
        ]
    });
    let found = clock_finding(subject)
        .into_iter()
        .chain(of_disk.into_iter().flatten().flatten());
    found.collect()
}

fn clock_finding(subject: &Subject) -> Option<Finding> {
    let found = |severity, message: String| {
        let remedy = "`timedatectl set-ntp true`, or `apt install chrony`, with a time server that this machine \
                      reaches; without a network a clock chip (`dtoverlay=i2c-rtc,ds3231` on a Raspberry Pi)";
        Finding::new("clock-unsynchronised", severity, message, remedy)
    };
    if let Some(behind) = clock_is_behind(clock::unix_ms()) {
        return Some(found(Severity::Error, behind));
    }
    let state = subject.machine.clock();
    if state.is_kept() {
        return None;
    }
    let message = match state.has_daemon {
        true => {
            "no time server has set the clock yet, and there is no clock chip: after a power cut events get wrong times"
        }
        false => {
            "nothing sets the clock: no time server, no clock chip; after a power cut events get wrong times"
        }
    };
    Some(found(Severity::Warning, message.to_owned()))
}

fn endurance(subject: &Subject, mount: &Mount) -> Option<Finding> {
    let disk = subject.machine.disk_of(mount);
    let is_known = subject
        .store
        .as_ref()
        .is_some_and(|store| store.endurance_bytes.is_some());
    if is_known || !disk.medium.is_flash() {
        return None;
    }
    let name = disk.name.unwrap_or_default();
    let message = format!(
        "{} lies on the {} {name}, and how much may be written to it is not configured: nobody is told before it is worn out",
        subject.data_dir.display(),
        disk.medium.name()
    );
    let remedy = "write [store] endurance = \"…TiB\" with what its maker promises (TBW); `tidegate bench` says what a rate \
                  of events means for it, and which commit_delay makes it last longer";
    Some(Finding::new(
        "endurance-unknown",
        Severity::Note,
        message,
        remedy,
    ))
}

fn barriers(subject: &Subject, mount: &Mount, layers: usize) -> Option<Finding> {
    let (data_dir, point) = (subject.data_dir.display(), mount.point.display());
    let found = |message: String, remedy: String| {
        Some(Finding::new(
            "no-barriers",
            Severity::Error,
            message,
            remedy,
        ))
    };
    if mount.is_in_memory() {
        return found(
            format!(
                "{data_dir} lies in memory ({} on {point}): acknowledged events are gone after a power cut or restart",
                mount.kind
            ),
            "name a data_dir on a disk".to_owned(),
        );
    }
    if let Some(option) = mount.without_barriers() {
        let remedy = match &*mount.kind {
            "overlay" => format!("mount {point} without `{option}`, or name a data_dir on a disk"),
            _ => format!(
                "`mount -o remount,barrier=1 {point}`, and take `{option}` out of /etc/fstab; or name another data_dir"
            ),
        };
        return found(
            format!(
                "{data_dir} lies on {point}, which is mounted with `{option}`: a sync does not reach the disk, and a power \
                 cut may take acknowledged events"
            ),
            remedy,
        );
    }
    // Changes of an overlay, as a Raspberry Pi may have over a card that is only read, lie elsewhere: mostly in memory.
    let mut options = mount.options.iter();
    let upper = options.find_map(|option| option.strip_prefix("upperdir="));
    let below = upper.filter(|_| mount.kind == "overlay").map(PathBuf::from);
    let below = subject.machine.mount_of(&below?)?;
    match layers {
        1.. if below != *mount => barriers(subject, &below, layers - 1),
        _ => None,
    }
}

fn room(subject: &Subject, mount: &Mount) -> Option<Finding> {
    let store = subject.store.as_ref()?;
    let there = existing(&subject.data_dir)?;
    let disk = rustix::fs::statvfs(&there).ok()?;
    let free = disk.f_bavail.saturating_mul(disk.f_frsize);
    let size = disk.f_blocks.saturating_mul(disk.f_frsize);
    let (data_dir, point) = (subject.data_dir.display(), mount.point.display());
    let found = |severity, message: String| {
        let remedy = format!(
            "make room on {point}, name a data_dir on a larger disk, or lower [store] max_size (it is {})",
            figures::size(store.max_size_bytes)
        );
        Some(Finding::new("disk-too-small", severity, message, remedy))
    };
    if free < store.free_min_bytes {
        let message = format!(
            "{data_dir} has {} free, and below `free_min` ({}) nothing is acknowledged",
            figures::size(free),
            figures::size(store.free_min_bytes)
        );
        return found(Severity::Error, message);
    }
    let needed = store
        .max_size_bytes
        .saturating_add(store.free_min_bytes)
        .saturating_add(RESERVE_BYTES);
    let available = match used_bytes(&subject.data_dir.join("store")) {
        Some(used) => free.saturating_add(used),
        None => size,
    };
    if needed <= available {
        return None;
    }
    let message = format!(
        "the store may grow to {} (and leaves {} free), and {data_dir} has room for {}: events will be refused when the disk \
         is full, before the store is",
        figures::size(store.max_size_bytes),
        figures::size(store.free_min_bytes.saturating_add(RESERVE_BYTES)),
        figures::size(available)
    );
    found(Severity::Warning, message)
}

/// What the store takes now; none where this user may not look.
fn used_bytes(folder: &Path) -> Option<u64> {
    use std::io::ErrorKind::NotFound;
    use std::os::unix::fs::MetadataExt;
    let entries = match std::fs::read_dir(folder) {
        Err(error) if error.kind() == NotFound => return Some(0),
        entries => entries.ok()?,
    };
    let mut used = 0u64;
    for entry in entries.flatten() {
        // What vanishes meanwhile takes no room.
        let Ok(found) = entry.path().symlink_metadata() else {
            continue;
        };
        used = used.saturating_add(match found.is_dir() {
            true => used_bytes(&entry.path())?,
            false => found.blocks().saturating_mul(512),
        });
    }
    Some(used)
}
