//! When to hand a group to the disk.
//!
//! The first event of an idle gateway goes at once. Under load, the next group gathers for as
//! long as a commit takes, measured, before it goes: that halves the time the disk is busy,
//! grows the groups, and costs an ack at most one more commit's time. With `commit_delay` a group
//! gathers for at least so long, counted from the last commit: fewer and larger commits, less wear.
//! `commit_delay_max` bounds the wait whatever the measurement says.

use std::time::{Duration, Instant};

use super::group::CommitGroup;

/// Paces the commits of one intake.
#[derive(Debug, Clone)]
pub struct Pacing {
    delay: Duration,
    delay_max: Duration,
    commit: Duration,
    per_second: f64,
    handed_over: Option<Instant>,
    finished: Option<Instant>,
}

/// Weight of the newest measurement in the running means.
const NEWEST: f64 = 0.2;

impl Pacing {
    /// Pacing from `commit_delay` to `commit_delay_max`.
    pub fn new(delay: Duration, delay_max: Duration) -> Pacing {
        Pacing {
            delay,
            delay_max,
            commit: Duration::ZERO,
            per_second: 0.0,
            handed_over: None,
            finished: None,
        }
    }

    /// How long `group` should still gather; `None` when it should go now, is empty, or the
    /// commit thread is not free anyway.
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
        let since = now.saturating_duration_since(self.finished?);
        gather.checked_sub(since).filter(|rest| !rest.is_zero())
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
    fn under_load_a_group_gathers_for_as_long_as_a_commit_takes() {
        let mut pacing = Pacing::new(Duration::ZERO, Duration::from_millis(5));
        let now = after(
            &mut pacing,
            clock::monotonic(),
            50,
            Duration::from_millis(1),
            Duration::from_micros(400),
        );
        let wait = pacing.wait_at(now).expect("company is near");
        assert!(
            wait > Duration::from_micros(350) && wait <= Duration::from_micros(400),
            "{wait:?}"
        );
        assert_eq!(pacing.wait_at(now + wait), None);
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
}
