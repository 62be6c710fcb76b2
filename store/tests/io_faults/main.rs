//! The store while its disk fails: every kind of file call fails at its first, second, third … occurrence, once or for a
//! while, until it is not reached any more. Nothing may be acknowledged that was not stored, nothing refused may come
//! back beside its repetition, and afterwards the store works again.
//!
//! By default some occurrences of each kind are tried, chosen by a seed (`TIDEGATE_SEED`); with `TIDEGATE_LONG=1` all.

#[allow(unsafe_code)]
mod calls;
mod faults;
mod ledger;
mod workload;

use faults::{Answer, Fault, Kind};
use ledger::Ledger;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError, mpsc};
use std::time::Duration;

/// A case takes well below a second; one that takes so long hangs.
const HANGS_AFTER: Duration = Duration::from_secs(40);
/// Calls that fail one after another when a fault lasts.
const WHILE: u64 = 30;
/// Occurrences tried of each fault in the short form.
const SAMPLES: u64 = 6;

const EIO: Answer = Answer::Fail(libc::EIO);
const ENOSPC: Answer = Answer::Fail(libc::ENOSPC);
const EINTR: Answer = Answer::Fail(libc::EINTR);

const PLAN: [(Kind, &[Answer]); 9] = [
    (Kind::Read, &[EIO, EINTR, Answer::Short]),
    (Kind::Write, &[EIO, ENOSPC, EINTR, Answer::Short]),
    (Kind::Truncate, &[EIO, ENOSPC, EINTR]),
    (Kind::Rename, &[EIO, ENOSPC]),
    (Kind::Unlink, &[EIO]),
    (Kind::Mkdir, &[EIO, ENOSPC]),
    (Kind::Open, &[EIO, ENOSPC, EINTR]),
    (Kind::Sync, &[EIO, ENOSPC, EINTR]),
    (Kind::DataSync, &[EIO, ENOSPC, EINTR]),
];

/// Runs the workload with these faults; what went wrong, and how often the fault struck.
fn run_with(faults: &[Fault]) -> (Vec<String>, u64) {
    let home = match Path::new("/dev/shm").is_dir() {
        true => tempfile::tempdir_in("/dev/shm").unwrap(),
        false => tempfile::tempdir().unwrap(),
    };
    let dir = home.path().join("store");
    let mut ledger = Ledger::default();
    faults::arm(home.path(), faults);
    workload::run(&dir, &mut ledger);
    let fired = faults::disarm();
    // One failing call may cost a commit; the next one goes to a new generation and works.
    let once = matches!(faults, [fault] if fault.count == 1);
    if once && !ledger.given_up.is_empty() {
        ledger
            .faults
            .push(format!("did not go on: {:?}", ledger.errors));
    }
    if std::env::var_os("TIDEGATE_FAULT").is_some() {
        println!("the store said: {:#?}", ledger.errors);
    }
    after_the_faults(&dir, &mut ledger);
    (ledger.faults, fired)
}

/// The disk is sound again: the store opens, has everything, and goes on.
fn after_the_faults(dir: &Path, ledger: &mut Ledger) {
    match tidegate_store::open(workload::options(dir)) {
        Ok((writer, store)) => {
            ledger.check(&store);
            let before = ledger.errors.len();
            workload::live(writer, store, 21..24, ledger);
            if ledger.errors.len() > before {
                ledger
                    .faults
                    .push(format!("does not recover: {:?}", ledger.errors));
            }
        }
        Err(error) => ledger.faults.push(format!("does not open again: {error}")),
    }
    match tidegate_store::open(workload::options(dir)) {
        Ok((_writer, store)) => ledger.check(&store),
        Err(error) => ledger
            .faults
            .push(format!("does not open a second time: {error}")),
    }
}

/// The same on a thread of its own, so that a hang is found.
fn guarded(faults: &[Fault]) -> (Vec<String>, u64) {
    let (tell, told) = mpsc::channel();
    let armed = faults.to_vec();
    let worker = std::thread::spawn(move || {
        let _ = tell.send(run_with(&armed));
    });
    match told.recv_timeout(HANGS_AFTER) {
        Ok(outcome) => outcome,
        Err(mpsc::RecvTimeoutError::Timeout) => panic!("{faults:?} hangs"),
        Err(mpsc::RecvTimeoutError::Disconnected) => {
            let _ = worker.join();
            (vec!["it panicked".into()], 1)
        }
    }
}

/// The calls of the whole process are watched: one test at a time.
fn alone() -> MutexGuard<'static, ()> {
    static ONE: Mutex<()> = Mutex::new(());
    ONE.lock().unwrap_or_else(PoisonError::into_inner)
}

fn number(variable: &str) -> Option<u64> {
    std::env::var(variable).ok()?.parse().ok()
}

fn seed() -> u64 {
    let clock = std::time::SystemTime::now().duration_since(std::time::UNIX_EPOCH);
    let seed = number("TIDEGATE_SEED").unwrap_or_else(|| clock.map_or(1, |d| d.as_nanos() as u64));
    println!("seed {seed}");
    seed
}

/// Numbers that look random.
struct Random(u64);

impl Random {
    fn below(&mut self, end: u64) -> u64 {
        self.0 = self
            .0
            .wrapping_mul(6_364_136_223_846_793_005)
            .wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % end.max(1)
    }
}

impl Random {
    /// Any fault of the plan, early in a run or late.
    fn fault(&mut self) -> Fault {
        let (kind, answers) = PLAN[self.below(PLAN.len() as u64) as usize];
        Fault {
            kind,
            nth: 1 + self.below(150),
            count: [1, 1, 3, WHILE][self.below(4) as usize],
            answer: answers[self.below(answers.len() as u64) as usize],
        }
    }
}

