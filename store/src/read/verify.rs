//! Reads everything there is and reports what cannot be read; changes nothing.

use super::collector::Collector;
use super::wanted::Wanted;
use crate::Sequence;
use crate::api::batch::ReadLimit;
use crate::api::status::{Damage, VerifyReport};
use crate::catalog::Catalog;
use crate::catalog::open_generations::OpenGenerations;
use crate::dead_letters::DeadLetters;
use crate::engine::failure::EngineError;
use crate::engine::lock::locked;
use crate::engine::sled::Engine;
use std::sync::{Arc, Mutex};

/// See the module.
pub(crate) struct Verification {
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) open: Arc<OpenGenerations>,
    pub(crate) dead_letters: Arc<DeadLetters>,
}

impl Verification {
    /// See [`crate::Store::verify`].
    pub(crate) fn run(&self, mut progress: impl FnMut(u64, u64)) -> VerifyReport {
        let mut report = VerifyReport::default();
        let targets: Vec<_> = {
            let catalog = locked(&self.catalog);
            let target = |g: &crate::generation::Generation| {
                (
                    g.id,
                    g.summary.first,
                    g.summary.end,
                    g.summary.payload_bytes,
                )
            };
            catalog.generations.iter().map(target).collect()
        };
        let total = targets.iter().map(|(_, _, _, bytes)| bytes).sum();
        let mut done = 0;
        for (id, first, end, bytes) in targets {
            self.verify_generation(id, first, end, &mut report);
            done += bytes;
            progress(done, total);
        }
        match self.dead_letters.missing() {
            0 => (),
            missing => report
                .unreadable
                .push(format!("dead letters: {missing} are missing")),
        }
        match self.dead_letters.verify() {
            Ok((sound, damaged)) => {
                report.dead_letters = sound;
                let named = damaged
                    .iter()
                    .map(|(sequence, number)| format!("dead letter {sequence}.{number}"));
                report.unreadable.extend(named);
            }
            Err(error) => report.unreadable.push(format!("dead letters: {error}")),
        }
        report
    }

    fn verify_generation(
        &self,
        id: u64,
        first: Sequence,
        end: Sequence,
        report: &mut VerifyReport,
    ) {
        let engine = match self.open.open(id) {
            Ok(Some(engine)) => engine,
            // Deleted meanwhile, or moved to quarantine just now: then the statistics name it.
            Ok(None) => return,
            Err(error) => return report.unreadable.push(format!("generation {id}: {error}")),
        };
        report.generations += 1;
        let mut at = first;
        while at < end {
            let limit = ReadLimit {
                records: usize::MAX,
                bytes: 1 << 20,
            };
            let mut collector = Collector::new(Wanted::All, at, end, limit);
            if let Err(error) = read_on(&engine, &mut collector, end) {
                return report
                    .unreadable
                    .push(format!("generation {id} from sequence {at}: {error}"));
            }
            report.records += collector.batch.records.len() as u64;
            report.bytes += collector
                .batch
                .records
                .iter()
                .map(|record| record.bytes.len() as u64)
                .sum::<u64>();
            let missing = self.lost_of(id, collector.take_missing());
            report
                .damage
                .extend(missing.into_iter().map(|(first, last)| Damage {
                    generation: id,
                    first,
                    last,
                }));
            at = collector.batch.next.max(at + 1);
        }
    }

    /// What of the missing sequences was not left out on purpose.
    fn lost_of(&self, id: u64, missing: Vec<(Sequence, Sequence)>) -> Vec<(Sequence, Sequence)> {
        match locked(&self.catalog).generation_mut(id) {
            Some(generation) => missing
                .iter()
                .flat_map(|(first, last)| generation.missing_in(*first, *last))
                .collect(),
            None => missing,
        }
    }
}

/// Reads until the collector is full; at the end of the generation what is left counts as missing.
fn read_on(
    engine: &Engine,
    collector: &mut Collector<'_>,
    end: Sequence,
) -> Result<(), EngineError> {
    collector.take_blocks(engine)?;
    if !collector.is_full() {
        collector.pass_gap(end);
    }
    Ok(())
}
