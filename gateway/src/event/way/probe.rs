//! Whether a content that comes once after each time that it was sent comes because of that. Its upstream is held for a
//! moment of random length each time: what goes round comes later by just that much, a sensor keeps a time of its own.
//!
//! Two gateways of one ring that do so at once would not see it for the other's moments, so each leaves out a series now
//! and then.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pauses::Pauses;

/// So many returns in a row are looked into.
const STREAK: u32 = 8;
/// The longest moment.
const MOMENT_MS_MAX: u64 = 400;
/// Rounds of a series.
const ROUNDS: u32 = 12;
/// Series until it is left alone.
const SERIES_MAX: u32 = 5;
/// Of these, so many in a row are left out at most.
const LEFT_OUT_MAX: u32 = 2;
/// The time from sending to coming must vary so much less than that from coming to coming.
const VARIES_LESS: f64 = 6.0;
/// And so much more where it keeps a time of its own.
const VARIES_MORE: f64 = 1.5;
/// A content that has not come for so long is looked into no more.
const ROUND_MAX: Duration = Duration::from_secs(60);

/// A content that came.
#[derive(Debug, Clone, Copy)]
pub(super) struct Came<'a> {
    /// The upstream that it is sent by.
    pub(super) upstream: &'a Arc<str>,
    pub(super) key: u64,
    /// When it was sent, if it was just once since it came last.
    pub(super) sent: Option<Instant>,
    /// How often that was so in a row.
    pub(super) streak: u32,
    pub(super) now: Instant,
}

/// Times, and how much they vary.
#[derive(Debug, Default)]
struct Times(Vec<f64>);

impl Times {
    fn add(&mut self, time: Duration) {
        self.0.push(time.as_secs_f64());
    }

    fn variance(&self) -> f64 {
        let count = self.0.len() as f64;
        let mean = self.0.iter().sum::<f64>() / count;
        self.0.iter().map(|time| (time - mean).powi(2)).sum::<f64>() / count
    }
}

/// A look into one content of an upstream.
#[derive(Debug)]
struct Probe {
    key: u64,
    came: Instant,
    hold_until: Instant,
    /// Whether it is held in this series.
    is_active: bool,
    /// Series left out in a row.
    left_out: u32,
    rounds: u32,
    series: u32,
    from_sent: Times,
    from_came: Times,
}

/// What is looked into, one content of each upstream at a time.
#[derive(Debug)]
pub(super) struct Probes {
    running: HashMap<Arc<str>, Probe>,
    pauses: Pauses,
    random: fastrand::Rng,
}

impl Probes {
    pub(super) fn new(random: fastrand::Rng) -> Probes {
        Probes {
            running: HashMap::new(),
            pauses: Pauses::default(),
            random,
        }
    }

    /// Whether the upstream is to send nothing just now.
    pub(super) fn holds(&self, upstream: &str, now: Instant) -> bool {
        let probe = self.running.get(upstream);
        probe.is_some_and(|probe| now < probe.hold_until)
    }

    /// Looks into nothing of this upstream any more.
    pub(super) fn give_up(&mut self, upstream: &str) {
        self.running.remove(upstream);
    }

    /// A content came. Whether it went round.
    pub(super) fn came(&mut self, came: Came<'_>) -> bool {
        let Came {
            upstream, key, now, ..
        } = came;
        let stale = |probe: &Probe| now.saturating_duration_since(probe.came) > ROUND_MAX;
        if self.running.get(upstream).is_some_and(stale) {
            self.end(upstream, now);
        }
        match self.running.get_mut(upstream) {
            None => self.begin(came),
            Some(probe) if probe.key != key => {}
            Some(probe) => {
                let Some(sent) = came.sent else {
                    self.end(upstream, now);
                    return false;
                };
                probe.round(sent, now);
                if probe.rounds == ROUNDS {
                    return self.judge(upstream, now);
                }
                self.hold(upstream, now);
            }
        }
        false
    }

    fn begin(&mut self, came: Came<'_>) {
        if came.streak < STREAK || self.pauses.holds(came.upstream, came.now) {
            return;
        }
        let probe = Probe {
            key: came.key,
            came: came.now,
            hold_until: came.now,
            is_active: self.random.bool(),
            left_out: 0,
            rounds: 0,
            series: 1,
            from_sent: Times::default(),
            from_came: Times::default(),
        };
        self.running.insert(Arc::clone(came.upstream), probe);
        self.hold(came.upstream, came.now);
    }

    /// What came just now goes out a moment later.
    fn hold(&mut self, upstream: &str, now: Instant) {
        let moment = Duration::from_millis(self.random.u64(0..=MOMENT_MS_MAX));
        if let Some(probe) = self.running.get_mut(upstream)
            && probe.is_active
        {
            probe.hold_until = now + moment;
        }
    }

    /// A series is over. Whether the content went round in it.
    fn judge(&mut self, upstream: &Arc<str>, now: Instant) -> bool {
        let leaves_out = self.random.bool();
        let Some(probe) = self.running.get_mut(upstream) else {
            return false;
        };
        let (sent, came) = (probe.from_sent.variance(), probe.from_came.variance());
        if probe.is_active && sent * VARIES_LESS < came {
            self.running.remove(upstream);
            return true;
        }
        let keeps_its_time = probe.is_active && sent > VARIES_MORE * came;
        if keeps_its_time || probe.series >= SERIES_MAX {
            self.end(upstream, now);
            return false;
        }
        probe.left_out = if probe.is_active {
            0
        } else {
            probe.left_out + 1
        };
        let is_active = !leaves_out || probe.left_out >= LEFT_OUT_MAX;
        (probe.rounds, probe.is_active) = (0, is_active);
        (probe.from_sent, probe.from_came) = Default::default();
        probe.series += 1;
        self.hold(upstream, now);
        false
    }