/// How many calls of a kind the workload makes when none fails.
fn calls_of(kind: Kind) -> u64 {
    let never = Fault {
        kind,
        nth: 1,
        count: u64::MAX - 1,
        answer: Answer::Real,
    };
    let (faults, calls) = guarded(&[never]);
    assert!(faults.is_empty(), "without any fault: {faults:?}");
    calls
}

/// What a whole run found.
#[derive(Default)]
struct Outcome {
    /// Cases and strikes by kind of call and answer.
    struck: BTreeMap<String, (u64, u64)>,
    wrong: Vec<Fault>,
}

impl Outcome {
    /// Runs one case; false if the fault did not strike: the workload makes fewer calls.
    fn case(&mut self, fault: Fault) -> bool {
        let (faults, fired) = guarded(&[fault]);
        let Fault { kind, answer, .. } = fault;
        let of_kind = self
            .struck
            .entry(format!("{kind:?} {answer:?}"))
            .or_default();
        *of_kind = (of_kind.0 + u64::from(fired > 0), of_kind.1 + fired);
        if !faults.is_empty() {
            println!("{fault:?}: {faults:?}");
            self.wrong.push(fault);
        }
        fired > 0
    }
}

/// Repeats one case, its faults written so: `Write Fail(5) 163 30, Rename Fail(28) 7 1`.
fn repeat(case: &str) {
    let faults: Vec<_> = case.split(',').map(parse).collect();
    let (found, fired) = guarded(&faults);
    println!("struck {fired} times");
    assert!(found.is_empty(), "{found:#?}");
}

/// Kind of call, answer, first call of that kind that gets it, and how many do.
fn parse(fault: &str) -> Fault {
    let words: Vec<_> = fault.split_whitespace().collect();
    let [kind, answer, nth, count] = words[..] else {
        panic!("kind, answer, nth and count are wanted: {fault}");
    };
    let answers = |(kind, answers): (Kind, &'static [Answer])| {
        answers.iter().map(move |answer| (kind, *answer))
    };
    let (kind, answer) = PLAN
        .into_iter()
        .flat_map(answers)
        .find(|(k, a)| format!("{k:?} {a:?}") == format!("{kind} {answer}"))
        .expect("a kind and an answer of the plan");
    Fault {
        kind,
        nth: nth.parse().unwrap(),
        count: count.parse().unwrap(),
        answer,
    }
}

#[test]
fn no_failing_call_makes_a_false_promise() {
    let _alone = alone();
    let seed = seed();
    let every_one = number("TIDEGATE_LONG") == Some(1);
    if let Ok(one) = std::env::var("TIDEGATE_FAULT") {
        return repeat(&one);
    }
    let mut random = Random(seed);
    let mut outcome = Outcome::default();
    for (kind, answers) in PLAN {
        let calls = calls_of(kind);
        println!("{kind:?}: {calls} calls without a fault");
        for (&answer, count) in answers
            .iter()
            .flat_map(|answer| [(answer, 1), (answer, WHILE)])
        {
            let fault = |nth| Fault {
                kind,
                nth,
                count,
                answer,
            };
            if every_one {
                let _ = (1..).find(|nth| !outcome.case(fault(*nth)));
            } else {
                for _ in 0..SAMPLES {
                    outcome.case(fault(1 + random.below(calls)));
                }
            }
        }
    }
    for (fault, (cases, fired)) in &outcome.struck {
        println!("{fault}: {cases} cases, struck {fired} times");
    }
    let wrong = outcome.wrong;
    assert!(wrong.is_empty(), "{} cases failed: {wrong:?}", wrong.len());
}

/// What is tried again once the ballast has given room was begun before: none of these calls is left to chance.
#[test]
fn a_disk_that_is_full_for_any_one_call_makes_no_false_promise() {
    let _alone = alone();
    let mut outcome = Outcome::default();
    for kind in [Kind::Write, Kind::DataSync] {
        let fault = |nth| Fault {
            kind,
            nth,
            count: 1,
            answer: ENOSPC,
        };
        let _ = (1..).find(|nth| !outcome.case(fault(*nth)));
    }
    let wrong = outcome.wrong;
    assert!(wrong.is_empty(), "{} cases failed: {wrong:?}", wrong.len());
}

#[test]
fn several_kinds_of_calls_may_fail_in_one_run() {
    let _alone = alone();
    let seed = seed();
    let cases = if number("TIDEGATE_LONG") == Some(1) {
        3_000
    } else {
        40
    };
    let mut random = Random(seed);
    let mut struck = 0;
    let mut wrong = 0;
    for _ in 0..cases {
        let faults: Vec<_> = (0..2 + random.below(5)).map(|_| random.fault()).collect();
        let (found, fired) = guarded(&faults);
        struck += fired;
        if !found.is_empty() {
            println!("{faults:?}: {found:?}");
            wrong += 1;
        }
    }
    println!("{cases} cases, struck {struck} times");
    assert_eq!(wrong, 0);
}

#[test]
fn a_store_whose_failed_syncs_are_hidden_from_it_is_found_out() {
    let _alone = alone();
    let swallowed = Fault {
        kind: Kind::DataSync,
        nth: 1,
        count: u64::MAX - 1,
        answer: Answer::Swallow,
    };
    let (faults, fired) = guarded(&[swallowed]);
    assert!(fired > 0);
    assert!(
        faults.iter().any(|fault| fault.contains("without a sync")),
        "{faults:?}"
    );
}
