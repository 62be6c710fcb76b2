//! Reads everything there is and reports what cannot be read; changes nothing.

use crate::Sequence;
use crate::collector::{Collector, Wanted};
use crate::engine::Engine;
use crate::read::ReadLimit;
use crate::shared::Shared;
use crate::status::{Damage, VerifyReport};
use std::path::Path;

impl Shared {
    /// See [`crate::Store::verify`].
    pub(crate) fn verify(&self, mut progress: impl FnMut(u64, u64)) -> VerifyReport {
        let mut report = VerifyReport::default();
        let targets: Vec<_> = {
            let state = self.state();
            let target = |g: &crate::generation::Generation| {
                (
                    g.id,
                    g.summary.first,
                    g.summary.end,
                    g.summary.payload_bytes,
                )
            };
            state.generations.iter().map(target).collect()
        };
        let total = targets.iter().map(|(_, _, _, bytes)| bytes).sum();
        let mut done = 0;
        for (id, first, end, bytes) in targets {
            self.verify_generation(id, first, end, &mut report);
            done += bytes;
            progress(done, total);
        }
        match self.dead.missing() {
            0 => (),
            missing => report
                .unreadable
                .push(format!("dead letters: {missing} are missing")),
        }
        match self.dead.verify() {
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
        let engine = match self.open_generation(id) {
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
}

impl Shared {
    /// What of the missing sequences was not left out on purpose.
    fn lost_of(&self, id: u64, missing: Vec<(Sequence, Sequence)>) -> Vec<(Sequence, Sequence)> {
        match self.state().generation_mut(id) {
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
) -> Result<(), crate::engine::EngineError> {
    engine.blocks(collector.batch.next, |key, value| {
        collector.take_entry(key, value)
    })?;
    if !collector.is_full() {
        collector.pass_gap(end);
    }
    Ok(())
}

/// True if nothing under `dir` needs to be told to an operator.
pub(crate) fn is_known_name(name: &Path) -> bool {
    let known = [
        "format",
        "lock",
        "high_water",
        "holes",
        "ballast",
        "generations",
        "dead-letters",
        "quarantine",
        "lost+found",
    ];
    known.iter().any(|known| name == Path::new(known))
}
