//! The bounds of the dead letters, over a store.

use tidegate_store::{Options, Writer, open};

use super::*;
use crate::event::dead_letter::Cause;

/// A store and its dead letters.
struct Case {
    options: Options,
    _folder: tempfile::TempDir,
    _writer: Option<Writer>,
    letters: Option<Letters>,
}

fn bounds(max: u64, max_size_bytes: u64, drops: bool) -> Bounds {
    Bounds {
        max,
        max_size_bytes,
        drops,
    }
}

impl Case {
    fn new(bounds: Bounds, max_size_bytes: u64) -> Case {
        let folder = tempfile::tempdir().expect("a folder");
        let options = Options {
            ballast_bytes: 0,
            free_bytes_min: 0,
            max_size_bytes,
            ..Options::new(folder.path().join("store"))
        };
        let mut case = Case {
            options,
            _folder: folder,
            _writer: None,
            letters: None,
        };
        case.open(bounds);
        case
    }

    fn open(&mut self, bounds: Bounds) {
        (self._writer, self.letters) = (None, None);
        let (writer, store) = open(self.options.clone()).expect("a store");
        self._writer = Some(writer);
        self.letters = Some(Letters::new(store, bounds));
    }

    fn letters(&self) -> &Letters {
        self.letters.as_ref().expect("it is open")
    }

    /// Offers letters `from..to` of a rule, a batch; how many of them are held, how many dropped.
    fn keep(&self, rule: &str, from: u64, to: u64) -> Result<(usize, usize), DeadLetterError> {
        let all: Vec<_> = (from..to).map(|sequence| letter(rule, sequence)).collect();
        let kept = self.letters().keep(&all)?;
        let held = kept.iter().filter(|kept| **kept == Kept::Held).count();
        Ok((held, kept.len() - held))
    }

    /// What is told: whose letters there are, and whether more came than are kept.
    fn told(&self) -> Vec<(String, u64, bool)> {
        let changes = self.letters().changes().into_iter();
        changes
            .map(|(owner, held)| (owner, held.letters, held.is_full))
            .collect()
    }
}

fn letter(rule: &str, sequence: u64) -> Letter<'static> {
    Letter {
        id: (sequence, 0),
        letter: DeadLetter {
            upstream: "dead_letter".into(),
            cause: Cause::Rule,
            reason: "no".into(),
            rule: Some(rule.into()),
            attempts: 1,
            time_ms: sequence as i64,
            unknown: Vec::new(),
            record: vec![7; 1000],
        },
        source: "a/floor",
        untold: rule == "of_gaps",
    }
}

fn told(owner: &str, letters: u64, is_full: bool) -> (String, u64, bool) {
    (owner.to_owned(), letters, is_full)
}

#[test]
fn each_rule_has_its_bound_and_what_goes_beyond_is_dropped_and_accounted_for() {
    let cases = [
        ("by number", bounds(10, 1 << 20, true), 10),
        ("by bytes", bounds(1000, 10_500, true), 10),
    ];
    for (which, bounds, fit) in cases {
        let case = Case::new(bounds, 64 << 20);
        assert_eq!(case.keep("hot", 1, 5), Ok((4, 0)), "{which}");
        assert_eq!(case.keep("hot", 5, 31), Ok((fit - 4, 30 - fit)), "{which}");
        assert_eq!(
            case.keep("cold", 31, 34),
            Ok((3, 0)),
            "others have theirs: {which}"
        );
        assert_eq!(case.keep("hot", 34, 35), Ok((0, 1)), "{which}");
        let expected = [told("rule cold", 3, false), told("rule hot", 10, true)];
        assert_eq!(case.told(), expected, "{which}");
        assert_eq!(case.told(), [], "told once");
        let accounts = case.letters().take_accounts();
        let account = accounts.get("rule hot").expect("an account");
        assert_eq!(
            (account.letters, account.first_ms, account.last_ms),
            (21, 11, 34)
        );
        assert_eq!(account.sources, [("a/floor".to_owned(), 21)].into());
        assert_eq!(accounts.len(), 1);
        assert!(case.letters().take_accounts().is_empty());
    }
}

#[test]
fn what_is_removed_makes_room_and_what_was_held_counts_after_a_restart() {
    let bounds = bounds(5, 1 << 20, true);
    let mut case = Case::new(bounds, 64 << 20);
    assert_eq!(case.keep("hot", 1, 8), Ok((5, 2)));
    case.open(bounds);
    assert_eq!(case.told(), [told("rule hot", 5, false)]);
    assert_eq!(case.keep("hot", 2, 3), Ok((1, 0)), "the same one again");
    assert_eq!(case.keep("hot", 8, 9), Ok((0, 1)));
    assert_eq!(case.told(), [told("rule hot", 5, true)]);
    assert_eq!(case.letters().remove((1, 0)), Ok(true));
    assert_eq!(case.letters().remove((1, 0)), Ok(false));
    assert_eq!(case.told(), [told("rule hot", 4, false)]);
    assert_eq!(case.keep("hot", 9, 11), Ok((1, 1)));
    assert_eq!(case.letters().remove_all(), Ok(5));
    assert_eq!(case.told(), [told("rule hot", 0, false)]);
    assert_eq!(case.keep("hot", 11, 16), Ok((5, 0)));
    case.open(bounds);
    assert_eq!(case.told(), [told("rule hot", 5, false)]);
}

