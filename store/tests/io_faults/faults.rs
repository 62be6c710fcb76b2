//! Which call fails and how, and the log of all calls on the directory under test.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Mutex, PoisonError};

/// The kinds of calls that are told apart.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(crate) enum Kind {
    Read,
    Write,
    Truncate,
    Rename,
    Unlink,
    Mkdir,
    Open,
    Sync,
    DataSync,
}

/// What happens instead of the call.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    Real,
    /// Half of the bytes only.
    Short,
    /// This error; nothing is done.
    Fail(i32),
    /// Nothing is done, and it is called done.
    Swallow,
}

/// Calls `nth` to `nth + count - 1` of a kind get the answer.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Fault {
    pub(crate) kind: Kind,
    pub(crate) nth: u64,
    pub(crate) count: u64,
    pub(crate) answer: Answer,
}

struct Call {
    kind: Kind,
    path: PathBuf,
    worked: bool,
}

struct State {
    dir: PathBuf,
    faults: Vec<Fault>,
    /// Calls of each kind so far.
    seen: BTreeMap<Kind, u64>,
    fired: u64,
    calls: Vec<Call>,
    /// Files of which a sync failed: nothing written to them later may be acknowledged.
    failed: BTreeSet<PathBuf>,
    /// Pages of each file that are in the page cache.
    cached: BTreeMap<PathBuf, BTreeSet<u64>>,
}

static ARMED: AtomicBool = AtomicBool::new(false);
static STATE: Mutex<Option<State>> = Mutex::new(None);

fn with<T>(work: impl FnOnce(&mut State) -> T) -> Option<T> {
    let mut state = STATE.lock().unwrap_or_else(PoisonError::into_inner);
    state.as_mut().map(work)
}

/// From now on calls below `dir` are logged, and the faults strike.
pub(crate) fn arm(dir: &Path, faults: &[Fault]) {
    let state = State {
        dir: dir.to_path_buf(),
        faults: faults.to_vec(),
        seen: BTreeMap::new(),
        fired: 0,
        calls: Vec::new(),
        failed: BTreeSet::new(),
        cached: BTreeMap::new(),
    };
    *STATE.lock().unwrap_or_else(PoisonError::into_inner) = Some(state);
    ARMED.store(true, Ordering::SeqCst);
}

/// Ends it; gives how often the fault struck.
pub(crate) fn disarm() -> u64 {
    ARMED.store(false, Ordering::SeqCst);
    let state = STATE.lock().unwrap_or_else(PoisonError::into_inner).take();
    state.map_or(0, |state| state.fired)
}

/// What is to happen to this call.
pub(crate) fn ask(kind: Kind, path: &Path) -> Answer {
    if !ARMED.load(Ordering::Relaxed) {
        return Answer::Real;
    }
    with(|state| {
        if !path.starts_with(&state.dir) {
            return Answer::Real;
        }
        let seen = state.seen.entry(kind).or_default();
        *seen += 1;
        let strikes = |fault: &&Fault| {
            fault.kind == kind && (fault.nth..fault.nth + fault.count).contains(seen)
        };
        let answer = state.faults.iter().find(strikes).map(|fault| fault.answer);
        state.fired += u64::from(answer.is_some());
        answer.unwrap_or(Answer::Real)
    })
    .unwrap_or(Answer::Real)
}

/// Notes how a call went.
pub(crate) fn done(kind: Kind, path: &Path, worked: bool) {
    if !ARMED.load(Ordering::Relaxed) {
        return;
    }
    with(|state| {
        if !path.starts_with(&state.dir) {
            return;
        }
        let path = path.to_path_buf();
        if !worked && is_sync(kind) {
            state.failed.insert(path.clone());
        }
        // What is removed or renamed is not written to any more; its name may be given to a new file.
        if worked && matches!(kind, Kind::Unlink | Kind::Rename) {
            state.failed.retain(|failed| !failed.starts_with(&path));
        }
        state.calls.push(Call { kind, path, worked });
    });
}

fn is_sync(kind: Kind) -> bool {
    matches!(kind, Kind::Sync | Kind::DataSync)
}

/// A place in the log of calls.
pub(crate) fn position() -> usize {
    with(|state| state.calls.len()).unwrap_or(0)
}

/// The databases synced since then, if there is none among them of which no sync ever failed.
pub(crate) fn unsynced_since(position: usize) -> Option<Vec<PathBuf>> {
    with(|state| {
        let calls = state.calls[position..].iter();
        let synced: Vec<_> = calls
            .filter(|call| call.worked && is_sync(call.kind))
            .map(|call| call.path.clone())
            .filter(|path| path.ends_with("db"))
            .collect();
        let sound = synced.iter().any(|path| !state.failed.contains(path));
        (!sound).then_some(synced)
    })
    .flatten()
}

const PAGE_BYTES: u64 = 4096;

pub(crate) fn is_armed() -> bool {
    ARMED.load(Ordering::Relaxed)
}

/// These bytes of a file are in the page cache now.
pub(crate) fn cache(path: &Path, at: u64, bytes: u64) {
    with(|state| {
        let pages = at / PAGE_BYTES..=(at + bytes - 1) / PAGE_BYTES;
        state
            .cached
            .entry(path.to_path_buf())
            .or_default()
            .extend(pages);
    });
}

/// True if reading these bytes does not reach the disk.
pub(crate) fn is_cached(path: &Path, at: u64, bytes: usize) -> bool {
    let end = std::fs::metadata(path).map_or(0, |found| found.len());
    let end = end.min(at + bytes as u64);
    let mut pages = at / PAGE_BYTES..end.div_ceil(PAGE_BYTES);
    with(|state| {
        let cached = state.cached.get(path);
        pages.all(|page| cached.is_some_and(|cached| cached.contains(&page)))
    })
    .unwrap_or(false)
}

/// The file's pages were dropped.
pub(crate) fn uncache(path: &Path) {
    if is_armed() {
        with(|state| state.cached.remove(path));
    }
}
