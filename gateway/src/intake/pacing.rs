//! When to hand a group to the disk.
//!
//! The first event of an idle gateway goes at once. Under load, the next group gathers for as
//! long as a commit takes, measured, before it goes: that halves the time the disk is busy,
//! grows the groups, and costs an ack at most one more commit's time. It goes earlier when the
//! burst is over: where nothing came for a fraction of a commit in which, at the pace so far,
//! several events would have come, whoever publishes waits for acknowledgements. On a slow disk,
//! whose commits take longer than `commit_delay_max`, it gathers to the end of that. With
//! `commit_delay` a group gathers for at least so long, counted from the last commit: fewer and
//! larger commits, less wear. `commit_delay_max` bounds the wait whatever the measurement says.

use std::time::{Duration, Instant};

use super::group::CommitGroup;

/// Paces the commits of one intake.
#[derive(Debug, Clone)]
pub struct Pacing {
    delay: Duration,
    delay_max: Duration,
    commit: Duration,
    per_second: f64,
    arrived: Option<Instant>,
    handed_over: Option<Instant>,
    finished: Option<Instant>,
}

/// The steps of the runtime's timers. A wait that is shorter is meant to be as short as it is.
pub(super) const TIMER_STEP: Duration = Duration::from_millis(1);
/// Weight of the newest measurement in the running means.
const NEWEST: f64 = 0.2;
/// A burst is over when nothing came for this part of a commit …
const QUIET_OF_COMMIT: f64 = 1.0 / 8.0;
/// … in which so many events would have come.
const QUIET_EVENTS: u32 = 4;

impl Pacing {
    /// Pacing from `commit_delay` to `commit_delay_max`.
    pub fn new(delay: Duration, delay_max: Duration) -> Pacing {
        Pacing {
            delay,
            delay_max,
            commit: Duration::ZERO,
            per_second: 0.0,
            arrived: None,
            handed_over: None,
            finished: None,
        }
    }

    /// How long `group` should still gather, if nothing more comes; `None` when it should go now,
    /// is empty, or the commit thread is not free anyway.
    pub fn wait(&self, group: &CommitGroup, free: bool, now: Instant) -> Option<Duration> {
        if group.is_empty() || !free || !group.has_room() {
            return None;
        }
        self.wait_at(now)
    }

    fn wait_at(&self, now: Instant) -> Option<Duration> {
        let gather = self.commit.max(self.delay).min(self.delay_max);
        let company = self.per_second * gather.as_secs_f64();
        if company < 1.5 {
            return None;
        }
        let finished = self.finished?;
        let Some(quiet) = self.quiet() else {
            let rest = (finished + gather).saturating_duration_since(now);
            return (!rest.is_zero()).then_some(rest.max(TIMER_STEP));
        };
        let over = self.arrived.unwrap_or(finished) + quiet;
        // The next event would be the last one of the group.
        let end = finished + gather + quiet.min(self.gap());
        let until = end.min(over.max(finished + self.delay));
        let rest = until.saturating_duration_since(now);
        (!rest.is_zero()).then_some(rest)
    }

    /// From one event to the next, in the mean.
    fn gap(&self) -> Duration {
        Duration::try_from_secs_f64(1.0 / self.per_second).unwrap_or(self.delay_max)
    }

    /// After how long without an event a burst is over; `None` where a group gathers to the end all
    /// the same: as it is told to, on a disk so slow that the wait is little beside the commit and
    /// each commit counts, or because events come too far apart to tell.
    fn quiet(&self) -> Option<Duration> {
        if self.commit <= self.delay || self.commit >= self.delay_max {
            return None;
        }
        let several = self.gap() * QUIET_EVENTS;
        let quiet = self.commit.mul_f64(QUIET_OF_COMMIT).max(several);
        (quiet < self.commit).then_some(quiet)
    }

    /// An event came.
    pub fn arrived(&mut self, now: Instant) {
        self.arrived = Some(now);
    }

    /// A group went to the commit thread.
    pub fn handed_over(&mut self, group: &CommitGroup, now: Instant) {
        self.handed_over_at(now, group.acks.len());
    }

