//! What one serial port may cost the gateway: lines of log, system events, devices, processor time.
//!
//! Whatever is at the end of a line, it can neither fill the disk with log nor keep others from being heard. What is
//! over the budget is counted and not told, and the port is named in a trouble for as long as that lasts. Readings that
//! are stored cost nothing here: the store has its own bounds.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use crate::observe::source::SourceMetrics;
use crate::observe::source::port::PortQuiet;
use crate::observe::{Happening, Observe};

/// How long nothing may be over the budget before the trouble is over.
const QUIET: Duration = Duration::from_secs(10);
const KIND: &str = "babbling";
/// Bytes of a log line beside the text in it.
const LINE_BYTES: f64 = 300.0;
/// A read costs this beside what is done with its bytes.
const READ_SECONDS: f64 = 40e-6;
/// The shortest pause of a port that costs too much.
const PAUSE_MIN: f64 = 2e-3;

/// Something that is used up and grows back. In any ten seconds at most `most + 10 × per_second` of it is given.
#[derive(Debug)]
struct Allowance {
    most: f64,
    per_second: f64,
    left: f64,
    at: Instant,
}

impl Allowance {
    fn new(most: f64, per_second: f64, now: Instant) -> Allowance {
        Allowance {
            most,
            per_second,
            left: most,
            at: now,
        }
    }

    fn grow(&mut self, now: Instant) {
        let seconds = now.saturating_duration_since(self.at).as_secs_f64();
        self.left = (self.left + seconds * self.per_second).min(self.most);
        self.at = now;
    }

    fn has(&mut self, amount: f64, now: Instant) -> bool {
        self.grow(now);
        self.left >= amount
    }

    /// Takes it if it is there.
    fn take(&mut self, amount: f64, now: Instant) -> bool {
        let has = self.has(amount, now);
        self.left -= if has { amount } else { 0.0 };
        has
    }

    /// Takes it though it may not be there; how many seconds it takes to grow back.
    fn spend(&mut self, amount: f64, now: Instant) -> f64 {
        self.grow(now);
        self.left -= amount;
        (-self.left / self.per_second).max(0.0)
    }
}

/// What was read at once.
#[derive(Debug, Clone, Copy, Default)]
pub struct ReadWork {
    /// How long it took to see to it.
    pub took: Duration,
    /// Bytes of it.
    pub bytes: usize,
    /// Readings in it that were taken.
    pub useful: usize,
    /// Frames or lines in it, good and bad ones.
    pub all: usize,
}

/// The budget of one port, shared by all that speak for it.
pub struct PortBudget {
    source: Arc<str>,
    subject: String,
    observe: Arc<Observe>,
    metrics: SourceMetrics,
    state: Mutex<BudgetState>,
}

struct BudgetState {
    path: String,
    log_bytes: Allowance,
    system_events: Allowance,
    hellos: Allowance,
    newcomers: Allowance,
    work_seconds: Allowance,
    useless_bytes: Allowance,
    /// What was read and may be the beginning of something useful.
    begun: ReadWork,
    /// Since the trouble began.
    left_out: u64,
    /// When something was last over the budget, while that is a trouble.
    over: Option<Instant>,
}

impl PortBudget {
    /// That of the port of this source.
    pub fn new(
        source: &str,
        observe: Arc<Observe>,
        metrics: SourceMetrics,
        now: Instant,
    ) -> PortBudget {
        PortBudget {
            source: source.into(),
            subject: format!("source {source}"),
            observe,
            metrics,
            state: Mutex::new(BudgetState {
                path: String::new(),
                log_bytes: Allowance::new(15_000.0, 2_000.0, now),
                system_events: Allowance::new(15.0, 2.0, now),
                hellos: Allowance::new(30.0, 5.0, now),
                newcomers: Allowance::new(32.0, 1.0 / 60.0, now),
                work_seconds: Allowance::new(0.5, 0.3, now),
                useless_bytes: Allowance::new(256.0 * 1024.0, 32.0 * 1024.0, now),
                begun: ReadWork::default(),
                left_out: 0,
                over: None,
            }),
        }
    }

    fn state(&self) -> MutexGuard<'_, BudgetState> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Whom changes of the port's state are told to, which bounds itself.
    pub fn observe(&self) -> &Observe {
        &self.observe
    }

    /// Where the port is now.
    pub fn port_is(&self, path: &str) {
        path.clone_into(&mut self.state().path);
    }

    /// Where the port was last.
    pub fn path(&self) -> String {
        self.state().path.clone()
    }

    /// Lets it have happened, with so many bytes of text from outside in its log line; or leaves it out and says so.
    pub fn emit(&self, happening: &dyn Happening, text_bytes: usize, now: Instant) -> bool {
        let event = f64::from(u8::from(happening.system_event().is_some()));
        let told = self.may_tell(text_bytes, event, now);
        if told {
            self.observe.emit(happening);
        }
        told
    }

    /// Raises a trouble of this port, as [`Observe::raise`] does.
    pub fn raise(&self, kind: &'static str, what: &str, now: Instant) {
        if self.may_tell(what.len(), 1.0, now) {
            self.observe.raise(&self.subject, kind, what);
        }
    }

    /// Clears it.
    pub fn clear(&self, kind: &'static str) {
        self.observe.clear(&self.subject, kind);
    }

