//! Giving up what was not delivered, a generation at a time. The account of a step (a record of the caller's making), the
//! cursors that pass over what is given up, and the sums are one commit: after a crash there is all of it or nothing.
//!
//! Within a class a lane loses its oldest records first, so that its cursor only moves its low-water mark: what was
//! given up and counted cannot come back.

use crate::api::error::CommitError;
use crate::api::gap::{Gap, GapReason, total_key};
use crate::api::limits::CLASSES;
use crate::append::appender::Appender;
use crate::append::commit::Commit;
use crate::catalog::open_generations::OpenGenerations;
use crate::catalog::{Catalog, CursorAdvance};
use crate::engine::failure::EngineError;
use crate::engine::lock::locked;
use crate::engine::sled::Engine;
use crate::format::route::{route_byte, route_parts};
use crate::read::acknowledging::Acknowledging;
use crate::read::records::each_record;
use crate::{LaneId, Sequence};
use std::sync::{Arc, Mutex};

/// How a caller takes part in a step.
pub struct GapWriter<'a> {
    /// Gives a record's label from its bytes: its source.
    pub label: &'a mut dyn FnMut(&[u8]) -> String,
    /// Adds the account's record to the commit that makes the step durable.
    pub record: &'a mut dyn FnMut(&Gap, &mut Commit),
}

/// A generation and the classes to give up in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Target {
    pub(super) id: u64,
    pub(super) first: Sequence,
    pub(super) end: Sequence,
    pub(super) classes: u8,
}

/// A record that some lane may not have acknowledged yet.
struct Candidate {
    sequence: Sequence,
    time_ms: u64,
    bytes: u64,
    label: usize,
    routes: Vec<u8>,
}

/// See the module.
#[derive(Clone)]
pub(crate) struct GivingUp {
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) open: Arc<OpenGenerations>,
    pub(crate) acknowledging: Arc<Acknowledging>,
}

impl GivingUp {
    /// One step. `Ok(None)`: all of it was acknowledged meanwhile.
    pub(super) fn step(
        &self,
        appender: &mut Appender,
        target: Target,
        reason: GapReason,
        gap_writer: &mut GapWriter<'_>,
    ) -> Result<Option<Gap>, CommitError> {
        if appender.generation() == target.id {
            appender.rotate().map_err(|error| CommitError::Failed {
                replaced: appender.is_open(),
                why: error.to_string(),
            })?;
        }
        let failed = |why: String| CommitError::Failed {
            replaced: false,
            why: format!("generation {} cannot be shed: {why}", target.id),
        };
        let engine = match self.open.open(target.id) {
            Ok(Some(engine)) => engine,
            // It went to quarantine just now.
            Ok(None) => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        let mut labels = Vec::new();
        let candidates = candidates(&engine, target, &mut labels, gap_writer.label);
        let (candidates, missing) = candidates.map_err(|error| failed(error.to_string()))?;
        drop(engine);
        if !missing.is_empty() {
            // The cursors go past it: it is told as lost, for it cannot be counted as given up.
            locked(&self.catalog).note_missing(target.id, &missing);
        }
        // From here until it is on the disk nothing is confirmed: each delivery has one fate.
        let _no_confirms = self.acknowledging.hold();
        let (gap, advances) = account(&locked(&self.catalog), target, reason, &candidates, &labels);
        let mut commit = Commit::new();
        if gap.records > 0 {
            (gap_writer.record)(&gap, &mut commit);
            commit.check()?;
        }
        self.add_to_totals(&gap, &mut commit);
        appender.commit_with(&commit, &advances)?;
        Ok((gap.records > 0).then_some(gap))
    }

    fn add_to_totals(&self, gap: &Gap, commit: &mut Commit) {
        let catalog = locked(&self.catalog);
        for lane in &gap.lanes {
            let key = total_key(&lane.name, lane.class, gap.reason);
            let before = catalog.marks.get(&key);
            let before = before.and_then(|value| value.as_slice().try_into().ok());
            let events = before.map_or(0, u64::from_le_bytes) + lane.events;
            commit.mark(&key, &events.to_le_bytes());
        }
    }
}

/// What cannot be read.
type Missing = Vec<(Sequence, Sequence)>;

fn candidates(
    engine: &Arc<Engine>,
    target: Target,
    labels: &mut Vec<String>,
    label: &mut dyn FnMut(&[u8]) -> String,
) -> Result<(Vec<Candidate>, Missing), EngineError> {
    let mut found = Vec::new();
    let in_classes = |route: &u8| target.classes >> route_parts(*route).1 & 1 == 1;
    let wanted = |_, routes: &[u8]| routes.iter().any(in_classes);
    let missing = each_record(engine, target.first..target.end, wanted, |record| {
        let routes = record.routes.iter().copied().filter(in_classes).collect();
        let label = label(record.bytes);
        let at = labels.iter().position(|known| *known == label);
        found.push(Candidate {
            sequence: record.sequence,
            time_ms: record.time_ms,
            bytes: record.bytes.len() as u64,
            label: at.unwrap_or_else(|| {
                labels.push(label);
                labels.len() - 1
            }),
            routes,
        });
    })?;
    Ok((found, missing))
}

/// What of the candidates is still waited for, and how far the cursors move. Lanes without anything unacknowledged in the
/// generation stay where they are.
fn account(
    catalog: &Catalog,
    target: Target,
    reason: GapReason,
    candidates: &[Candidate],
    labels: &[String],
) -> (Gap, Vec<CursorAdvance>) {
    let waits = |route: u8, sequence: Sequence| {
        let (lane, class) = route_parts(route);
        let position = catalog.position(lane, class);
        position.is_some_and(|position| !position.done.contains(sequence))
    };
    let mut gap = Gap::new(reason);
    let mut events = [0u64; 256];
    for candidate in candidates {
        let mut waited_for = false;
        for &route in &candidate.routes {
            if waits(route, candidate.sequence) {
                events[usize::from(route)] += 1;
                waited_for = true;
            }
        }
        if waited_for {
            gap.count_record(candidate.sequence, candidate.time_ms, candidate.bytes);
            gap.count_label(labels.get(candidate.label).map_or("", String::as_str));
        }
    }
    let generation = catalog.generations.iter().find(|g| g.id == target.id);
    let unacknowledged =
        |lane: LaneId, class: u8| generation.map_or(0, |g| g.unacknowledged(lane, class));
    let mut advances = Vec::new();
    for class in (0..CLASSES as u8).filter(|class| target.classes >> class & 1 == 1) {
        for (&lane, found) in &catalog.lanes {
            let events = events[usize::from(route_byte(lane, class))];
            if events > 0 {
                gap.count_lane(lane, &found.name, class, events);
            }
            if events > 0 || unacknowledged(lane, class) > 0 {
                advances.push(CursorAdvance {
                    lane,
                    class,
                    end: target.end,
                });
            }
        }
    }
    (gap, advances)
}