#[test]
fn where_they_are_to_wait_none_beyond_the_bound_is_kept_or_dropped() {
    let case = Case::new(bounds(5, 1 << 20, false), 64 << 20);
    let waits = |kept| matches!(kept, Err(DeadLetterError::Full { .. }));
    assert_eq!(case.keep("hot", 1, 8), Ok((5, 0)), "those before it do not");
    assert_eq!(case.told(), [told("rule hot", 5, true)]);
    assert!(waits(case.keep("hot", 6, 8)), "the first five are there");
    assert!(case.letters().take_accounts().is_empty());
    assert_eq!(case.keep("cold", 20, 22), Ok((2, 0)));
    for sequence in 1..3 {
        assert_eq!(case.letters().remove((sequence, 0)), Ok(true));
    }
    assert_eq!(case.keep("hot", 6, 8), Ok((2, 0)));
    assert_eq!(
        case.told(),
        [told("rule cold", 2, false), told("rule hot", 5, false)]
    );
}

#[test]
fn all_together_have_a_share_of_the_store() {
    let case = Case::new(bounds(u64::MAX, u64::MAX, true), 16 << 20);
    let mut dropped = 0;
    for number in 0..80 {
        let kept = case.keep(&format!("r{number}"), number * 50 + 1, number * 50 + 51);
        dropped += kept.expect("they are kept or dropped").1;
    }
    assert!(dropped > 1000 && dropped < 3900, "{dropped}");
    let accounts = case.letters().take_accounts();
    let told: u64 = accounts.values().map(|account| account.letters).sum();
    assert_eq!(told, dropped as u64);
}

#[test]
fn what_waits_for_its_share_of_the_store_is_told_until_somebody_gives_it_back() {
    let case = Case::new(bounds(u64::MAX, u64::MAX, false), 1 << 20);
    let mut from = 1;
    while let Ok((held, 0)) = case.keep("hot", from, from + 10) {
        from += held as u64;
    }
    assert!(from > 20, "{from}");
    assert_eq!(case.told(), [told("rule hot", from - 1, true)]);
    let waits = |rule| {
        matches!(
            case.keep(rule, from, from + 1),
            Err(DeadLetterError::Full { .. })
        )
    };
    assert!(waits("cold"));
    assert_eq!(case.told(), [told("rule cold", 0, true)]);
    assert!(case.letters().take_accounts().is_empty());
    assert_eq!(case.letters().remove_all(), Ok(from - 1));
    let over = [told("rule cold", 0, false), told("rule hot", 0, false)];
    assert_eq!(case.told(), over);
    assert_eq!(case.keep("cold", from, from + 1), Ok((1, 0)));
}

#[test]
fn an_account_that_could_not_be_told_comes_with_the_next_and_none_is_given_of_accounts() {
    let case = Case::new(bounds(1, 1 << 20, true), 64 << 20);
    assert_eq!(case.keep("hot", 1, 4), Ok((1, 2)));
    assert_eq!(case.keep("of_gaps", 4, 8), Ok((1, 3)));
    let first = case.letters().take_accounts();
    assert_eq!(first.keys().collect::<Vec<_>>(), ["rule hot"]);
    assert_eq!(case.keep("hot", 8, 9), Ok((0, 1)));
    for (owner, account) in first {
        case.letters().put_back(owner, account);
    }
    let all = case.letters().take_accounts();
    let account = all.get("rule hot").expect("an account");
    assert_eq!(
        (account.letters, account.first_ms, account.last_ms),
        (3, 2, 8)
    );
}

#[test]
fn a_letter_that_never_fits_is_told_as_such_whichever_bound_it_is() {
    let store_bytes = 1 << 20;
    let eighth = store_bytes / 8;
    for (max_size_bytes, bytes, max_bytes) in [
        (10_000, 10_001, Some(10_000)),
        (10_000, 9_000, None),
        (1 << 30, eighth + 1, Some(eighth)),
    ] {
        let case = Case::new(bounds(100, max_size_bytes, false), store_bytes);
        if max_bytes.is_none() {
            assert_eq!(case.keep("hot", 1, 4), Ok((3, 0)));
        }
        let mut large = letter("hot", 9);
        large.letter.record = vec![7; bytes as usize];
        let refused = case.letters().keep(&[large]);
        assert!(
            matches!(refused, Err(DeadLetterError::Full { .. })),
            "{refused:?}"
        );
        let changes = case.letters().changes();
        let (_, held) = changes.first().expect("it is told");
        let told = held.too_large.map(|large| large.max_bytes);
        assert_eq!((held.is_full, told), (true, max_bytes), "{bytes}");
    }
}
