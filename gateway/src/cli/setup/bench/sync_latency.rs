//! How long the disk takes to say that something is on it.

use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use std::time::Duration;

use crate::cli::Failure;
use crate::time::clock;

/// What a small commit writes.
const BLOCK_BYTES: usize = 4096;
/// Blocks of the file, whose room is taken before.
const BLOCKS: u64 = 256;
/// So many tell enough.
const SAMPLES_MAX: usize = 4000;
/// So many are taken of a disk however slow …
const SAMPLES_MIN: usize = 3;
/// … but no longer than this.
const LASTING_MAX: Duration = Duration::from_secs(30);

/// Sorted latencies.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct SyncLatency {
    samples: Vec<Duration>,
}

impl SyncLatency {
    /// Of these, in any order.
    pub(super) fn of(mut samples: Vec<Duration>) -> SyncLatency {
        samples.sort_unstable();
        SyncLatency { samples }
    }

    /// What so many of a hundred stay at or below.
    pub(super) fn percentile(&self, percent: usize) -> Duration {
        let last = self.samples.len().saturating_sub(1);
        let at = (self.samples.len() * percent)
            .div_ceil(100)
            .saturating_sub(1);
        self.samples.get(at.min(last)).copied().unwrap_or_default()
    }

    /// In the mean, which tells more where a disk takes some at once and then none for a while.
    pub(super) fn mean(&self) -> Duration {
        let count = u32::try_from(self.samples.len()).unwrap_or(u32::MAX).max(1);
        self.samples.iter().sum::<Duration>() / count
    }

    /// How many there are.
    pub(super) fn count(&self) -> usize {
        self.samples.len()
    }
}

/// Writes a block and syncs it, again and again.
///
/// # Errors
/// When the disk takes nothing.
pub(super) async fn measure(folder: &Path, lasting: Duration) -> Result<SyncLatency, Failure> {
    let path = folder.join("sync");
    let samples = tokio::task::spawn_blocking(move || samples(&path, lasting));
    let failed = |error: std::io::Error| Failure::new(format!("a sync failed: {error}"));
    match samples.await {
        Ok(samples) => samples.map(SyncLatency::of).map_err(failed),
        Err(error) => Err(Failure::new(error.to_string())),
    }
}

fn samples(path: &Path, lasting: Duration) -> std::io::Result<Vec<Duration>> {
    let file = File::create(path)?;
    let block = [0x5a; BLOCK_BYTES];
    for number in 0..BLOCKS {
        file.write_all_at(&block, number * BLOCK_BYTES as u64)?;
    }
    file.sync_all()?;
    let began = clock::monotonic();
    let mut samples = Vec::new();
    for number in (0..BLOCKS).cycle() {
        let start = clock::monotonic();
        let so_far = start.duration_since(began);
        let is_enough = so_far >= lasting && samples.len() >= SAMPLES_MIN;
        if is_enough || so_far >= LASTING_MAX || samples.len() >= SAMPLES_MAX {
            break;
        }
        file.write_all_at(&block, number * BLOCK_BYTES as u64)?;
        file.sync_data()?;
        samples.push(clock::monotonic().duration_since(start));
    }
    Ok(samples)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn percentiles_are_of_what_was_measured() {
        let of =
            |count: u64| SyncLatency::of((1..=count).rev().map(Duration::from_millis).collect());
        let at = |count, percent| of(count).percentile(percent).as_millis();
        assert_eq!((at(100, 50), at(100, 99)), (50, 99));
        assert_eq!((at(1, 50), at(1, 99)), (1, 1));
        assert_eq!((at(3, 50), at(3, 99)), (2, 3));
        assert_eq!(at(0, 99), 0);
        assert_eq!(of(3).mean(), Duration::from_millis(2));
    }

    #[test]
    fn a_disk_is_measured_for_as_long_as_told() {
        let folder = tempfile::tempdir().expect("a folder");
        let taken = samples(&folder.path().join("sync"), Duration::from_millis(20));
        assert!(taken.expect("a disk").len() >= SAMPLES_MIN);
    }
}
