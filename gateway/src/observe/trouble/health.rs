//! How one source or upstream is: starting, up, or failing since then because of this. Status,
//! readiness, metric, log and system events are all told from here.
//!
//! A change is told when it comes. One that comes and goes all the time is told so often and then
//! called unstable, until it stays as it is for a while.

use std::collections::VecDeque;
use std::sync::atomic::AtomicI64;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;

use crate::observe::{Happening, Observe, SystemEvent};

/// Changes told within [`CALM`].
const TOLD_MAX: usize = 8;
/// What has not changed for so long is stable.
const CALM: Duration = Duration::from_secs(60);
/// How soon other words for the same state are told again; it doubles.
const WORDS_PAUSE_MIN: Duration = Duration::from_secs(10);
const WORDS_PAUSE_MAX: Duration = Duration::from_secs(3600);
const UNSTABLE: &str = "unstable";
/// The word of everything at first.
pub const STARTING: &str = "starting";

/// What it is that is up or not.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// A source.
    Source,
    /// An upstream.
    Upstream,
}

/// How it is at one moment.
#[derive(Debug, Clone)]
pub struct HealthState {
    /// In a word.
    pub word: &'static str,
    /// Whether it is as it should be.
    pub is_up: bool,
    /// Since when it is in this state.
    pub since: Instant,
    /// The last thing that went wrong, however it is now.
    pub last_error: Option<String>,
}

struct State {
    now: HealthState,
    /// Why it is failing, as it was told.
    why: Option<String>,
    /// Other words for the same state: when the next ones are told, and how long until those after.
    words_after: Instant,
    words_pause: Duration,
    /// When changes were told.
    told: VecDeque<Instant>,
    changed: Instant,
    withheld: u64,
}

/// How one source or upstream is.
pub struct Health {
    kind: Kind,
    name: String,
    up: Gauge<i64, AtomicI64>,
    state: Mutex<State>,
}

impl Health {
    /// One that is starting; `up` is 1 while it is up.
    pub fn new(kind: Kind, name: &str, up: Gauge<i64, AtomicI64>, now: Instant) -> Health {
        up.set(0);
        Health {
            kind,
            name: name.to_owned(),
            up,
            state: Mutex::new(State {
                now: HealthState {
                    word: STARTING,
                    is_up: false,
                    since: now,
                    last_error: None,
                },
                why: None,
                words_after: now,
                words_pause: Duration::ZERO,
                told: VecDeque::new(),
                changed: now,
                withheld: 0,
            }),
        }
    }

    /// It starts once more, which is told to nobody.
    pub fn begin_anew(&self, now: Instant) {
        let mut state = self.lock();
        (state.now.word, state.now.is_up, state.now.since) = (STARTING, false, now);
        state.now.last_error = None;
        state.why = None;
        self.up.set(0);
    }

