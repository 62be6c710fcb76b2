//! The store against a plain model: cases of random operations, with reopening, crashes and changed settings; after each
//! step the store must equal the model, apart from confirmations that a crash may undo.
//!
//! `TIDEGATE_SEED` repeats a run, `TIDEGATE_MODEL_CASES` says how many cases (250 by default, 20,000 with
//! `TIDEGATE_LONG=1`).

mod check;
mod model;
mod op;
mod run;
mod shed;
mod side_by_side;

use op::{Limit, Op, Pick, Piece, Script, Settings};
use proptest::test_runner::{Config, RngAlgorithm, TestRng, TestRunner};
use side_by_side::Done;
use std::cell::Cell;

/// Steps of a case at most.
const OPS_MAX: usize = 50;

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn seed() -> u64 {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = number("TIDEGATE_SEED").unwrap_or_else(|| clock.map_or(1, |d| d.as_nanos() as u64));
    println!("seed {seed}");
    seed
}

fn add(all: &Cell<Done>, done: Done) {
    let so_far = all.get();
    all.set(Done {
        cases: so_far.cases + done.cases,
        steps: so_far.steps + done.steps,
        records: so_far.records + done.records,
        full: so_far.full + done.full,
        reopened: so_far.reopened + done.reopened,
        crashed: so_far.crashed + done.crashed,
        fell_back: so_far.fell_back + done.fell_back,
        deleted: so_far.deleted + done.deleted,
        shed: so_far.shed + done.shed,
    });
}

#[test]
fn the_store_equals_a_plain_model_whatever_is_done_to_it() {
    let default = match number("TIDEGATE_LONG") {
        Some(1) => 20_000,
        _ => 250,
    };
    let cases = number("TIDEGATE_MODEL_CASES").unwrap_or(default);
    let mut bytes = [0; 32];
    bytes[..8].copy_from_slice(&seed().to_le_bytes());
    let config = Config {
        cases: u32::try_from(cases).unwrap(),
        max_shrink_iters: 3_000,
        failure_persistence: None,
        ..Config::default()
    };
    let rng = TestRng::from_seed(RngAlgorithm::ChaCha, &bytes);
    let all = Cell::new(Done::default());
    let outcome = TestRunner::new_with_rng(config, rng).run(&op::script(OPS_MAX), |script| {
        add(&all, run::run(&script));
        Ok(())
    });
    println!("{:?}", all.get());
    if let Err(failure) = outcome {
        panic!("{failure}");
    }
    let done = all.get();
    assert!(
        done.crashed > 0 && done.reopened > 0 && done.full > 0 && done.deleted > 0 && done.shed > 0
    );
}

#[test]
fn a_lane_with_thousands_of_gaps_is_done_when_the_gaps_are_filled() {
    let piece = Piece {
        bytes: 10,
        routes: vec![(0, 1)],
        time_step_ms: 0,
    };
    let pick = |from, step| Op::Confirm {
        slot: 0,
        class: 1,
        pick: Pick {
            from,
            count: usize::MAX,
            step,
            backwards: false,
            future: false,
        },
    };
    let commit = Op::Commit {
        pieces: vec![piece; 4_000],
        marks: Vec::new(),
    };
    let read = Op::Read {
        slot: 0,
        class: 1,
        from: 0,
        limit: Limit {
            records: usize::MAX,
            bytes: usize::MAX,
        },
    };
    let ops = vec![
        Op::Lane(0),
        commit.clone(),
        pick(0, 2),
        commit,
        Op::Reopen(None),
        read,
        pick(0, 1),
        Op::Persist,
    ];
    let settings = Settings {
        generation_bytes: 10_000,
        max_size_bytes: 2 << 30,
        keep_for_ms: 0,
        tail_bytes: 0,
        sheds: false,
        expires: false,
    };
    run::run(&Script { settings, ops });
}

#[test]
fn a_store_that_lost_its_newest_records_does_not_pass_for_the_model() {
    let piece = Piece {
        bytes: 10,
        routes: Vec::new(),
        time_step_ms: 0,
    };
    let commit = Op::Commit {
        pieces: vec![piece; 3],
        marks: Vec::new(),
    };
    let settings = Settings {
        generation_bytes: 1,
        max_size_bytes: 2 << 30,
        keep_for_ms: u64::MAX,
        tail_bytes: 0,
        sheds: false,
        expires: false,
    };
    let outcome = |last| {
        let ops = vec![commit.clone(), commit.clone(), last];
        let settings = settings.clone();
        std::panic::catch_unwind(|| run::run(&Script { settings, ops }))
    };
    assert!(outcome(Op::Crash(None)).is_ok());
    assert!(outcome(Op::LoseNewest).is_err());
}