    /// Nothing goes round there.
    fn end(&mut self, upstream: &Arc<str>, now: Instant) {
        self.running.remove(upstream);
        self.pauses.begin(upstream, now);
    }
}

impl Probe {
    fn round(&mut self, sent: Instant, now: Instant) {
        self.from_sent.add(now.saturating_duration_since(sent));
        self.from_came.add(now.saturating_duration_since(self.came));
        (self.came, self.rounds) = (now, self.rounds + 1);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Rounds until what comes so long after it was sent, or after it came, is said to go round.
    struct Course {
        probes: Probes,
        upstream: Arc<str>,
        now: Instant,
        streak: u32,
        /// How long it was held.
        held: Duration,
    }

    impl Course {
        fn new(seed: u64) -> Course {
            Course {
                probes: Probes::new(fastrand::Rng::with_seed(seed)),
                upstream: "cloud".into(),
                now: crate::time::clock::monotonic(),
                streak: 0,
                held: Duration::ZERO,
            }
        }

        fn came(&mut self, sent: Option<Instant>, now: Instant) -> bool {
            self.streak = sent.map_or(0, |_| self.streak + 1);
            self.probes.came(Came {
                upstream: &self.upstream,
                key: 7,
                sent,
                streak: self.streak,
                now,
            })
        }

        /// When what came at `now` is sent, if nothing is done in between.
        fn sends(&mut self, after: Duration) -> Instant {
            let mut at = self.now + after;
            while self.probes.holds("cloud", at) {
                at += Duration::from_millis(1);
                self.held += Duration::from_millis(1);
            }
            at
        }
    }

    fn ms(ms: f64) -> Duration {
        Duration::from_secs_f64(ms.max(0.0) / 1000.0)
    }

    /// About this, as a normal deviate would be.
    fn about(random: &mut fastrand::Rng, mean_ms: f64, spread_ms: f64) -> Duration {
        let sum: f64 = (0..12).map(|_| random.f64()).sum();
        ms(mean_ms + (sum - 6.0) * spread_ms)
    }

    #[test]
    fn what_goes_round_is_found_however_long_a_round_takes() {
        for (takes_ms, spread_ms) in [
            (1.0, 0.5),
            (70.0, 5.0),
            (1_000.0, 20.0),
            (10_000.0, 30.0),
            (50_000.0, 30.0),
        ] {
            let (mut late, mut most) = (0, 0);
            for seed in 0..400 {
                let (mut course, mut random) = (Course::new(seed), fastrand::Rng::with_seed(seed));
                let found = (0..STREAK + ROUNDS * SERIES_MAX).position(|_| {
                    let sent = course.sends(ms(2.0));
                    course.now = sent + about(&mut random, takes_ms, spread_ms);
                    course.came(Some(sent), course.now)
                });
                most = most.max(found.unwrap_or_default());
                late += u32::from(found.is_none());
            }
            // Chance may hide it: it is looked into again after a pause.
            assert!(late <= 4, "{takes_ms} ms: {late} of 400 not found");
            assert!(most < (STREAK + ROUNDS * SERIES_MAX) as usize);
        }
    }

    #[test]
    fn two_gateways_of_one_ring_find_it() {
        let mut late = 0;
        for seed in 0..200 {
            let mut pair = [Course::new(2 * seed), Course::new(2 * seed + 1)];
            let mut last = [None; 2];
            let found = (0..2 * (STREAK + ROUNDS * SERIES_MAX)).any(|step| {
                let at = step as usize % 2;
                let sent = pair[at].sends(ms(2.0));
                last[at] = Some(sent);
                let other = 1 - at;
                pair[other].now = sent + ms(500.0);
                let now = pair[other].now;
                last[other].is_some() && pair[other].came(last[other], now)
            });
            late += u32::from(!found);
        }
        assert!(late <= 20, "{late} of 200 not found");
    }

    #[test]
    fn a_sensor_is_never_taken_for_it_and_is_held_up_little() {
        // Mean and spread of the time from one reading to the next.
        let sensors = [
            (20.0, 0.0),
            (100.0, 30.0),
            (300.0, 100.0),
            (1_000.0, 0.0),
            (1_000.0, 50.0),
            (1_000.0, 115.0),
            (1_000.0, 300.0),
            (2_000.0, 150.0),
            (10_000.0, 100.0),
            (10_000.0, 3_000.0),
            (50_000.0, 100.0),
        ];
        for (mean, spread) in sensors {
            for seed in 0..60 {
                let (mut course, mut random) = (Course::new(seed), fastrand::Rng::with_seed(!seed));
                let (begin, mut sent) = (course.now, None);
                let mut next = course.now;
                for reading in 0..600 {
                    course.now = next;
                    let found = course.came(sent.filter(|at| *at <= next), next);
                    assert!(!found, "{mean} ± {spread} ms, reading {reading}, {seed}");
                    sent = Some(course.sends(ms(2.0)));
                    next = course.now + about(&mut random, mean, spread).max(ms(1.0));
                }
                let took = course.now.duration_since(begin);
                // The least is what one look costs.
                let most = Duration::from_secs(15).max(took / 20);
                assert!(
                    course.held < most,
                    "{mean} ± {spread}: {:?} of {took:?}",
                    course.held
                );
            }
        }
    }
}
