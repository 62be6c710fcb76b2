//! How an upstream is, as its connections and its answers show it.

use std::sync::atomic::{AtomicBool, AtomicI64, Ordering};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::metrics::gauge::Gauge;

use crate::observe::trouble::health::{Health, HealthState, Kind};
use crate::observe::{Happening, Observe, SystemEvent};

/// An upstream that for so long says nothing but "not now" is failing.
const FAILING_AFTER: Duration = Duration::from_secs(5);
/// A connection that stood for so long with nothing to be acknowledged is a good one.
const GOOD_AFTER: Duration = Duration::from_secs(5);

/// What the present connection has shown so far.
#[derive(Default)]
struct Proof {
    connected_since: Option<Instant>,
    /// Something was acknowledged on it, or nothing was to be for a while.
    is_good: bool,
    /// The one before broke without having shown that: this one must, before it counts as up.
    is_suspect: bool,
    /// The first "not now" since something was acknowledged, and the last one's words.
    busy: Option<(Instant, String)>,
}

/// How one upstream is.
pub struct UpstreamHealth {
    health: Health,
    name: String,
    in_flight: Gauge<i64, AtomicI64>,
    proof: Mutex<Proof>,
    /// Something was acknowledged since the last look.
    confirmed: AtomicBool,
}

impl UpstreamHealth {
    pub(super) fn new(
        name: &str,
        up: Gauge<i64, AtomicI64>,
        in_flight: Gauge<i64, AtomicI64>,
        now: Instant,
    ) -> UpstreamHealth {
        UpstreamHealth {
            health: Health::new(Kind::Upstream, name, up, now),
            name: name.to_owned(),
            in_flight,
            proof: Mutex::default(),
            confirmed: AtomicBool::new(false),
        }
    }

    /// How it is.
    pub fn state(&self) -> HealthState {
        self.health.state()
    }

    /// It has ended, and begins anew in another shape.
    pub fn begin_anew(&self, now: Instant) {
        *self.proof() = Proof::default();
        self.health.begin_anew(now);
    }

    /// Something was acknowledged.
    pub fn acknowledged(&self) {
        self.confirmed.store(true, Ordering::Relaxed);
    }

    /// The upstream said "not now".
    pub fn busy(&self, why: String, now: Instant) {
        self.health.failed(why.clone());
        let mut proof = self.proof();
        let since = proof.busy.as_ref().map_or(now, |(since, _)| *since);
        proof.busy = Some((since, why));
    }

    fn proof(&self) -> MutexGuard<'_, Proof> {
        self.proof.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Looks at what the answers since the last look, and the time without any, say of the upstream.
    pub fn judge(&self, observe: Option<&Observe>, now: Instant) {
        let mut proof = self.proof();
        let Some(since) = proof.connected_since else {
            return;
        };
        let idle = proof.busy.is_none() && self.in_flight.get() == 0;
        let stood = now.saturating_duration_since(since) >= GOOD_AFTER;
        if self.confirmed.swap(false, Ordering::Relaxed) || (idle && stood) {
            (proof.is_good, proof.is_suspect, proof.busy) = (true, false, None);
            drop(proof);
            return self.is_up(observe, now);
        }
        let busy = proof
            .busy
            .take_if(|(since, _)| now.saturating_duration_since(*since) >= FAILING_AFTER);
        let Some((since, why)) = busy else { return };
        proof.busy = Some((since, why.clone()));
        drop(proof);
        let upstream = &self.name;
        let told = UpstreamDown {
            upstream,
            why: &why,
        };
        self.health.down(observe, "failing", &why, now, &told);
    }

    fn is_up(&self, observe: Option<&Observe>, now: Instant) {
        let upstream = &self.name;
        self.health.up(observe, "up", now, &UpstreamUp { upstream });
    }

    /// Remembers what went wrong last.
    pub fn failed(&self, why: String) {
        self.health.failed(why);
    }

    /// There is a connection. After one that broke before it acknowledged anything it does not
    /// count as up until it does.
    pub fn connected(&self, observe: Option<&Observe>, now: Instant) {
        let is_suspect = {
            let mut proof = self.proof();
            proof.connected_since = Some(now);
            proof.is_good = false;
            proof.is_suspect
        };
        if !is_suspect {
            self.is_up(observe, now);
        }
    }

    /// The connection is gone or did not come.
    pub fn disconnected(&self, observe: Option<&Observe>, why: &str, now: Instant) {
        let mut proof = self.proof();
        if proof.connected_since.take().is_some() {
            proof.is_suspect = !proof.is_good && !self.confirmed.swap(false, Ordering::Relaxed);
        }
        proof.busy = None;
        drop(proof);
        let upstream = &self.name;
        let told = UpstreamDown { upstream, why };
        self.health.down(observe, "down", why, now, &told);
    }

    /// Looks at it once a second.
    pub fn look(&self, observe: &Observe, now: Instant) {
        self.judge(Some(observe), now);
        self.health.look(observe, now);
    }
}

/// An upstream is connected.
pub struct UpstreamUp<'a> {
    /// Its name.
    pub upstream: &'a str,
}

impl Happening for UpstreamUp<'_> {
    fn log(&self) {
        tracing::info!(upstream = self.upstream, "upstream up");
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.upstream.up",
            subject: self.upstream.into(),
            data: serde_json::json!({}),
        })
    }
}

/// An upstream is not connected; told once for each reason.
pub struct UpstreamDown<'a> {
    /// Its name.
    pub upstream: &'a str,
    /// What happened.
    pub why: &'a str,
}

