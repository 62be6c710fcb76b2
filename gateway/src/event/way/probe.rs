//! Whether a content that comes once after each time that it was sent comes because of that. Its upstream is held for a
//! moment of random length each time: what goes round comes later by just that much, whatever else delays it, a sensor
//! keeps a time of its own. How much later it comes for each second that it was held is the slope of a line through all
//! rounds, by least squares; so many standard errors from nothing are no chance. The other gateways of a ring may do so at
//! once: their moments are delays like others.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::{Duration, Instant};

use super::pauses::Pauses;

/// So many returns in a row are looked into.
const STREAK: u32 = 8;
/// The longest moment of the first series; that of the next is twice as long...
const MOMENT_MS_FIRST: u64 = 400;
/// ... up to this.
const MOMENT_MS_MAX: u64 = 1_600;
/// Rounds of a series.
const ROUNDS: u32 = 12;
/// Series until it is left alone.
const SERIES_MAX: u32 = 6;
/// What goes round comes later by at least so much of the time that it was held...
const SLOPE_MIN: f64 = 0.5;
/// ... and so many standard errors are no chance.
const ERRORS_MIN: f64 = 7.0;
/// So many standard errors below what goes round would be, it keeps a time of its own.
const ERRORS_OWN_TIME: f64 = 3.5;
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

/// Rounds: how long the upstream was to be held in each, and how long it took from coming to coming, in s.
#[derive(Debug, Default)]
struct Rounds(Vec<(f64, f64)>);

impl Rounds {
    fn add(&mut self, held: Duration, took: Duration) {
        self.0.push((held.as_secs_f64(), took.as_secs_f64()));
    }

    /// How much later it came for each second that it was held, and the standard error of that.
    fn slope(&self) -> (f64, f64) {
        let count = self.0.len() as f64;
        let (held, took) = self.0.iter().fold((0.0, 0.0), |sum, round| {
            (sum.0 + round.0 / count, sum.1 + round.1 / count)
        });
        let (mut squares, mut products) = (0.0, 0.0);
        for round in &self.0 {
            squares += (round.0 - held).powi(2);
            products += (round.0 - held) * (round.1 - took);
        }
        let slope = products / squares;
        let off = |round: &(f64, f64)| round.1 - took - slope * (round.0 - held);
        let rest: f64 = self.0.iter().map(|round| off(round).powi(2)).sum();
        (slope, (rest / (count - 2.0) / squares).sqrt())
    }
}

/// A look into one content of an upstream.
#[derive(Debug)]
struct Probe {
    key: u64,
    came: Instant,
    hold_until: Instant,
    moment_ms_max: u64,
    rounds: Rounds,
    rounds_of_series: u32,
    series: u32,
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
                if came.sent.is_none() {
                    self.end(upstream, now);
                    return false;
                }
                probe.round(now);
                if probe.rounds_of_series == ROUNDS {
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
            moment_ms_max: MOMENT_MS_FIRST,
            rounds: Rounds::default(),
            rounds_of_series: 0,
            series: 1,
        };
        self.running.insert(Arc::clone(came.upstream), probe);
        self.hold(came.upstream, came.now);
    }

    /// What came just now goes out a moment later.
    fn hold(&mut self, upstream: &str, now: Instant) {
        if let Some(probe) = self.running.get_mut(upstream) {
            let moment_ms = self.random.u64(0..=probe.moment_ms_max);
            probe.hold_until = now + Duration::from_millis(moment_ms);
        }
    }

    /// A series is over. Whether the content goes round.
    fn judge(&mut self, upstream: &Arc<str>, now: Instant) -> bool {
        let Some(probe) = self.running.get_mut(upstream) else {
            return false;
        };
        let (slope, error) = probe.rounds.slope();
        if slope > SLOPE_MIN && slope > ERRORS_MIN * error {
            self.running.remove(upstream);
            return true;
        }
        let keeps_its_time = slope < SLOPE_MIN && 1.0 - slope > ERRORS_OWN_TIME * error;
        if keeps_its_time || probe.series >= SERIES_MAX {
            self.end(upstream, now);
            return false;
        }
        probe.moment_ms_max = (2 * probe.moment_ms_max).min(MOMENT_MS_MAX);
        (probe.rounds_of_series, probe.series) = (0, probe.series + 1);
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
    fn round(&mut self, now: Instant) {
        let held = self.hold_until.saturating_duration_since(self.came);
        self.rounds
            .add(held, now.saturating_duration_since(self.came));
        (self.came, self.rounds_of_series) = (now, self.rounds_of_series + 1);
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
            (120.0, 100.0),
            (300.0, 250.0),
            (1_000.0, 20.0),
            (1_000.0, 300.0),
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
        for (mean, spread) in [(500.0, 0.0), (60.0, 60.0), (60.0, 200.0)] {
            let mut late = 0;
            for seed in 0..200 {
                let mut pair = [Course::new(2 * seed), Course::new(2 * seed + 1)];
                let mut random = fastrand::Rng::with_seed(seed);
                let mut last = [None; 2];
                let found = (0..2 * (STREAK + ROUNDS * SERIES_MAX)).any(|step| {
                    let at = step as usize % 2;
                    let sent = pair[at].sends(ms(2.0));
                    last[at] = Some(sent);
                    let other = 1 - at;
                    pair[other].now = sent + about(&mut random, mean, spread);
                    let now = pair[other].now;
                    last[other].is_some() && pair[other].came(last[other], now)
                });
                late += u32::from(!found);
            }
            assert!(late <= 4, "{mean} ± {spread} ms: {late} of 200 not found");
        }
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
                let most = Duration::from_secs(40).max(took / 20);
                assert!(
                    course.held < most,
                    "{mean} ± {spread}: {:?} of {took:?}",
                    course.held
                );
            }
        }
    }
}
