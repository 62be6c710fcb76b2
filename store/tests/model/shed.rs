//! Shedding and expiry beside the model: each step takes the least urgent first and of that the oldest, its account
//! names exactly what nobody will get, and the accounts themselves are records.

use crate::model::{Position, Record};
use crate::side_by_side::{Run, lanes_and_classes};
use std::collections::BTreeSet;
use std::ops::Range;
use tidegate_store::{Append, Commit, CommitError, Gap, GapReason, GapWriter, Sequence, Shed};

/// Does one call, and keeps the books.
pub(crate) fn give_up(run: &mut Run, call: impl FnOnce(&mut Run, GapWriter<'_>) -> Shed) {
    let mut accounts = Vec::new();
    let mut label = |bytes: &[u8]| bytes.first().map_or(0, |byte| byte % 2).to_string();
    let mut record = |gap: &Gap, commit: &mut Commit| {
        let bytes = format!("{gap:?}").into_bytes();
        commit.push(Append {
            routes: &[],
            time_ms: gap.time_max_ms,
            bytes: &bytes,
        });
        accounts.push(Record {
            time_ms: gap.time_max_ms,
            routes: BTreeSet::new(),
            bytes,
        });
    };
    let ends = ends(run);
    let next = run.model.next;
    let gap_writer = GapWriter {
        label: &mut label,
        record: &mut record,
    };
    let shed = call(run, gap_writer);
    assert_eq!(accounts.len(), shed.gaps.len());
    for (gap, account) in shed.gaps.iter().zip(accounts) {
        check_step(run, gap, &ends);
        run.model.now_ms = Some(account.time_ms);
        run.model.append(account);
        run.done.shed += gap.events();
    }
    pass_accounts(run, next);
    match shed.room {
        Ok(()) => {}
        Err(CommitError::Full { .. }) => {
            run.done.full += 1;
            let pending: u64 = run
                .model
                .lanes
                .keys()
                .map(|lane| run.model.pending(*lane))
                .sum();
            assert!(
                pending == 0 || !run.settings.sheds,
                "there was more to give up"
            );
            assert!(run.settings.sheds || shed.gaps.is_empty());
        }
        Err(other) => panic!("{other:?}"),
    }
}

/// Accounts that went to a generation before it was given up itself are passed with it; nobody waits for them.
fn pass_accounts(run: &mut Run, next: Sequence) {
    for (lane, class) in lanes_and_classes(&run.model) {
        let found = Position::of(&run.store().cursor(lane, class));
        let passed = (next..run.model.next).filter(|at| found.contains(*at));
        let position = &mut run.model.lanes.get_mut(&lane).unwrap().positions[usize::from(class)];
        passed.for_each(|at| position.insert(at..=at));
    }
}

/// The generations as they were before the call.
fn ends(run: &Run) -> Vec<Range<Sequence>> {
    let generations = run.generations.iter();
    generations
        .map(|generation| generation.first..generation.end)
        .collect()
}

/// One account against what the model knows; what it names is given up in the model too.
fn check_step(run: &mut Run, gap: &Gap, generations: &[Range<Sequence>]) {
    let range = generations
        .iter()
        .find(|range| range.contains(&gap.first))
        .expect("the account of a generation that was there")
        .clone();
    assert!(range.contains(&gap.last));
    let classes = match gap.reason {
        GapReason::Shed => gap.lanes[0].class..gap.lanes[0].class + 1,
        GapReason::Expired => 0..4,
    };
    for class in 0..classes.start {
        let open = run.model.open_in_class(class, 0..run.model.next);
        assert_eq!(open, [], "class {class} should have gone first");
    }
    let mut records = BTreeSet::new();
    let mut lanes = Vec::new();
    for class in classes {
        let older = run.model.open_in_class(class, 0..range.start);
        assert_eq!(older, [], "older ones should have gone first");
        let found = run.model.open_in_class(class, range.clone());
        records.extend(found.iter().map(|(_, at)| *at));
        for lane in run.model.lanes.keys().copied().collect::<Vec<_>>() {
            let events = found.iter().filter(|(of, _)| *of == lane).count() as u64;
            if events > 0 {
                lanes.push((lane, class, events));
                run.model.give_up(lane, class, range.end);
            }
        }
    }
    let named = gap.lanes.iter().map(|of| (of.lane, of.class, of.events));
    assert!(named.eq(lanes), "{gap:?}");
    let bytes = records
        .iter()
        .map(|at| run.model.records[at].bytes.len() as u64);
    assert_eq!(gap.bytes, bytes.sum::<u64>());
    assert_eq!(gap.records, records.len() as u64);
    assert_eq!(Some(&gap.first), records.first());
    assert_eq!(Some(&gap.last), records.last());
    let labelled: u64 = gap.labels.iter().map(|(_, count)| count).sum();
    assert_eq!(labelled + gap.other_labels, gap.records);
}
