//! Giving up what was not delivered: by class when the room is needed, by age when it is over. One step takes one
//! generation. Its account (a record of the caller's making), the cursors that pass over what is given up, and the sums
//! are one commit: after a crash there is all of it or nothing.
//!
//! Within a class a lane loses its oldest records first, so that its cursor only moves its low-water mark: what was
//! given up and counted cannot come back.

use crate::commit::Commit;
use crate::engine::Engine;
use crate::gap::{Gap, GapReason, WhenFull, total_key};
use crate::layout::CLASSES;
use crate::records::each_record;
use crate::shared::{Shared, WriteHalf, locked};
use crate::state::State;
use crate::write::Claim;
use crate::{CommitError, LaneId, Sequence, layout};
use std::sync::Arc;

/// How a caller takes part in a step.
pub struct Teller<'a> {
    /// Gives a record's label from its bytes: its source.
    pub label: &'a mut dyn FnMut(&[u8]) -> String,
    /// Adds the account's record to the commit that makes the step durable.
    pub record: &'a mut dyn FnMut(&Gap, &mut Commit),
}

/// What came of giving up records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shed {
    /// The steps that became durable.
    pub gaps: Vec<Gap>,
    /// Whether there is room now. `Full` or `NoSpace`: nothing is left to give up.
    pub room: Result<(), CommitError>,
}

/// A generation and the classes to give up in it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Target {
    id: u64,
    first: Sequence,
    end: Sequence,
    classes: u8,
}

/// A record that some lane may still be waiting for.
struct Candidate {
    sequence: Sequence,
    time_ms: u64,
    bytes: u64,
    label: usize,
    routes: Vec<u8>,
}

impl Shared {
    /// Makes room for a commit of `bytes`, giving up the lowest class first and of that the oldest.
    pub(crate) fn shed(&self, half: &mut WriteHalf, bytes: u64, teller: &mut Teller<'_>) -> Shed {
        let mut gaps = Vec::new();
        // What begins meanwhile holds the accounts of this call; they are not its prey.
        let last = self.state().generations.back().map_or(0, |last| last.id);
        // A generation's worth at once: giving up a little with every commit would leave nothing but accounts.
        let enough_bytes = bytes.saturating_add(self.generation_bytes());
        let room = loop {
            let full = match self.make_room(half, enough_bytes) {
                Err(full @ (CommitError::Full { .. } | CommitError::NoSpace { .. })) => full,
                other => break other,
            };
            if self.options.when_full == WhenFull::Refuse {
                break Err(full);
            }
            let target = least_urgent(&self.state(), last);
            let Some(target) = target else {
                break self.make_room(half, bytes);
            };
            match self.give_up(half, target, GapReason::Shed, teller) {
                Ok(gap) => gaps.extend(gap),
                Err(error) => break Err(error),
            }
        };
        Shed { gaps, room }
    }

    /// Gives up what is older than `expire_after`, whatever its class.
    pub(crate) fn expire(&self, half: &mut WriteHalf, teller: &mut Teller<'_>) -> Shed {
        let mut gaps = Vec::new();
        let room = loop {
            let Some(expire_after_ms) = self.options.expire_after_ms else {
                break Ok(());
            };
            self.rotate_for_expiry(half, expire_after_ms);
            let Some(target) = overdue(&self.state(), expire_after_ms) else {
                break Ok(());
            };
            match self.give_up(half, target, GapReason::Expired, teller) {
                Ok(gap) => gaps.extend(gap),
                Err(error) => break Err(error),
            }
        };
        Shed { gaps, room }
    }

    /// Records expire a generation at a time: one that is written to for long is ended, so that they go not much later
    /// than they should.
    fn rotate_for_expiry(&self, half: &mut WriteHalf, expire_after_ms: u64) {
        let long = {
            let state = self.state();
            let now_ms = state.clock.now_ms();
            state.generations.back().is_some_and(|last| {
                let age_ms = now_ms.saturating_sub(last.begun_ms);
                !last.sealed && !last.summary.is_empty() && age_ms >= expire_after_ms / 4
            })
        };
        if long {
            // A failure leaves the writer where it was; the next call tries again.
            let _ = self.rotate(half);
        }
    }

