//! How long events take from their acceptance to the upstream's acknowledgement: live ones and those of a backlog apart.

use std::sync::{Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::family::Family;

use super::histogram::{Counts, Durations, quantile_ms};
use crate::observe::Observe;
use crate::observe::status::{DeliveryStatus, DeliveryTraffic, DeliveryWindow};

/// What `status` calls recent is between one and two of these old.
const HALF_WINDOW: Duration = Duration::from_secs(30);

/// Priorities by their number.
const PRIORITIES: [&str; 4] = ["low", "normal", "high", "critical"];
/// Whether an event waited behind an interruption, by its number.
const TRAFFICS: [&str; 2] = ["backlog", "live"];

#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
struct DeliveryLabel {
    upstream: String,
    priority: &'static str,
    traffic: &'static str,
}

/// The histograms of all upstreams, registered once.
#[derive(Clone)]
pub(super) struct DeliveryFamily(Family<DeliveryLabel, Durations>);

impl DeliveryFamily {
    pub(super) fn register(observe: &Observe) -> DeliveryFamily {
        let family = Family::default();
        observe.register(|registry| {
            registry.register(
                "event_delivery_seconds",
                "From the acceptance of an event to the upstream's acknowledgement",
                family.clone(),
            );
        });
        DeliveryFamily(family)
    }

    /// An upstream is gone for good.
    pub(super) fn remove(&self, upstream: &str) {
        for (priority, traffic) in PRIORITIES
            .into_iter()
            .flat_map(|priority| TRAFFICS.map(|of| (priority, of)))
        {
            self.0.remove(&DeliveryLabel {
                upstream: upstream.into(),
                priority,
                traffic,
            });
        }
    }

    /// Those of one upstream.
    pub(super) fn of(&self, upstream: &str, now: Instant) -> DeliveryTimes {
        let start = Snapshot {
            at: now,
            counts: Default::default(),
        };
        DeliveryTimes {
            family: self.0.clone(),
            upstream: upstream.into(),
            cells: Default::default(),
            start: now,
            recent: Mutex::new([start.clone(), start]),
        }
    }
}

/// Counts of both traffics.
#[derive(Clone)]
struct Both([Counts; TRAFFICS.len()]);

impl Default for Both {
    fn default() -> Self {
        Both([[0; _]; TRAFFICS.len()])
    }
}

impl Both {
    fn since(&self, before: &Both) -> Both {
        let mut rest = self.clone();
        for (rest, before) in rest.0.iter_mut().zip(&before.0) {
            for (rest, before) in rest.iter_mut().zip(before) {
                *rest = rest.saturating_sub(*before);
            }
        }
        rest
    }

    fn window(&self, span: Duration) -> DeliveryWindow {
        let [backlog, live] = self.0.each_ref().map(|counts| DeliveryTraffic {
            events: counts.iter().sum(),
            p50_ms: quantile_ms(counts, 0.5),
            p99_ms: quantile_ms(counts, 0.99),
        });
        let seconds = span.as_secs_f64().max(1.0);
        let events_per_s = (live.events + backlog.events) as f64 / seconds;
        DeliveryWindow {
            window_ms: span.as_millis() as u64,
            events_per_s: (events_per_s * 10.0).round() / 10.0,
            live,
            backlog,
        }
    }
}

/// What was counted at one moment.
#[derive(Clone)]
struct Snapshot {
    at: Instant,
    counts: Box<Both>,
}

/// How long events took to one upstream.
pub struct DeliveryTimes {
    family: Family<DeliveryLabel, Durations>,
    upstream: String,
    /// By priority and traffic, each made with its first event.
    cells: [[OnceLock<Durations>; TRAFFICS.len()]; PRIORITIES.len()],
    start: Instant,
    /// The older one is where the recent time begins.
    recent: Mutex<[Snapshot; 2]>,
}

impl DeliveryTimes {
    /// An output of this class was acknowledged.
    pub fn observe(&self, class: u8, live: bool, took: Duration) {
        let Some(cells) = self.cells.get(usize::from(class)) else {
            return;
        };
        let cell = cells[usize::from(live)].get_or_init(|| {
            let label = DeliveryLabel {
                upstream: self.upstream.clone(),
                priority: PRIORITIES[usize::from(class)],
                traffic: TRAFFICS[usize::from(live)],
            };
            self.family.get_or_create_owned(&label)
        });
        cell.observe(took);
    }

    /// Lets the recent time begin later, if it is long; to be called before what is observed.
    pub fn turn(&self, now: Instant) {
        drop(self.turned(now));
    }

    fn turned(&self, now: Instant) -> MutexGuard<'_, [Snapshot; 2]> {
        let mut recent = self.recent.lock().unwrap_or_else(PoisonError::into_inner);
        let age = now.saturating_duration_since(recent[1].at);
        if age >= HALF_WINDOW {
            let counts = Box::new(self.counts());
            recent.rotate_left(1);
            recent[1] = Snapshot { at: now, counts };
        }
        if age >= HALF_WINDOW * 2 {
            // Whatever was counted since then is older than half a window.
            let at = now.checked_sub(HALF_WINDOW).unwrap_or(now);
            recent[1].at = at;
            recent[0] = recent[1].clone();
        }
        recent
    }

    fn counts(&self) -> Both {
        let mut both = Both::default();
        for cells in &self.cells {
            for (counts, cell) in both.0.iter_mut().zip(cells) {
                if let Some(cell) = cell.get() {
                    cell.add_to(counts);
                }
            }
        }
        both
    }

    /// What `tidegate status` shows.
    pub fn status(&self, now: Instant) -> DeliveryStatus {
        let (begin, before) = {
            let recent = self.turned(now);
            (recent[0].at, recent[0].counts.clone())
        };
        let counts = self.counts();
        let span = |since| now.saturating_duration_since(since);
        DeliveryStatus {
            recent: counts.since(&before).window(span(begin)),
            since_start: counts.window(span(self.start)),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn times() -> (DeliveryTimes, Observe, Instant) {
        let (observe, now) = (Observe::default(), Instant::now());
        let times = DeliveryFamily::register(&observe).of("cloud", now);
        (times, observe, now)
    }

    #[test]
    fn live_and_backlog_are_apart_and_each_priority_has_its_own() {
        let (times, observe, _) = times();
        assert!(
            !observe.metrics_text().contains("traffic="),
            "only what there is"
        );
        times.observe(1, true, Duration::from_millis(2));
        times.observe(1, true, Duration::from_millis(3));
        times.observe(3, false, Duration::from_secs(7));
        times.observe(9, true, Duration::ZERO);
        let text = observe.metrics_text();
        let live = r#"{upstream="cloud",priority="normal",traffic="live""#;
        let backlog = r#"{upstream="cloud",priority="critical",traffic="backlog""#;
        let name = "tidegate_event_delivery_seconds";
        for line in [
            format!("{name}_sum{live}}} 0.005"),
            format!("{name}_count{live}}} 2"),
            format!("{name}_bucket{{le=\"0.001\",{}}} 0", &live[1..]),
            format!("{name}_bucket{{le=\"0.0025\",{}}} 1", &live[1..]),
            format!("{name}_bucket{{le=\"0.005\",{}}} 2", &live[1..]),
            format!("{name}_bucket{{le=\"+Inf\",{}}} 2", &live[1..]),
            format!("{name}_bucket{{le=\"5.0\",{}}} 0", &backlog[1..]),
            format!("{name}_bucket{{le=\"10.0\",{}}} 1", &backlog[1..]),
        ] {
            assert!(text.lines().any(|found| found == line), "{line}\n{text}");
        }
    }

    #[test]
    fn recent_is_the_last_minute_and_idle_time_is_no_slow_event() {
        let (times, _, start) = times();
        let at = |s: u64| start + Duration::from_secs(s);
        let send = |from_s: u64, to_s: u64, ms: u64| {
            for second in from_s..to_s {
                times.turn(at(second));
                (0..10).for_each(|_| times.observe(1, true, Duration::from_millis(ms)));
            }
        };
        send(0, 5, 4);
        let status = times.status(at(5));
        assert_eq!(
            (status.recent.window_ms, status.recent.events_per_s),
            (5_000, 10.0)
        );
        send(5, 300, 4);
        send(300, 360, 400);
        let status = times.status(at(360));
        assert!(
            (30_000..=60_000).contains(&status.recent.window_ms),
            "{status:?}"
        );
        assert!(
            (9.5..=10.5).contains(&status.recent.events_per_s),
            "{status:?}"
        );
        let p50 = status.recent.live.p50_ms.expect("some");
        assert!(
            (320.0..=500.0).contains(&p50),
            "only the last minute: {p50}"
        );
        assert_eq!(status.since_start.live.events, 3_600);
        assert!(status.since_start.live.p50_ms.expect("some") <= 5.0);
        let status = times.status(at(1_000));
        assert_eq!(
            status.recent.live,
            DeliveryTraffic::default(),
            "nothing of late"
        );
        times.turn(at(2_000));
        times.observe(1, false, Duration::from_secs(1_000));
        let status = times.status(at(2_000));
        assert_eq!(status.recent.backlog.events, 1);
        assert_eq!(
            (status.recent.window_ms, status.recent.events_per_s),
            (30_000, 0.0)
        );
    }
}