    fn may_tell(&self, text_bytes: usize, events: f64, now: Instant) -> bool {
        let mut state = self.state();
        // Quotes and backslashes are written with a backslash.
        let bytes = LINE_BYTES + 2.0 * text_bytes as f64;
        let may = state.log_bytes.has(bytes, now) && state.system_events.take(events, now);
        if may {
            state.log_bytes.take(bytes, now);
            return true;
        }
        self.over(state, now);
        false
    }

    /// Whether a hello may be looked at.
    pub fn takes_hello(&self, now: Instant) -> bool {
        let mut state = self.state();
        let may = state.hellos.take(1.0, now);
        if !may {
            self.over(state, now);
        }
        may
    }

    /// Whether a device may join that nothing is stored of yet.
    pub fn takes_newcomer(&self, now: Instant) -> bool {
        let mut state = self.state();
        let may = state.newcomers.take(1.0, now);
        if !may {
            self.over(state, now);
        }
        may
    }

    /// Whether a system event may be stored that a device causes.
    pub fn takes_system_event(&self, now: Instant) -> bool {
        let mut state = self.state();
        let may = state.system_events.take(1.0, now);
        if !may {
            self.over(state, now);
        }
        may
    }

    /// Something was read and seen to; frames or lines have at most `longest` bytes. Says when to read again, where the
    /// port costs too much.
    pub fn worked(&self, read: &ReadWork, longest: usize, now: Instant) -> Instant {
        let mut state = self.state();
        let begun = state.begun;
        let read = ReadWork {
            took: begun.took + read.took,
            bytes: begun.bytes + read.bytes,
            ..*read
        };
        if read.all == 0 && read.bytes <= longest {
            state.begun = read;
            return now;
        }
        state.begun = ReadWork::default();
        let useless = match read.all {
            0 => 1.0,
            all => 1.0 - read.useful.min(all) as f64 / all as f64,
        };
        let seconds = useless * (read.took.as_secs_f64() + READ_SECONDS);
        let work_pause = state.work_seconds.spend(seconds, now);
        let bytes = useless * read.bytes as f64;
        let pause = work_pause.max(state.useless_bytes.spend(bytes, now));
        if pause == 0.0 {
            return now;
        }
        self.over(state, now);
        now + Duration::from_secs_f64(pause.max(PAUSE_MIN))
    }

    fn over(&self, mut state: MutexGuard<'_, BudgetState>, now: Instant) {
        state.left_out += 1;
        self.metrics.malformed("over the budget of its port");
        if state.over.replace(now).is_none() {
            let what = format!(
                "{} is babbling: more log lines, hellos or noise come than a port is given; what is over is counted, and \
                 neither told nor read at once; look at the device and its line",
                state.path
            );
            drop(state);
            self.observe.raise(&self.subject, KIND, &what);
        }
    }

    /// Whether the port costs too much at present; the trouble is over once it has not for a while.
    pub fn look(&self, now: Instant) -> bool {
        let mut state = self.state();
        let Some(over) = state.over else {
            return false;
        };
        if now.saturating_duration_since(over) < QUIET {
            return true;
        }
        state.over = None;
        let left_out = std::mem::take(&mut state.left_out);
        drop(state);
        self.observe.clear(&self.subject, KIND);
        self.observe.emit(&PortQuiet {
            source: &self.source,
            left_out,
        });
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn in_any_ten_seconds_an_allowance_gives_what_it_may() {
        let start = crate::time::clock::monotonic();
        let mut allowance = Allowance::new(15.0, 2.0, start);
        let mut taken = Vec::new();
        for ms in 0..60_000 {
            let now = start + Duration::from_millis(ms);
            while allowance.take(1.0, now) {
                taken.push(ms);
            }
        }
        for from in 0..50_000 {
            let within = taken
                .iter()
                .filter(|ms| (from..from + 10_000).contains(*ms));
            assert!(within.count() <= 35);
        }
        assert!(taken.len() > 100, "it grows back");
    }

    #[test]
    fn what_is_useful_costs_nothing_and_the_rest_is_paced() {
        let start = crate::time::clock::monotonic();
        let observe = Arc::new(Observe::default());
        let metrics = crate::observe::source::SourceFamilies::register(&observe).of("bench");
        let budget = PortBudget::new("bench", Arc::clone(&observe), metrics, start);
        let read = |useful| ReadWork {
            took: Duration::from_millis(1),
            bytes: 4096,
            useful,
            all: 100,
        };
        let mut now = start;
        for _ in 0..100_000 {
            now += Duration::from_micros(100);
            assert_eq!(budget.worked(&read(100), 254, now), now);
        }
        assert!(!budget.look(now));
        // Frames that come byte by byte.
        for byte in 1..100_000 {
            now += Duration::from_micros(2);
            let read = ReadWork {
                took: Duration::from_micros(2),
                bytes: 1,
                useful: usize::from(byte % 200 == 0),
                all: usize::from(byte % 200 == 0),
            };
            assert_eq!(budget.worked(&read, 254, now), now);
        }
        assert!(!budget.look(now));
        let (began, mut bytes) = (now, 0);
        while now < began + Duration::from_secs(100) {
            now = budget.worked(&read(0), 254, now) + Duration::from_millis(1);
            bytes += 4096;
        }
        assert!(bytes < 256 * 1024 + 101 * 32 * 1024, "{bytes}");
        assert!(observe.troubles.lines()[0].contains("babbling"));
        assert!(budget.look(now));
        assert!(!budget.look(now + QUIET), "quiet again");
        assert!(observe.troubles.lines().is_empty());
    }
}
