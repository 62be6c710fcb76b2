//! What the gateway costs the disk: bytes accepted, bytes written for them as the kernel counts them, and how long a disk
//! of a given endurance lasts at that rate. Flash wears out by being written.
//!
//! Two counters of Linux: `write_bytes` in `/proc/self/io`, which is this process; and the sectors in
//! `/sys/dev/block/MAJOR:MINOR/stat` (field 7, always of 512 bytes), which is everybody on the disk or partition that
//! holds the data folder, the file system's journal included. Not every file system lies on such a disk.

use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::time::Instant;

use prometheus_client::metrics::counter::Counter;

use crate::observe::status::Wear;

const SECTOR_BYTES: u64 = 512;
/// No estimate from less: the start of a gateway writes more than its days.
const OBSERVED_SECONDS_MIN: f64 = 60.0;
const SECONDS_PER_DAY: f64 = 86_400.0;

/// Compares the counters with what they were at the start.
#[derive(Debug)]
pub struct Meter {
    started: Instant,
    disk: Option<Disk>,
    disk_at_start: u64,
    accepted: Counter,
    endurance_bytes: Option<u64>,
}

impl Meter {
    /// Begins at `now`, on the disk that holds `folder`. `accepted` counts bytes of accepted payloads;
    /// `endurance_bytes` is what the disk's maker says may be written to it in all.
    pub fn start(
        now: Instant,
        folder: &Path,
        accepted: Counter,
        endurance_bytes: Option<u64>,
    ) -> Meter {
        let disk = Disk::of(folder);
        let disk_at_start = disk.as_ref().and_then(Disk::written_bytes).unwrap_or(0);
        Meter {
            started: now,
            disk,
            disk_at_start,
            accepted,
            endurance_bytes,
        }
    }

    /// What was written up to `now`.
    pub fn read(&self, now: Instant) -> Wear {
        let seconds = now.saturating_duration_since(self.started).as_secs_f64();
        let io = std::fs::read_to_string("/proc/self/io").unwrap_or_default();
        let disk_bytes = self.disk.as_ref().and_then(Disk::written_bytes);
        self.judge(seconds, process_written(&io), disk_bytes)
    }

    fn judge(&self, seconds: f64, written_bytes: Option<u64>, disk_bytes: Option<u64>) -> Wear {
        let accepted_bytes = self.accepted.get();
        let disk_written_bytes = disk_bytes.map(|bytes| bytes.saturating_sub(self.disk_at_start));
        // What others write wears the disk out just as much.
        let worn_bytes = disk_written_bytes.or(written_bytes);
        let lifetime_days = self
            .endurance_bytes
            .zip(worn_bytes)
            .and_then(|(all, worn)| {
                let enough = worn > 0 && seconds >= OBSERVED_SECONDS_MIN;
                enough.then(|| all as f64 / (worn as f64 / seconds) / SECONDS_PER_DAY)
            });
        Wear {
            seconds,
            accepted_bytes,
            written_bytes,
            amplification: written_bytes
                .filter(|_| accepted_bytes > 0)
                .map(|written| written as f64 / accepted_bytes as f64),
            disk: self.disk.as_ref().map(|disk| disk.name.clone()),
            disk_written_bytes,
            endurance_bytes: self.endurance_bytes,
            lifetime_days,
        }
    }
}

/// A disk or partition.
#[derive(Debug)]
struct Disk {
    /// Such as `mmcblk0p2`.
    name: String,
    stat: PathBuf,
}

impl Disk {
    /// The one that holds `path`; `None` where the kernel names none (tmpfs, overlays, some volumes).
    fn of(path: &Path) -> Option<Disk> {
        let device = std::fs::metadata(path).ok()?.dev();
        let (major, minor) = major_minor(device);
        let folder = PathBuf::from(format!("/sys/dev/block/{major}:{minor}"));
        let name = std::fs::canonicalize(&folder).ok()?;
        let disk = Disk {
            name: name.file_name()?.to_string_lossy().into_owned(),
            stat: folder.join("stat"),
        };
        disk.written_bytes().map(|_| disk)
    }

    fn written_bytes(&self) -> Option<u64> {
        disk_written(&std::fs::read_to_string(&self.stat).ok()?)
    }
}

