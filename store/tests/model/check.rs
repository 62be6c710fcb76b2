//! What must hold: the store shows exactly what the model says, and lets go only of what it may.

use crate::model::{Position, Record};
use crate::op::{Limit, Op, read_limit};
use crate::side_by_side::{Run, lanes_and_classes, name};
use std::collections::BTreeSet;
use std::ops::Range;
use tidegate_store::{DeadLetter, GenerationInfo, GenerationState, ReadBatch, ReadLimit, Sequence};

/// A stored cursor has room for at least so many gaps; beyond that the highest ones may be forgotten.
const GAPS_STORED: usize = 140;
/// One call may stop after it has looked at 4 MiB.
const LOOKED_AT_MAX: usize = 3 << 20;

/// Compares everything that needs no disk. `op` is what was done last.
pub(crate) fn state(run: &mut Run, op: &Op) {
    let generations = run.store().stats().generations;
    ranges(run, &generations);
    for gone in gone(&run.generations, &generations) {
        may_go(run, op, &gone);
    }
    let newest = |of: &[GenerationInfo]| of.last().map(|last| last.id);
    if newest(&generations) > newest(&run.generations) {
        run.model.note_written();
    }
    for rewritten in &generations {
        let before = run.generations.iter().find(|g| g.id == rewritten.id);
        if before.is_some_and(|before| before.records > rewritten.records) {
            let range = rewritten.first..rewritten.end;
            match op {
                Op::Shed(_) => kept_between_steps(run, range),
                _ => run.model.keep_wanted(range),
            }
        }
    }
    let is_held = |at: &Sequence| generations.iter().any(|g| g.first <= *at && *at < g.end);
    run.model.records.retain(|at, _| is_held(at));
    run.generations = generations;
    if matches!(op, Op::Persist) {
        nothing_expired(run);
    }
    positions(run);
    books(run);
    let store = run.store();
    let marks: Vec<_> = run.model.marks.clone().into_iter().collect();
    let mut found = store.marks_with_prefix(b"");
    // The sums of what was given up are the store's own.
    found.retain(|(key, _)| !key.starts_with(b"\0gap/"));
    assert_eq!(found, marks);
    assert_eq!(store.dead_letter_count(), run.model.letters.len() as u64);
    let stats = store.stats();
    assert!(stats.damage.is_empty() && stats.quarantined.is_empty() && !stats.blobs);
}

/// One that was written anew between two steps of shedding has what was wanted then: at least what is wanted now.
fn kept_between_steps(run: &mut Run, range: Range<Sequence>) {
    let limit = ReadLimit {
        records: usize::MAX,
        bytes: usize::MAX,
    };
    let found = run.store().scan(range.start, range.end, limit).unwrap();
    let kept: BTreeSet<_> = found.records.iter().map(|record| record.sequence).collect();
    let lost = range
        .clone()
        .find(|at| run.model.is_wanted(*at) && !kept.contains(at));
    assert_eq!(lost, None, "left out although it was wanted");
    run.model
        .records
        .retain(|at, _| !range.contains(at) || kept.contains(at));
}

/// The generations follow each other, up to the end of the log; some may have gone from the middle.
fn ranges(run: &mut Run, generations: &[GenerationInfo]) {
    let next = run.model.next;
    assert_eq!(run.writer().next_sequence(), next);
    let store = run.store();
    assert_eq!(store.end(), next);
    assert!(
        generations
            .windows(2)
            .all(|pair| pair[0].id < pair[1].id && pair[0].end <= pair[1].first)
    );
    assert_eq!(generations.last().map(|last| last.end), Some(next));
    assert_eq!(generations.first().map(|g| g.first), Some(store.first()));
    let held: u64 = generations.iter().map(|g| g.records).sum();
    assert_eq!(store.stats().events, held);
}

fn gone(before: &[GenerationInfo], now: &[GenerationInfo]) -> Vec<GenerationInfo> {
    let kept: BTreeSet<_> = now.iter().map(|generation| generation.id).collect();
    let gone = before.iter().filter(|before| !kept.contains(&before.id));
    gone.cloned().collect()
}