impl Happening for UpstreamDown<'_> {
    fn log(&self) {
        tracing::warn!(upstream = self.upstream, "upstream down: {}", self.why);
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.upstream.down",
            subject: self.upstream.into(),
            data: serde_json::json!({ "why": self.why }),
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::forward::{LaneFamilies, LaneMetrics};
    use crate::time::clock;

    /// A lane `cloud` that told of its changes.
    struct Told {
        observe: Observe,
        events: tokio::sync::mpsc::Receiver<SystemEvent>,
        lane: LaneMetrics,
    }

    impl Told {
        fn new(start: Instant) -> Told {
            let observe = Observe::default();
            let (sender, events) = tokio::sync::mpsc::channel(64);
            observe.route_system_events(sender);
            let lane = LaneFamilies::register(&observe).of("cloud", 0, start);
            Told {
                observe,
                events,
                lane,
            }
        }

        /// What is told once `happens` has, and once it was judged.
        fn after(
            &mut self,
            now: Instant,
            happens: impl FnOnce(&LaneMetrics, Option<&Observe>),
        ) -> Vec<String> {
            happens(&self.lane, Some(&self.observe));
            self.lane.health.look(&self.observe, now);
            let told = std::iter::from_fn(|| self.events.try_recv().ok());
            let told = told.map(|event| {
                let word = event.kind.rsplit('.').next().unwrap_or_default();
                let why = event.data["why"].as_str().unwrap_or_default();
                format!("{word} {why}").trim().to_owned()
            });
            told.collect()
        }

        fn up_metric(&self) -> bool {
            let text = self.observe.metrics_text();
            text.contains("tidegate_upstream_up{upstream=\"cloud\"} 1")
        }
    }

    const NOTHING: [String; 0] = [];

    #[test]
    fn an_upstream_that_takes_nothing_for_a_while_is_failing_until_it_takes_something() {
        let start = clock::monotonic();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut told = Told::new(start);
        let busy = |words: &'static str, ms| {
            move |lane: &LaneMetrics, _: Option<&Observe>| lane.busy(words.into(), at(ms))
        };
        let confirms = |lane: &LaneMetrics, _: Option<&Observe>| {
            lane.observe_confirm(Duration::ZERO);
        };
        let waits = |_: &LaneMetrics, _: Option<&Observe>| {};
        assert_eq!(told.lane.status("cloud", "http", start).state, "starting");
        assert_eq!(
            told.after(start, |lane, to| lane.health.connected(to, start)),
            ["up"]
        );
        assert_eq!(told.after(at(0), busy("503", 0)), NOTHING, "one is no sign");
        assert_eq!(told.after(at(4_000), confirms), NOTHING);
        let anew = told.after(at(9_000), busy("503", 4_500));
        assert_eq!(anew, NOTHING, "counted anew");
        // No further answer is needed: it may have asked for a pause.
        assert_eq!(told.after(at(9_500), waits), ["down 503"]);
        assert_eq!(told.after(at(9_600), waits), NOTHING, "told once");
        let status = told.lane.status("cloud", "http", at(10_000));
        assert_eq!((&*status.state, status.since_ms), ("failing", 500));
        assert!(!told.up_metric());
        let other = told.after(at(10_500), busy("401: log in", 10_500));
        assert_eq!(other, ["down 401: log in"], "another reason is told");
        assert_eq!(told.after(at(11_000), confirms), ["up"]);
        assert!(told.up_metric());
        assert_eq!(told.lane.status("cloud", "http", at(11_000)).state, "up");
    }

    #[test]
    fn a_connection_that_follows_one_that_never_worked_is_up_once_it_works() {
        let start = clock::monotonic();
        let at = |ms: u64| start + Duration::from_millis(ms);
        let mut told = Told::new(start);
        let connects = |ms| {
            move |lane: &LaneMetrics, to: Option<&Observe>| {
                lane.health.connected(to, at(ms));
                lane.in_flight(1);
            }
        };
        let breaks = |ms| {
            move |lane: &LaneMetrics, to: Option<&Observe>| {
                lane.in_flight(0);
                lane.health.disconnected(to, "reset", at(ms));
            }
        };
        assert_eq!(told.after(at(0), connects(0)), ["up"]);
        assert_eq!(told.after(at(10), breaks(10)), ["down reset"]);
        for round in 1..10 {
            let ms = 100_000 * round;
            assert_eq!(told.after(at(ms), connects(ms)), NOTHING);
            assert_eq!(told.after(at(ms + 90_000), breaks(ms + 90_000)), NOTHING);
            assert!(!told.up_metric());
        }
        let ms = 1_000_000;
        assert_eq!(told.after(at(ms), connects(ms)), NOTHING);
        let confirms = |lane: &LaneMetrics, _: Option<&Observe>| {
            lane.observe_confirm(Duration::ZERO);
        };
        assert_eq!(told.after(at(ms + 10), confirms), ["up"]);
        let again = told.after(at(ms + 20), breaks(ms + 20));
        assert_eq!(again, ["down reset"]);
        let ms = ms + 100;
        assert_eq!(told.after(at(ms), connects(ms)), ["up"], "it worked before");
        assert_eq!(told.after(at(ms), breaks(ms)), ["down reset"]);
        let idles = |lane: &LaneMetrics, to: Option<&Observe>| lane.health.connected(to, at(ms));
        assert_eq!(told.after(at(ms + 4_900), idles), NOTHING);
        let stood = told.after(at(ms + 5_000), |_, _| {});
        assert_eq!(stood, ["up"], "nothing was to be acknowledged");
    }
}