    /// One step. `Ok(None)`: nobody was waiting for any of it any more.
    fn give_up(
        &self,
        half: &mut WriteHalf,
        target: Target,
        reason: GapReason,
        teller: &mut Teller<'_>,
    ) -> Result<Option<Gap>, CommitError> {
        if half.generation == target.id {
            self.rotate(half).map_err(|error| CommitError::Failed {
                replaced: half.engine.is_some(),
                why: error.to_string(),
            })?;
        }
        let failed = |why: String| CommitError::Failed {
            replaced: false,
            why: format!("generation {} cannot be shed: {why}", target.id),
        };
        let engine = match self.open_generation(target.id) {
            Ok(Some(engine)) => engine,
            // It went to quarantine just now.
            Ok(None) => return Ok(None),
            Err(error) => return Err(failed(error.to_string())),
        };
        let mut labels = Vec::new();
        let candidates = candidates(&engine, target, &mut labels, teller.label);
        let candidates = candidates.map_err(|error| failed(error.to_string()))?;
        drop(engine);
        // From here until it is on the disk nothing is confirmed: each delivery has one fate.
        let _no_confirms = locked(&self.confirming);
        let (gap, claims) = account(&self.state(), target, reason, &candidates, &labels);
        let mut commit = Commit::new();
        if gap.records > 0 {
            (teller.record)(&gap, &mut commit);
            commit.check()?;
        }
        self.add_to_totals(&gap, &mut commit);
        self.commit_with(half, &commit, &claims)?;
        Ok((gap.records > 0).then_some(gap))
    }

    fn add_to_totals(&self, gap: &Gap, commit: &mut Commit) {
        let state = self.state();
        for lane in &gap.lanes {
            let key = total_key(&lane.name, lane.class, gap.reason);
            let before = state.marks.get(&key);
            let before = before.and_then(|value| value.as_slice().try_into().ok());
            let events = before.map_or(0, u64::from_le_bytes) + lane.events;
            commit.mark(&key, &events.to_le_bytes());
        }
    }
}

/// The lowest class that somebody waits for, and the oldest generation that holds any of it.
fn least_urgent(state: &State, last: u64) -> Option<Target> {
    (0..CLASSES as u8).find_map(|class| {
        let mut candidates = state.generations.iter().filter(|g| g.id <= last);
        let found = candidates.find(|generation| generation.is_pending_in(class))?;
        Some(Target {
            id: found.id,
            first: found.summary.first,
            end: found.summary.end,
            classes: 1 << class,
        })
    })
}

/// The oldest generation somebody waits for, if all of it is older than `expire_after_ms`.
fn overdue(state: &State, expire_after_ms: u64) -> Option<Target> {
    let oldest = state.generations.iter().find(|g| !g.is_done())?;
    let age_ms = state.clock.now_ms().saturating_sub(oldest.newest_ms);
    let due = oldest.sealed && age_ms >= expire_after_ms;
    due.then_some(Target {
        id: oldest.id,
        first: oldest.summary.first,
        end: oldest.summary.end,
        classes: 0b1111,
    })
}

fn candidates(
    engine: &Arc<Engine>,
    target: Target,
    labels: &mut Vec<String>,
    label: &mut dyn FnMut(&[u8]) -> String,
) -> Result<Vec<Candidate>, crate::engine::EngineError> {
    let mut found = Vec::new();
    each_record(engine, target.first, target.end, |record| {
        let wanted = |route: &u8| target.classes >> layout::route_parts(*route).1 & 1 == 1;
        let routes: Vec<u8> = record.routes.iter().copied().filter(wanted).collect();
        if routes.is_empty() {
            return;
        }
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
    Ok(found)
}

/// What of the candidates is still waited for, and how far the cursors move. Lanes without anything pending in the
/// generation stay where they are.
fn account(
    state: &State,
    target: Target,
    reason: GapReason,
    candidates: &[Candidate],
    labels: &[String],
) -> (Gap, Vec<Claim>) {
    let waits = |route: u8, sequence: Sequence| {
        let (lane, class) = layout::route_parts(route);
        let position = state.position(lane, class);
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
    let generation = state.generations.iter().find(|g| g.id == target.id);
    let pending = |lane: LaneId, class: u8| generation.map_or(0, |g| g.pending(lane, class));
    let mut claims = Vec::new();
    for class in (0..CLASSES as u8).filter(|class| target.classes >> class & 1 == 1) {
        for (&lane, found) in &state.lanes {
            let events = events[usize::from(layout::route_byte(lane, class))];
            if events > 0 {
                gap.count_lane(lane, &found.name, class, events);
            }
            if events > 0 || pending(lane, class) > 0 {
                claims.push(Claim {
                    lane,
                    class,
                    end: target.end,
                });
            }
        }
    }
    (gap, claims)
}
