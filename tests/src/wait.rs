//! Waiting for something, with a limit and a word of what was waited for and what was last seen.
//!
//! A test waits for what it needs, not for a time in which that should have happened: where the
//! machine is slow it takes longer, and where it is fast nothing is waited for in vain.

use std::fmt::Display;
use std::time::{Duration, Instant};

/// How long anything may take: enough on a machine five times slower, busy with other work. Only
/// what never comes takes so long.
pub const PATIENCE: Duration = Duration::from_secs(300);
/// Between two looks.
const PAUSE: Duration = Duration::from_millis(5);

/// A wait under way, for loops that pause in their own way.
pub struct Wait<'a> {
    what: &'a str,
    began: Instant,
}

impl<'a> Wait<'a> {
    /// Begins to wait for `what`.
    pub fn begin(what: &'a str) -> Wait<'a> {
        Wait {
            what,
            began: Instant::now(),
        }
    }

    /// Not yet, as `seen` shows.
    ///
    /// # Panics
    /// When it was waited for too long.
    pub fn goes_on(&self, seen: impl Display) {
        let waited = self.began.elapsed();
        assert!(
            waited < PATIENCE,
            "waited {} s in vain: {}; last seen: {seen}",
            waited.as_secs(),
            self.what
        );
    }
}

/// Waits until `look` finds `what`; what it says otherwise is what was last seen.
///
/// # Panics
/// When it does not for too long.
pub fn find<T, S: Display>(what: &str, mut look: impl FnMut() -> Result<T, S>) -> T {
    let wait = Wait::begin(what);
    loop {
        match look() {
            Ok(found) => return found,
            Err(seen) => wait.goes_on(seen),
        }
        std::thread::sleep(PAUSE);
    }
}

/// Waits until `what` is so.
///
/// # Panics
/// When it is not for too long.
pub fn until(what: &str, mut is_so: impl FnMut() -> bool) {
    find(what, || is_so().then_some(()).ok_or("it is not so"));
}

/// Waits until `count` gives `least` or more.
///
/// # Panics
/// When it does not for too long.
pub fn for_count(what: &str, least: usize, mut count: impl FnMut() -> usize) -> usize {
    find(what, || match count() {
        enough if enough >= least => Ok(enough),
        few => Err(format!("{few} of {least}")),
    })
}