/// A generation may go when every lane is done with it and it is old enough, or the cap needs the room.
fn may_go(run: &mut Run, op: &Op, gone: &GenerationInfo) {
    if gone.first == gone.end {
        return;
    }
    run.done.deleted += 1;
    let wanted = (gone.first..gone.end).find(|at| run.model.is_wanted(*at));
    assert_eq!(wanted, None, "deleted before it was delivered");
    let capped = run.settings.max_size_bytes < 1 << 30;
    let allowed = match op {
        Op::Commit { .. } | Op::Retry { .. } | Op::Shed(_) | Op::Expire => {
            capped || is_old(run, gone)
        }
        Op::Persist => is_old(run, gone),
        _ => false,
    };
    assert!(allowed, "{gone:?} went at {op:?}");
}

fn is_old(run: &Run, generation: &GenerationInfo) -> bool {
    let keep_for_ms = run.settings.keep_for_ms;
    let records = run.model.records.range(generation.first..generation.end);
    let newest = records.map(|(_, record)| record.time_ms).max().unwrap_or(0);
    let now_ms = run.model.now_ms.max(run.now_before_ms);
    keep_for_ms == 0 || now_ms.is_some_and(|now_ms| now_ms.saturating_sub(newest) >= keep_for_ms)
}

/// After the idle call the oldest generation is there for a reason.
fn nothing_expired(run: &Run) {
    let oldest = &run.generations[0];
    let needed = oldest.state == GenerationState::Writing || oldest.pending;
    assert!(
        needed || !is_old(run, oldest),
        "{oldest:?} should have gone"
    );
}

/// A commit was refused: nothing could have been deleted for it.
pub(crate) fn nothing_could_go(run: &Run) {
    let generations = run.store().stats().generations;
    let sealed = |g: &&GenerationInfo| g.state != GenerationState::Writing;
    let done = generations.iter().filter(sealed).find(|g| !g.pending);
    assert_eq!(done, None, "it could have gone");
}

/// Cursors and backlogs.
fn positions(run: &Run) {
    let (store, model) = (run.store(), &run.model);
    let mut lanes: Vec<_> = model
        .lanes
        .iter()
        .map(|(id, lane)| (*id, name(lane.slot)))
        .collect();
    lanes.sort();
    let found: Vec<_> = store
        .lanes()
        .into_iter()
        .map(|lane| (lane.id, lane.name))
        .collect();
    assert_eq!(found, lanes);
    for (lane, class) in lanes_and_classes(model) {
        let expected = model.lanes[&lane].positions[usize::from(class)].cursor();
        assert_eq!(
            store.cursor(lane, class),
            expected,
            "lane {lane} class {class}"
        );
    }
    for lane in model.lanes.keys() {
        let backlog = store.backlog(*lane);
        assert_eq!(backlog.events, model.pending(*lane), "backlog of {lane}");
        assert_eq!(backlog.oldest_time_ms.is_some(), backlog.events > 0);
    }
}

/// What was accepted for a lane is settled or still to be delivered; a generation knows whether it is needed.
fn books(run: &Run) {
    for (id, lane) in &run.model.lanes {
        let events = run.store().backlog(*id).events;
        assert_eq!(
            lane.accepted,
            lane.settled + lane.shed + events,
            "books of lane {id}"
        );
    }
    for generation in &run.generations {
        let held = run.model.records.range(generation.first..generation.end);
        assert_eq!(generation.records, held.count() as u64, "{generation:?}");
        let wanted = (generation.first..generation.end).any(|at| run.model.is_wanted(at));
        assert_eq!(generation.pending, wanted, "{generation:?}");
    }
}