/// How Linux packs both into the device number of `stat(2)`, see `makedev(3)`.
fn major_minor(device: u64) -> (u64, u64) {
    let major = (device >> 8) & 0xfff | (device >> 32) & !0xfff;
    let minor = device & 0xff | (device >> 12) & !0xff & 0xffff_ffff;
    (major, minor)
}

/// Bytes written, in `/sys/dev/block/…/stat`.
fn disk_written(stat: &str) -> Option<u64> {
    let sectors: u64 = stat.split_whitespace().nth(6)?.parse().ok()?;
    sectors.checked_mul(SECTOR_BYTES)
}

/// Bytes that the process `pid` caused to be written; none where it is gone or another user's.
pub fn written_by(pid: u32) -> Option<u64> {
    process_written(&std::fs::read_to_string(format!("/proc/{pid}/io")).ok()?)
}

/// Bytes this process caused to be written, in `/proc/self/io`, less those that were dropped before they were.
fn process_written(io: &str) -> Option<u64> {
    let field = |name: &str| {
        let line = io.lines().find_map(|line| line.strip_prefix(name))?;
        line.trim().parse::<u64>().ok()
    };
    let cancelled = field("cancelled_write_bytes:").unwrap_or(0);
    Some(field("write_bytes:")?.saturating_sub(cancelled))
}

#[cfg(test)]
mod tests {
    use super::*;

    const STAT: &str = "  153    12  9000   40   2048  7 4096  90  0  100  130  0 0 0 0 12 3\n";
    const IO: &str = "rchar: 9\nwchar: 8\nsyscr: 1\nsyscw: 2\nread_bytes: 4096\n\
                      write_bytes: 40960\ncancelled_write_bytes: 8192\n";

    #[test]
    fn the_kernels_counters_are_read() {
        assert_eq!(disk_written(STAT), Some(4096 * 512));
        assert_eq!(process_written(IO), Some(32_768));
        assert_eq!(disk_written("1 2 3"), None);
        assert_eq!(disk_written("1 2 3 4 5 6 many"), None);
        assert_eq!(process_written(""), None);
    }

    #[test]
    fn a_device_number_falls_into_its_parts() {
        assert_eq!(major_minor(0xb302), (0xb3, 2));
        assert_eq!(major_minor(0x0010_0801), (8, 0x101));
    }

    fn meter(endurance_bytes: Option<u64>) -> Meter {
        let accepted = Counter::default();
        accepted.inc_by(1000);
        Meter {
            started: Instant::now(),
            disk: None,
            disk_at_start: 500,
            accepted,
            endurance_bytes,
        }
    }

    #[test]
    fn the_lifetime_is_what_the_disk_bears_at_the_rate_at_which_it_is_written() {
        let wear = meter(Some(1_000_000)).judge(86_400.0, Some(4000), Some(10_500));
        assert_eq!(wear.amplification, Some(4.0));
        assert_eq!(wear.disk_written_bytes, Some(10_000));
        assert_eq!(wear.lifetime_days, Some(100.0));
        let wear = meter(Some(1_000_000)).judge(86_400.0, Some(4000), None);
        assert_eq!(
            wear.lifetime_days,
            Some(250.0),
            "without the disk's counter"
        );
    }

    #[test]
    fn without_an_endurance_or_a_minute_there_is_no_estimate() {
        let days = |meter: Meter, seconds| meter.judge(seconds, Some(1), Some(1_000)).lifetime_days;
        assert_eq!(days(meter(None), 1000.0), None);
        assert_eq!(days(meter(Some(5)), 59.0), None);
        assert!(days(meter(Some(5)), 61.0).is_some());
    }

    #[test]
    fn what_is_written_here_is_counted() {
        let folder = tempfile::tempdir().expect("a folder");
        let meter = Meter::start(Instant::now(), folder.path(), Counter::default(), None);
        let before = meter.read(Instant::now());
        let file = std::fs::File::create(folder.path().join("file")).expect("a file");
        std::io::Write::write_all(&mut &file, &vec![7; 1 << 20]).expect("room");
        file.sync_all().expect("a disk");
        let after = meter.read(Instant::now());
        if let (Some(before), Some(after)) = (before.disk_written_bytes, after.disk_written_bytes) {
            assert!(after >= before + (1 << 20), "{before} {after}");
        }
        assert_eq!(after.amplification, None, "nothing was accepted");
    }
}
