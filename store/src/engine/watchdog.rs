//! Wakes those who wait for sled in vain. When one of sled's I/O threads fails to write, it notes the error, but on one
//! of its two ways it forgets to wake who waits for that write: `flush` and reads would hang for ever. Any further call
//! on the database sees the error, returns it and wakes the others; so one thread makes that call when somebody has
//! waited for a while and there is an error.

use super::clock;
use super::lock::locked;
use std::sync::{Condvar, Mutex, Once, PoisonError};
use std::time::{Duration, Instant};

/// How long a call may take before it is looked at, and how often that is done.
const LOOKED_AT_AFTER: Duration = Duration::from_millis(200);

/// A call under way.
struct CallUnderWay<D> {
    number: u64,
    since: Instant,
    database: D,
}

struct Calls<D> {
    next: u64,
    under_way: Vec<CallUnderWay<D>>,
}

/// Watches over the calls on databases.
pub(crate) struct Watchdog<D> {
    calls: Mutex<Calls<D>>,
    called: Condvar,
    started: Once,
    /// True if the database has noted an error.
    has_failed: fn(&D) -> bool,
    /// A call that wakes who waits for a database that has.
    wake: fn(&D),
}

/// Ends the watch over a call, however it ends.
struct Watched<'a, D>(&'a Watchdog<D>, u64);

impl<D> Drop for Watched<'_, D> {
    fn drop(&mut self) {
        let mut calls = locked(&self.0.calls);
        let at = calls
            .under_way
            .iter()
            .position(|call| call.number == self.1);
        let call = at.map(|at| calls.under_way.swap_remove(at));
        drop(calls);
        drop(call);
    }
}

impl<D: Clone + Send> Watchdog<D> {
    pub(crate) const fn new(has_failed: fn(&D) -> bool, wake: fn(&D)) -> Watchdog<D> {
        Watchdog {
            calls: Mutex::new(Calls {
                next: 0,
                under_way: Vec::new(),
            }),
            called: Condvar::new(),
            started: Once::new(),
            has_failed,
            wake,
        }
    }

    /// Runs a call on the database, which may have to wait for sled's I/O threads.
    pub(crate) fn watched<T>(&'static self, database: D, call: impl FnOnce() -> T) -> T {
        self.started.call_once(|| {
            let started = std::thread::Builder::new().name("store-watch".into());
            // Without the thread the store works as well, until the disk fails in a certain moment.
            let _ = started.spawn(|| self.watch());
        });
        let mut calls = locked(&self.calls);
        calls.next += 1;
        let number = calls.next;
        calls.under_way.push(CallUnderWay {
            number,
            since: clock::now(),
            database,
        });
        if calls.under_way.len() == 1 {
            self.called.notify_one();
        }
        drop(calls);
        let _watched = Watched(self, number);
        call()
    }

    fn watch(&self) {
        let mut calls = locked(&self.calls);
        loop {
            while calls.under_way.is_empty() {
                let woken = self.called.wait(calls);
                calls = woken.unwrap_or_else(PoisonError::into_inner);
            }
            drop(calls);
            std::thread::sleep(LOOKED_AT_AFTER);
            calls = locked(&self.calls);
            let long = |call: &&CallUnderWay<D>| clock::since(call.since) >= LOOKED_AT_AFTER;
            let failed: Vec<_> = calls
                .under_way
                .iter()
                .filter(long)
                .map(|call| &call.database)
                .filter(|database| (self.has_failed)(database))
                .cloned()
                .collect();
            drop(calls);
            failed.iter().for_each(self.wake);
            drop(failed);
            calls = locked(&self.calls);
        }
    }
}