/// One answer of the store: all that is wanted in what it looked at, nothing else, and as much as the limits allow.
pub(crate) fn batch(
    run: &Run,
    batch: &ReadBatch,
    range: Range<Sequence>,
    limit: Limit,
    wanted: impl Fn(&Record) -> bool,
) {
    let seen = run
        .model
        .records
        .range(range.start..batch.next.max(range.start));
    let expected: Vec<_> = seen.filter(|(_, record)| wanted(record)).collect();
    let sequences: Vec<_> = batch.records.iter().map(|found| found.sequence).collect();
    assert!(
        sequences.iter().eq(expected.iter().map(|(at, _)| *at)),
        "{sequences:?}"
    );
    for (found, (_, record)) in batch.records.iter().zip(&expected) {
        assert_eq!(
            (found.time_ms, &found.bytes[..]),
            (record.time_ms, &record.bytes[..])
        );
    }
    let sizes: Vec<_> = batch
        .records
        .iter()
        .map(|found| found.bytes.len())
        .collect();
    let total: usize = sizes.iter().sum();
    let before_last = total - sizes.last().unwrap_or(&0);
    assert!(sizes.len() <= limit.records.max(1));
    assert!(sizes.len() <= 1 || before_last < limit.bytes);
    let full = sizes.len() >= limit.records.max(1) || (!sizes.is_empty() && total >= limit.bytes);
    let held: usize = run
        .model
        .records
        .values()
        .map(|record| record.bytes.len())
        .sum();
    assert!(batch.next <= range.end.max(range.start.max(1)));
    if !full && held < LOOKED_AT_MAX {
        assert!(batch.next >= range.end, "more could have been read");
    }
    assert!(batch.next > range.start || range.start >= range.end);
}

/// A list of dead letters.
pub(crate) fn letters(run: &Run, from: u8, limit: usize) {
    let from = (u64::from(from) * 300, 1);
    let expected = run.model.letters.range(from..).take(limit);
    let expected: Vec<_> = expected
        .map(|(id, bytes)| DeadLetter {
            id: *id,
            bytes: bytes.clone(),
        })
        .collect();
    assert_eq!(run.store().dead_letters(from, limit), Ok(expected));
}

/// Reads everything: the log, each lane, the dead letters.
pub(crate) fn content(run: &Run) {
    let end = run.model.next;
    let limit = Limit {
        records: 50,
        bytes: 100_000,
    };
    let mut at = 1;
    while at < end {
        let found = run.store().scan(at, end, read_limit(limit)).unwrap();
        batch(run, &found, at..end, limit, |_| true);
        at = found.next;
    }
    letters(run, 0, usize::MAX);
    for (id, bytes) in &run.model.letters {
        assert_eq!(
            run.store().dead_letter(*id).as_ref(),
            Ok(&Some(bytes.clone()))
        );
    }
}

/// After an opening: nothing is missing or new, and no position is further than it was, or behind what was written.
pub(crate) fn recovered(run: &mut Run) {
    let report = run.store().open_report().clone();
    assert!(
        report.quarantined.is_empty() && report.damage.is_empty(),
        "{report:?}"
    );
    assert!(
        report.ignored.is_empty() && report.taken_back == 0,
        "{report:?}"
    );
    for (lane, class) in lanes_and_classes(&run.model) {
        let cursor = run.store().cursor(lane, class);
        let came_back = Position::of(&cursor);
        let of = &run.model.lanes[&lane];
        let (was, written) = (
            &of.positions[usize::from(class)],
            &of.written[usize::from(class)],
        );
        let forward = (1..run.model.next).find(|at| came_back.contains(*at) && !was.contains(*at));
        assert_eq!(forward, None, "lane {lane} class {class} went forward");
        if written.cursor().above.len() <= GAPS_STORED {
            let mut routed = run.model.routed(lane, class, 0);
            let lost = routed.find(|at| written.contains(*at) && !came_back.contains(*at));
            assert_eq!(
                lost, None,
                "lane {lane} class {class} fell behind what was written"
            );
        }
        let settled = of.settled;
        run.model.adopt(lane, class, &cursor);
        run.done.fell_back += settled - run.model.lanes[&lane].settled;
    }
    run.model.note_written();
    let last = run.store().stats().generations.pop().unwrap();
    let records = run.model.records.range(last.first..last.end);
    run.model.now_ms = records.map(|(_, record)| record.time_ms).max();
}
