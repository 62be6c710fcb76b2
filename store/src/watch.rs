//! Wakes those who wait for sled in vain. When one of sled's I/O threads fails to write, it notes the error, but on one
//! of its two ways it forgets to wake who waits for that write: `flush` and reads would hang for ever. Any further call
//! on the database sees the error, returns it and wakes the others; so one thread makes that call when somebody has
//! waited for a while and there is an error.

use std::sync::{Condvar, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// How long a call may take before it is looked at, and how often that is done.
const LOOKED_AT_AFTER: Duration = Duration::from_millis(200);

/// A call under way.
struct Waiting {
    number: u64,
    since: Instant,
    config: sled::Config,
    database: sled::Db,
}

struct Calls {
    next: u64,
    waiting: Vec<Waiting>,
}

static CALLS: Mutex<Calls> = Mutex::new(Calls {
    next: 0,
    waiting: Vec::new(),
});
static CALLED: Condvar = Condvar::new();

/// Ends the watch over a call, however it ends.
struct Watched(u64);

impl Drop for Watched {
    fn drop(&mut self) {
        let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        let at = calls.waiting.iter().position(|call| call.number == self.0);
        let call = at.map(|at| calls.waiting.swap_remove(at));
        drop(calls);
        drop(call);
    }
}

/// Runs a call on the database, which may have to wait for sled's I/O threads.
pub(crate) fn watched<T>(
    config: &sled::Config,
    database: &sled::Db,
    call: impl FnOnce() -> T,
) -> T {
    static STARTED: Once = Once::new();
    STARTED.call_once(|| {
        let started = std::thread::Builder::new().name("store-watch".into());
        // Without the thread the store works as well, until the disk fails in a certain moment.
        let _ = started.spawn(watch);
    });
    let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
    calls.next += 1;
    let number = calls.next;
    calls.waiting.push(Waiting {
        number,
        since: Instant::now(),
        config: config.clone(),
        database: database.clone(),
    });
    if calls.waiting.len() == 1 {
        CALLED.notify_one();
    }
    drop(calls);
    let _watched = Watched(number);
    call()
}

fn watch() {
    let mut calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
    loop {
        while calls.waiting.is_empty() {
            calls = CALLED.wait(calls).unwrap_or_else(PoisonError::into_inner);
        }
        drop(calls);
        std::thread::sleep(LOOKED_AT_AFTER);
        calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
        let failed = |call: &&Waiting| {
            call.since.elapsed() >= LOOKED_AT_AFTER && call.config.global_error().is_err()
        };
        let failed: Vec<_> = calls
            .waiting
            .iter()
            .filter(failed)
            .map(|call| call.database.clone())
            .collect();
        drop(calls);
        for database in failed {
            let _ = crate::engine::fenced(|| Ok(database.flush()?));
        }
        calls = CALLS.lock().unwrap_or_else(PoisonError::into_inner);
    }
}
