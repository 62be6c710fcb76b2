//! Damage that is come across while room is made: what is rewritten or given up does not hide what was lost.

use crate::support::{Case, bytes_of};
use std::collections::BTreeSet;
use std::fs;
use std::path::PathBuf;
use tidegate_store::{
    Append, Commit, CommitError, Gap, GapReason, GapWriter, LaneId, Options, Route, WhenFull,
};

const LARGE: usize = 100_000;
const CAP: u64 = 16 << 20;

fn small(options: &mut Options) {
    options.max_size_bytes = CAP;
    options.generation_bytes = 200_000;
    options.keep_for_ms = 0;
    options.tail_bytes = 0;
}

/// Sequences told of as missing.
fn told(case: &Case) -> BTreeSet<u64> {
    let damage = case.store().stats().damage;
    damage.iter().flat_map(|it| it.first..=it.last).collect()
}

/// The value log of the oldest generation, which is complete.
fn oldest_values(case: &Case) -> PathBuf {
    let generations = fs::read_dir(case.dir().join("generations")).unwrap();
    let oldest = generations.map(|entry| entry.unwrap().path()).min();
    let oldest = oldest.unwrap();
    assert!(oldest.join("summary").exists());
    oldest.join("values")
}

/// Where the frame of a record begins to hold its bytes.
fn place_of(sequence: u64, values: &[u8]) -> usize {
    let sought = &bytes_of(sequence, LARGE)[..64];
    let found = values.windows(64).position(|window| window == sought);
    found.expect("it is in the oldest generation")
}

/// A way to harm a value log, given where a record's bytes are in it.
type Harm = fn(&mut Vec<u8>, usize);

const HARMS: [(&str, Harm); 5] = [
    ("a bit of its bytes", |values, at| values[at + 5_000] ^= 1),
    ("a bit of its checksum", |values, at| values[at - 18] ^= 1),
    ("a bit of its sequence", |values, at| values[at - 16] ^= 1),
    ("a sector of zeros", |values, at| {
        values[at + 512..at + 1024].fill(0)
    }),
    ("its end", |values, at| {
        values[at + LARGE - 1] = !values[at + LARGE - 1];
    }),
];

fn harm(case: &mut Case, sequence: u64, harm: Harm) {
    let values = oldest_values(case);
    case.close();
    let mut bytes = fs::read(&values).unwrap();
    let at = place_of(sequence, &bytes);
    harm(&mut bytes, at);
    fs::write(&values, bytes).unwrap();
    case.reopen();
}

/// One record, of which a lane's reader sees to the rest.
fn append(case: &mut Case, lane: LaneId) -> Result<u64, CommitError> {
    let committed = case.append_many(&[Route { lane, class: 1 }], 1, LARGE)?;
    Ok(committed.first)
}

#[test]
fn a_record_that_cannot_be_read_is_told_of_when_its_generation_is_to_be_rewritten() {
    for (what, harm_it) in HARMS {
        let mut case = Case::with(small);
        let [slow, fast] = ["slow", "fast"].map(|name| case.store().lane(name).unwrap());
        let (mut kept, lost) = (BTreeSet::new(), 1);
        for round in 0..400 {
            if round == 40 {
                harm(&mut case, lost, harm_it);
                assert!(told(&case).is_empty(), "{what}: nobody read it so far");
            }
            let lane = if round % 16 == 0 { slow } else { fast };
            let sequence = append(&mut case, lane);
            let sequence = sequence.unwrap_or_else(|error| panic!("{what}: {error}"));
            if lane == slow {
                kept.insert(sequence);
            }
            // It keeps up, so that little is needed of most generations.
            case.drain(fast, 1);
            case.writer().persist_cursors_if_dirty().unwrap();
        }
        assert!(case.store().stats().counters.rewritten > 0, "{what}");
        assert_eq!(told(&case), BTreeSet::from([lost]), "{what}: told before");
        let found = case.read_from(slow, 1, 1);
        let sequences: BTreeSet<_> = found.iter().map(|(sequence, _)| *sequence).collect();
        kept.remove(&lost);
        assert_eq!(sequences, kept, "{what}: all others are there");
        assert!(
            found.iter().all(|(n, bytes)| *bytes == bytes_of(*n, LARGE)),
            "{what}"
        );
        assert_eq!(told(&case), BTreeSet::from([lost]), "{what}: told once");
    }
}

#[test]
fn a_record_that_cannot_be_read_is_told_of_when_its_class_is_given_up() {
    for (what, harm_it) in HARMS {
        let mut case = Case::with(|options| {
            small(options);
            options.when_full = WhenFull::Shed;
        });
        let slow = case.store().lane("slow").unwrap();
        let accounts = case.store().lane("accounts").unwrap();
        while append(&mut case, slow).is_ok() {}
        harm(&mut case, 2, harm_it);
        let route = Route {
            lane: accounts,
            class: 3,
        };
        let mut label = |_: &[u8]| String::from("camera");
        let mut record = |gap: &Gap, commit: &mut Commit| {
            commit.push(Append {
                routes: &[route],
                time_ms: gap.time_max_ms,
                bytes: b"gap",
            });
        };
        let shed = case.writer().shed(
            LARGE as u64,
            GapWriter {
                label: &mut label,
                record: &mut record,
            },
        );
        assert_eq!(shed.room, Ok(()), "{what}");
        let given_up: u64 = shed.gaps.iter().map(|gap| gap.records).sum();
        let gone = case.store().cursor(slow, 1).low - 1;
        assert!(shed.gaps.iter().all(|gap| gap.reason == GapReason::Shed));
        assert_eq!(told(&case), BTreeSet::from([2]), "{what}");
        assert_eq!(given_up + 1, gone, "{what}: each of {gone} has one fate");
    }
}
