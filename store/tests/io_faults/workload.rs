//! A store at work while its disk fails: openings, commits over several generations, confirmations, dead letters,
//! orderly ends. It behaves as a gateway does: what was refused is offered again, what its mark says is stored is not.

use crate::ledger::{Ledger, PARTS, record};
use std::path::Path;
use tidegate_store::{Append, Commit, Options, ReadLimit, Route, Store, Writer, open};

/// Items of the first life and of the second.
const LIVES: [std::ops::Range<u64>; 2] = [0..10, 10..15];
/// How often a refused commit is offered again in one life.
const ATTEMPTS: u32 = 3;

pub(crate) fn options(dir: &Path) -> Options {
    Options {
        generation_bytes: 1_000,
        keep_for_ms: 0,
        ballast_bytes: 64 << 10,
        free_bytes_min: 0,
        tail_bytes: 2_000,
        cache_bytes: 1 << 18,
        ..Options::new(dir)
    }
}

/// Runs all lives. Whatever fails is noted; nothing may panic.
pub(crate) fn run(dir: &Path, ledger: &mut Ledger) {
    for items in LIVES {
        match open(options(dir)) {
            Ok((writer, store)) => {
                ledger.check_report(&store);
                live(writer, store, items, ledger);
            }
            Err(error) => ledger.not_opened(dir, &error),
        }
    }
}

/// One life of the process; at its end the handles are dropped in order.
pub(crate) fn live(
    mut writer: Writer,
    store: Store,
    items: std::ops::Range<u64>,
    ledger: &mut Ledger,
) {
    let lane = match store.lane("cloud") {
        Ok(lane) => lane,
        Err(error) => return ledger.errors.push(error.to_string()),
    };
    ledger.has_lane = true;
    for item in items {
        // A commit that was refused and came to light after a restart is recognised by its mark.
        if store.mark(&item.to_le_bytes()).is_none() {
            offer(&mut writer, lane, item, ledger);
        }
        forward(&store, lane, ledger);
        letters(&store, item, ledger);
        if item % 3 == 0
            && let Err(error) = writer.persist_cursors_if_dirty()
        {
            ledger.errors.push(error.to_string());
        }
    }
}

fn offer(writer: &mut Writer, lane: u16, item: u64, ledger: &mut Ledger) {
    for _ in 0..ATTEMPTS {
        let attempt = ledger.next_attempt();
        let bytes: Vec<_> = (0..PARTS).map(|part| record(item, attempt, part)).collect();
        let mut commit = Commit::new();
        for bytes in &bytes {
            commit.push(Append {
                routes: &[Route { lane, class: 1 }],
                time_ms: 1_000 + item,
                bytes,
            });
        }
        commit.mark(&item.to_le_bytes(), &attempt.to_le_bytes());
        ledger.begin_ack();
        match writer.commit(&commit) {
            Ok(committed) => {
                ledger.acked("commit");
                return ledger.accepted(item, attempt, committed.first, &bytes);
            }
            Err(error) => ledger.refused(item, attempt, &error),
        }
    }
    ledger.given_up.push(item);
}

/// Delivers a few records and confirms all but the last.
fn forward(store: &Store, lane: u16, ledger: &mut Ledger) {
    let from = store.cursor(lane, 1).low;
    let limit = ReadLimit {
        records: 5,
        bytes: 100_000,
    };
    match store.read(lane, 1, from, limit) {
        Ok(batch) => {
            let mut delivered = Vec::new();
            for found in &batch.records {
                ledger.delivered(found.sequence, &found.bytes);
                delivered.push(found.sequence);
            }
            delivered.pop();
            store.confirm(lane, 1, &delivered);
            ledger.confirmed.extend(delivered);
        }
        Err(error) => ledger.errors.push(error.to_string()),
    }
}

/// One letter for each item; every third time the one before goes.
fn letters(store: &Store, item: u64, ledger: &mut Ledger) {
    let bytes = record(item, 0, 9).repeat(20);
    ledger.begin_ack();
    let put = store.put_dead_letter((item, 0), &bytes);
    if put.is_ok() {
        ledger.acked("put_dead_letter");
    }
    ledger.letter_put(item, bytes, put);
    if item % 3 == 2 {
        ledger.begin_ack();
        let removed = store.remove_dead_letter((item - 1, 0));
        if removed == Ok(true) {
            ledger.acked("remove_dead_letter");
        }
        ledger.letter_removed(item - 1, removed);
    }
    match store.dead_letters((0, 0), 100) {
        Ok(found) => ledger.letters_listed(found),
        Err(error) => ledger.errors.push(error.to_string()),
    }
}