    fn handed_over_at(&mut self, now: Instant, events: usize) {
        if let Some(last) = self.handed_over {
            let seconds = now.saturating_duration_since(last).as_secs_f64().max(1e-6);
            self.per_second += NEWEST * (events as f64 / seconds - self.per_second);
        }
        self.handed_over = Some(now);
    }

    /// The commit under way finished.
    pub fn finished(&mut self, now: Instant) {
        if let Some(since) = self.handed_over {
            let took = now.saturating_duration_since(since);
            self.commit = self.commit.mul_f64(1.0 - NEWEST) + took.mul_f64(NEWEST);
        }
        self.finished = Some(now);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::time::clock;

    fn after(
        pacing: &mut Pacing,
        start: Instant,
        events: usize,
        every: Duration,
        took: Duration,
    ) -> Instant {
        let mut now = start;
        for _ in 0..50 {
            now += every;
            pacing.handed_over_at(now, events);
            pacing.finished(now + took);
        }
        now + took
    }

    #[test]
    fn the_first_event_goes_at_once() {
        let pacing = Pacing::new(Duration::ZERO, Duration::from_millis(5));
        assert_eq!(pacing.wait_at(clock::monotonic()), None);
    }

    #[test]
    fn a_slow_sender_is_never_made_to_wait() {
        let mut pacing = Pacing::new(Duration::ZERO, Duration::from_millis(5));
        let now = after(
            &mut pacing,
            clock::monotonic(),
            1,
            Duration::from_millis(10),
            Duration::from_micros(300),
        );
        assert_eq!(pacing.wait_at(now), None);
    }

    #[test]
    fn under_load_a_group_gathers_for_as_long_as_a_commit_takes_while_events_come() {
        let mut pacing = Pacing::new(Duration::ZERO, Duration::from_millis(5));
        let finished = after(
            &mut pacing,
            clock::monotonic(),
            50,
            Duration::from_millis(1),
            Duration::from_micros(400),
        );
        let mut now = finished;
        while let Some(wait) = pacing.wait_at(now) {
            assert!(
                wait <= Duration::from_micros(90),
                "{wait:?} until it is looked again"
            );
            now += wait / 2 + Duration::from_micros(1);
            pacing.arrived(now);
            let longest = Duration::from_micros(422);
            assert!(now <= finished + longest, "no longer than a commit");
        }
        let gathered = now - finished;
        assert!(gathered > Duration::from_micros(350), "{gathered:?}");
    }

    #[test]
    fn a_burst_that_is_over_is_not_waited_for() {
        // `commit_delay`, events every so many µs, a commit's µs, and the µs waited for more.
        let cases = [
            (0, 100, 1_000, 400, 50),
            (0, 500, 1_000, 400, 50),
            (0, 100, 2_000, 1_600, 200),
            (0, 30, 1_000, 400, 133),
            // At an even pace the next one would come later than that.
            (0, 5, 1_000, 400, 1_000),
            (0, 2, 1_000, 900, 1_000),
            (0, 1, 1_000, 400, 0),
            // A slow disk, up to `commit_delay_max`.
            (0, 5_000, 100_000, 90_000, 5_000),
            (0, 5_000, 40_000, 24_000, 5_000),
            (0, 500, 8_000, 4_000, 500),
            // What is asked for is waited for.
            (2_000, 100, 1_000, 400, 2_000),
            (400, 100, 1_000, 400, 1_000),
            (300, 100, 1_000, 400, 300),
            (30, 100, 1_000, 400, 50),
        ];
        for case in cases {
            let (delay, events, every, took, expected) = case;
            let [delay, every, took] = [delay, every, took].map(Duration::from_micros);
            let mut pacing = Pacing::new(delay, Duration::from_millis(5));
            let finished = after(&mut pacing, clock::monotonic(), events, every, took);
            pacing.arrived(finished);
            let wait = pacing.wait_at(finished).unwrap_or_default().as_micros();
            assert!(
                wait.abs_diff(expected) <= 1 + expected / 100,
                "{case:?}: {wait}"
            );
        }
    }

    #[test]
    fn with_a_delay_groups_gather_longer_and_only_where_company_comes() {
        let mut pacing = Pacing::new(Duration::from_millis(50), Duration::from_millis(100));
        assert_eq!(pacing.wait_at(clock::monotonic()), None, "the first one");
        let took = Duration::from_micros(300);
        let every = Duration::from_millis(10);
        let now = after(&mut pacing, clock::monotonic(), 1, every, took);
        let wait = pacing.wait_at(now).expect("five come in that time");
        assert!(wait > Duration::from_millis(49), "{wait:?}");
        let mut pacing = Pacing::new(Duration::from_millis(50), Duration::from_millis(100));
        let every = Duration::from_millis(400);
        let now = after(&mut pacing, clock::monotonic(), 1, every, took);
        assert_eq!(pacing.wait_at(now), None, "nobody comes in that time");
    }

    #[test]
    fn a_slow_disk_is_bounded_by_the_setting() {
        let mut pacing = Pacing::new(Duration::ZERO, Duration::from_millis(5));
        let now = after(
            &mut pacing,
            clock::monotonic(),
            500,
            Duration::from_millis(100),
            Duration::from_millis(90),
        );
        assert!(pacing.wait_at(now).expect("company is near") <= Duration::from_millis(5));
    }

    /// How long a group gathered before bursts were told from pauses.
    fn to_the_end(pacing: &Pacing, now: Instant) -> Option<Duration> {
        let gather = pacing.commit.max(pacing.delay).min(pacing.delay_max);
        let rest = (pacing.finished? + gather).saturating_duration_since(now);
        let company = pacing.per_second * gather.as_secs_f64();
        (company >= 1.5 && !rest.is_zero()).then(|| rest.max(TIMER_STEP))
    }

    /// Events per commit where one comes every `gap` and a commit takes `took`.
    fn events_per_commit(
        delay: Duration,
        (gap, took): (Duration, Duration),
        wait: impl Fn(&Pacing, Instant) -> Option<Duration>,
    ) -> f64 {
        const EVENTS: u32 = 3_000;
        let mut pacing = Pacing::new(delay, delay.max(Duration::from_millis(5)));
        let start = clock::monotonic();
        let (mut now, mut came, mut gone, mut commits) = (start, 0, 0, 0);
        let until = |now: Instant| (now.duration_since(start).as_nanos() / gap.as_nanos()) as u32;
        while came < EVENTS {
            if came == gone {
                came += 1;
                now = start + gap * came;
                pacing.arrived(now);
            }
            while let Some(rest) = wait(&pacing, now) {
                // A short sleep is slept to its end, a long one ends with an event.
                let event = (start + gap * (came + 1)).duration_since(now);
                now += match rest < TIMER_STEP {
                    true => rest,
                    false => rest.min(event),
                };
                if until(now) > came {
                    came = until(now);
                    pacing.arrived(now);
                }
            }
            pacing.handed_over_at(now, (came - gone) as usize);
            (gone, commits) = (came, commits + 1);
            now += took;
            if until(now) > came {
                came = until(now);
                pacing.arrived(start + gap * came);
            }
            pacing.finished(now);
        }
        f64::from(came) / f64::from(commits)
    }

    #[test]
    fn at_an_even_pace_there_are_not_more_commits_than_without_an_early_end() {
        for per_second in [10, 100, 1_000, 5_000, 20_000, 80_000] {
            let gap = Duration::from_secs(1) / per_second;
            for delay_ms in [0, 5, 50, 200] {
                let delay = Duration::from_millis(delay_ms);
                for took_us in [100, 300, 600, 900, 1_500, 4_000, 8_000, 30_000] {
                    let pace = (gap, Duration::from_micros(took_us));
                    let before = events_per_commit(delay, pace, to_the_end);
                    let now = events_per_commit(delay, pace, Pacing::wait_at);
                    assert!(
                        now >= before * 0.97,
                        "{per_second}/s, {delay_ms} ms, {took_us} µs: {now} instead of {before}"
                    );
                }
            }
        }
    }
}