    fn lock(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn subject(&self) -> String {
        match self.kind {
            Kind::Source => format!("source {}", self.name),
            Kind::Upstream => format!("upstream {}", self.name),
        }
    }

    /// How it is.
    pub fn state(&self) -> HealthState {
        self.lock().now.clone()
    }

    /// Remembers what went wrong, which changes nothing else.
    pub fn failed(&self, why: String) {
        self.lock().now.last_error = Some(why);
    }

    /// It is up, in a word: `listening`, `connected`, `open`. `happening` is told if that is news.
    /// Without `observe` nobody is told.
    pub fn up(
        &self,
        observe: Option<&Observe>,
        word: &'static str,
        now: Instant,
        happening: &dyn Happening,
    ) {
        self.change(observe, (word, None), now, happening);
    }

    /// The same for what is failing: `waiting`, `connecting`, `down`; and why.
    pub fn down(
        &self,
        observe: Option<&Observe>,
        word: &'static str,
        why: &str,
        now: Instant,
        happening: &dyn Happening,
    ) {
        self.change(observe, (word, Some(why)), now, happening);
    }

    fn change(
        &self,
        observe: Option<&Observe>,
        (word, why): (&'static str, Option<&str>),
        now: Instant,
        happening: &dyn Happening,
    ) {
        let withheld = {
            let mut state = self.lock();
            let is_up = why.is_none();
            let is_other = state.now.word != word || state.now.is_up != is_up;
            if let Some(why) = why {
                state.now.last_error = Some(why.to_owned());
            }
            if is_other {
                state.now.since = now;
                (state.words_after, state.words_pause) = (now, Duration::ZERO);
            } else if is_up || state.why.as_deref() == why || now < state.words_after {
                return;
            } else {
                // Some servers never say the same twice.
                state.words_pause = (state.words_pause * 2).clamp(WORDS_PAUSE_MIN, WORDS_PAUSE_MAX);
                state.words_after = now + state.words_pause;
            }
            (state.now.word, state.now.is_up) = (word, is_up);
            state.why = why.map(str::to_owned);
            self.up.set(i64::from(is_up));
            state.changed = now;
            let is_past = |at: &Instant| now.saturating_duration_since(*at) >= CALM;
            while state.told.front().is_some_and(is_past) {
                state.told.pop_front();
            }
            if state.withheld == 0 && state.told.len() < TOLD_MAX {
                state.told.push_back(now);
            } else {
                state.withheld += 1;
            }
            (state.withheld > 0).then(|| (state.withheld, state.now.last_error.clone()))
        };
        let Some(observe) = observe else { return };
        let Some((changes, last)) = withheld else {
            return observe.emit_change(happening);
        };
        let last = last.unwrap_or_else(|| "no reason is known".to_owned());
        let were = if changes == 1 {
            "change was"
        } else {
            "changes were"
        };
        let what = format!(
            "it comes and goes all the time; {changes} {were} not told, and the next one is when nothing has changed for a \
             minute. Mend the last reason; where that is not the cause, look at its cable, network and power. The last reason: {last}"
        );
        observe.follow(&self.subject(), UNSTABLE, &what, None);
    }

    /// Looks whether one that was unstable stays as it is.
    pub fn look(&self, observe: &Observe, now: Instant) {
        let state = {
            let mut state = self.lock();
            let is_calm = now.saturating_duration_since(state.changed) >= CALM;
            if state.withheld == 0 || !is_calm {
                return;
            }
            state.withheld = 0;
            state.told.clear();
            state.now.clone()
        };
        observe.clear(&self.subject(), UNSTABLE);
        observe.emit_change(&Stays {
            health: self,
            state: &state,
        });
    }
}

/// One that came and went stays as it is.
struct Stays<'a> {
    health: &'a Health,
    state: &'a HealthState,
}

impl Stays<'_> {
    fn why(&self) -> &str {
        match self.state.is_up {
            true => "",
            false => self.state.last_error.as_deref().unwrap_or_default(),
        }
    }
}

