//! Figures of a running store.

use crate::api::status::{GenerationInfo, GenerationState, Stats};
use crate::catalog::Catalog;
use crate::dead_letters::DeadLetters;
use crate::engine::database_files::has_blobs;
use crate::engine::free_space::FreeSpace;
use crate::engine::lock::locked;
use crate::engine::{disk, shim};
use crate::generation::Generation;
use std::sync::{Arc, Mutex};

/// See the module.
pub(super) struct Statistics {
    pub(super) catalog: Arc<Mutex<Catalog>>,
    pub(super) dead_letters: Arc<DeadLetters>,
    pub(super) space: Arc<FreeSpace>,
    pub(super) max_size_bytes: u64,
    pub(super) device_bytes_at_open: Option<u64>,
}

impl Statistics {
    /// As they are now.
    pub(super) fn take(&self) -> Stats {
        let mut stats = Stats {
            max_size_bytes: self.max_size_bytes,
            free_bytes: self.space.bytes(),
            free_bytes_min: self.space.bytes_min(),
            ballast: self.space.ballast().is_present(),
            dead_letters: self.dead_letters.count(),
            barriers: shim::calls(),
            device_bytes: disk::device_bytes_written()
                .zip(self.device_bytes_at_open)
                .map(|(now, then)| now - then),
            ..Stats::default()
        };
        let dirs: Vec<_> = {
            let catalog = locked(&self.catalog);
            stats.generations = catalog.generations.iter().map(generation_info).collect();
            (stats.first, stats.end) = (catalog.first(), catalog.next);
            stats.disk_bytes = catalog.disk_bytes() + self.dead_letters.disk_bytes();
            stats.quarantined.clone_from(&catalog.quarantined);
            stats.quarantined.extend(self.dead_letters.isolated());
            stats.damage.clone_from(&catalog.damage);
            stats.counters = catalog.counters;
            let generations = catalog.generations.iter();
            generations
                .map(|generation| generation.dir.clone())
                .collect()
        };
        stats.counters.ballast_released = self.space.ballast_released();
        stats.events = stats
            .generations
            .iter()
            .map(|generation| generation.records)
            .sum();
        stats.blobs = dirs.iter().any(|dir| has_blobs(dir)) || self.dead_letters.has_blobs();
        stats
    }
}

fn generation_info(generation: &Generation) -> GenerationInfo {
    GenerationInfo {
        id: generation.id,
        first: generation.summary.first,
        end: generation.summary.end,
        records: generation.records(),
        payload_bytes: generation.summary.payload_bytes,
        disk_bytes: generation.disk_bytes,
        state: match (generation.sealed, &generation.engine) {
            (false, _) => GenerationState::Writing,
            (true, Some(_)) => GenerationState::Open,
            (true, None) => GenerationState::Closed,
        },
        pending: !generation.is_done(),
        damaged: generation.damaged,
    }
}