impl Happening for Stays<'_> {
    fn log(&self) {
        let (subject, word) = (self.health.subject(), self.state.word);
        match self.state.is_up {
            true => tracing::info!("{subject} is {word} again, and stable"),
            false => tracing::warn!("{subject} is {word}, and stays so: {}", self.why()),
        }
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: match (self.health.kind, self.state.is_up) {
                (Kind::Source, true) => "dev.tidegate.source.up",
                (Kind::Source, false) => "dev.tidegate.source.down",
                (Kind::Upstream, true) => "dev.tidegate.upstream.up",
                (Kind::Upstream, false) => "dev.tidegate.upstream.down",
            },
            subject: self.health.name.clone(),
            data: match self.state.is_up {
                true => serde_json::json!({}),
                false => serde_json::json!({ "why": self.why() }),
            },
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::clock;

    struct Told(&'static str);
    impl Happening for Told {
        fn log(&self) {}
        fn system_event(&self) -> Option<SystemEvent> {
            Some(SystemEvent {
                kind: self.0,
                subject: String::new(),
                data: serde_json::Value::Null,
            })
        }
    }

    #[test]
    fn a_change_is_told_and_the_same_once_more_is_not() {
        let observe = Observe::default();
        let (sender, mut events) = tokio::sync::mpsc::channel(64);
        observe.route_system_events(sender);
        let start = clock::monotonic();
        let at = |s: u64| start + Duration::from_secs(s);
        let up = Gauge::default();
        let health = Health::new(Kind::Source, "press", up.clone(), start);
        let state = health.state();
        assert_eq!((state.word, state.is_up, up.get()), (STARTING, false, 0));
        let told = Some(&observe);
        health.down(told, "waiting", "no such port", at(1), &Told("down"));
        health.down(told, "waiting", "no such port", at(2), &Told("down"));
        health.down(told, "waiting", "no permission", at(3), &Told("down"));
        let state = health.state();
        assert_eq!((state.word, state.since), ("waiting", at(1)));
        health.up(told, "open", at(4), &Told("up"));
        health.up(told, "open", at(5), &Told("up"));
        assert_eq!((health.state().since, up.get()), (at(4), 1));
        assert_eq!(health.state().last_error.as_deref(), Some("no permission"));
        let kinds: Vec<_> = std::iter::from_fn(|| events.try_recv().ok())
            .map(|event| event.kind)
            .collect();
        assert_eq!(kinds, ["down", "down", "up"]);
    }

    #[test]
    fn a_reason_that_changes_all_the_time_is_told_ever_more_seldom() {
        let observe = Observe::default();
        let (sender, mut events) = tokio::sync::mpsc::channel(64);
        observe.route_system_events(sender);
        let start = clock::monotonic();
        let health = Health::new(Kind::Upstream, "hook", Gauge::default(), start);
        let mut told = 0;
        for second in 0..86_400 {
            let now = start + Duration::from_secs(second);
            let why = format!("503: request {second}");
            health.down(Some(&observe), "failing", &why, now, &Told("down"));
            health.look(&observe, now);
            told += std::iter::from_fn(|| events.try_recv().ok()).count();
            assert_eq!(health.state().last_error, Some(why), "the status has it");
        }
        assert!((20..40).contains(&told), "{told}");
        assert!(
            observe.troubles.lines_at(start).is_empty(),
            "it is not unstable"
        );
    }

    #[test]
    fn one_that_comes_and_goes_is_told_a_few_times_then_called_unstable_until_it_stays() {
        let observe = Observe::default();
        let (sender, mut events) = tokio::sync::mpsc::channel(64);
        observe.route_system_events(sender);
        let start = clock::monotonic();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let health = Health::new(Kind::Upstream, "cloud", Gauge::default(), start);
        // For an hour, four changes a second.
        for round in 0..7_200 {
            health.up(Some(&observe), "up", at(500 * round), &Told("up"));
            let now = at(500 * round + 250);
            health.down(Some(&observe), "down", "refused", now, &Told("down"));
            health.look(&observe, now);
        }
        assert!(observe.is_raised("upstream cloud", UNSTABLE));
        assert!(observe.troubles.lines_at(start)[0].contains("refused"));
        let mut kinds = Vec::new();
        while let Ok(event) = events.try_recv() {
            kinds.push(event.kind);
        }
        assert_eq!(kinds.len(), TOLD_MAX + 1, "{kinds:?}");
        assert_eq!(kinds.last(), Some(&"dev.tidegate.trouble.raised"));
        let end = at(500 * 7_200);
        health.look(&observe, end + CALM / 2);
        assert!(events.try_recv().is_err());
        health.look(&observe, end + CALM);
        let mut kinds = Vec::new();
        while let Ok(event) = events.try_recv() {
            kinds.push(event.kind);
        }
        let expected = ["dev.tidegate.trouble.cleared", "dev.tidegate.upstream.down"];
        assert_eq!(kinds, expected);
        health.up(Some(&observe), "up", end + 2 * CALM, &Told("up"));
        assert!(events.try_recv().is_ok(), "changes are told again");
    }
}
