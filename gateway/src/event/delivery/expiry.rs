//! How long a message is worth sending: its Message Expiry Interval (MQTT 5, section 3.3.2.3.3), counted from its arrival.
//!
//! It is counted on the running time of the gateway, which no step of the wall clock moves, and which goes on where the store
//! kept it last. Time in which the machine was switched off counts by the wall clock, for what arrived before it, and only
//! where that clock could be trusted at the arrival, was not stepped behind it in that boot, and can be trusted now.

mod kept;

use std::sync::{Arc, Mutex, PoisonError};
use std::time::{Duration, Instant};

use tidegate_rules::event::{Event, UnixMs};

use crate::time::clock::{BUILT_UNIX_S, Boot, Now};
use kept::Kept;

/// Key of the store's mark that keeps a reading of the clock.
pub const CLOCK_KEY: &str = "expiry-clock";
/// How old the reading may be that is kept, where commits come anyway.
const KEEP_EVERY: Duration = Duration::from_secs(10);

/// A wall clock that goes further from the monotonic one was stepped: this and a thousandth of the time between two
/// readings, which a clock that is only slewed stays within.
const STEP: Duration = Duration::from_secs(1);
const SLEW_PART: u32 = 1000;
/// A clock that was stepped is trusted again when it has stood for so long.
const STEADY: Duration = Duration::from_secs(3600);

/// What is left of the time in which a message is worth sending.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Remaining {
    /// It is worth sending for ever.
    Unlimited,
    /// So many seconds, as they are sent on.
    Seconds(u32),
    /// Nothing: it is sent to nobody any more.
    Expired,
}

impl Remaining {
    /// The interval to send.
    pub fn seconds(self) -> Option<u32> {
        match self {
            Remaining::Seconds(seconds) => Some(seconds),
            Remaining::Unlimited | Remaining::Expired => None,
        }
    }
}

/// The clock that messages expire by; all clones are one.
#[derive(Debug, Clone)]
pub struct ExpiryClock(Arc<Shared>);

#[derive(Debug)]
struct Shared {
    opened: Now,
    kept: Kept,
    trust: Mutex<Trust>,
    /// When a reading was last given to be kept; never where no message has an interval.
    given: Mutex<Option<Instant>>,
}

/// Whether the wall clock can be trusted.
#[derive(Debug)]
struct Trust {
    built_ms: UnixMs,
    last: Now,
    stepped: Option<Now>,
}

impl ExpiryClock {
    /// That of a store whose running time is `running_ms` now, and which keeps this reading of an earlier run.
    pub fn new(running_ms: u64, kept: Option<&[u8]>, boot: Option<Boot>, now: Now) -> ExpiryClock {
        let is_known = kept.is_some();
        let kept = kept.and_then(Kept::of_bytes).unwrap_or_default();
        let kept = kept.go_on(running_ms, boot);
        let of_this_boot = kept.boot_running_ms.max(1)..;
        let since_step_ms = kept.running_ms.saturating_sub(kept.stepped_ms);
        let is_unsteady = of_this_boot.contains(&kept.stepped_ms)
            && Duration::from_millis(since_step_ms) < STEADY;
        let built_s: UnixMs = BUILT_UNIX_S.parse().unwrap_or(0);
        ExpiryClock(Arc::new(Shared {
            opened: now,
            given: Mutex::new(is_known.then_some(now.instant)),
            kept,
            trust: Mutex::new(Trust {
                built_ms: built_s.saturating_mul(1000),
                last: now,
                stepped: is_unsteady.then_some(now),
            }),
        }))
    }

    /// The reading to keep with a commit: every second where messages with an interval come, else now and then.
    pub fn to_keep(&self, brings_interval: bool, now: Instant) -> Option<[u8; kept::BYTES]> {
        let mut given = self.0.given.lock().unwrap_or_else(PoisonError::into_inner);
        let age = given.map(|at| now.saturating_duration_since(at));
        let is_due = match (age, brings_interval) {
            (None, brings_interval) => brings_interval,
            (Some(age), true) => age >= Duration::from_millis(kept::UNKNOWN_MS_MAX),
            (Some(age), false) => age >= KEEP_EVERY,
        };
        if !is_due {
            return None;
        }
        *given = Some(now);
        let kept = &self.0.kept;
        let running_ms = self.running_ms(now);
        let since_ms = running_ms - kept.running_ms;
        let trust = self.0.trust.lock().unwrap_or_else(PoisonError::into_inner);
        let stepped_ms = trust.stepped.map(|at| self.running_ms(at.instant));
        let reading = Kept {
            running_ms,
            boot: Boot {
                since_ms: kept.boot.since_ms.saturating_add(since_ms),
                ..kept.boot
            },
            stepped_ms: stepped_ms.unwrap_or(kept.stepped_ms),
            ..*kept
        };
        Some(reading.to_bytes())
    }

    /// Notes in an event that arrives by when its time is counted.
    pub fn stamp(&self, event: &mut Event, now: Now) {
        let expiry = event.mqtt.as_mut().and_then(|mqtt| mqtt.expiry.as_mut());
        if let Some(expiry) = expiry {
            expiry.running_ms = self.running_ms(now.instant);
            expiry.clock_trusted = self.is_trusted(now);
        }
    }

    /// What is left for an event. An interval of 0 reaches nobody if it is obeyed, so no sender means it: it goes on as it is,
    /// and never ends.
    pub fn remaining(&self, event: &Event, now: Now) -> Remaining {
        let expiry = event.mqtt.as_ref().and_then(|mqtt| mqtt.expiry);
        let Some(expiry) = expiry else {
            return Remaining::Unlimited;
        };
        if expiry.seconds == 0 {
            return Remaining::Seconds(0);
        }
        let running_ms = self.running_ms(now.instant);
        let mut waited_ms = running_ms.saturating_sub(expiry.running_ms);
        let kept = &self.0.kept;
        // Within a boot the running time is exact; a step behind the arrival, before that boot ended, says that the clock
        // was wrong then.
        let was_set = (expiry.running_ms.max(1)..kept.boot_running_ms).contains(&kept.stepped_ms);
        let by_wall_clock = expiry.running_ms < kept.boot_running_ms && !was_set;
        if by_wall_clock && expiry.clock_trusted && self.is_trusted(now) {
            let by_wall = now.unix_ms.saturating_sub(event.received);
            waited_ms = waited_ms.max(u64::try_from(by_wall).unwrap_or(0));
        }
        let waited_s = u32::try_from(waited_ms / 1000).unwrap_or(u32::MAX);
        match expiry.seconds.checked_sub(waited_s) {
            None | Some(0) => Remaining::Expired,
            Some(left) => Remaining::Seconds(left),
        }
    }

    fn running_ms(&self, now: Instant) -> u64 {
        let since = now.saturating_duration_since(self.0.opened.instant);
        let since_ms = u64::try_from(since.as_millis()).unwrap_or(u64::MAX);
        self.0.kept.running_ms.saturating_add(since_ms)
    }

    fn is_trusted(&self, now: Now) -> bool {
        let trust = self.0.trust.lock();
        trust
            .unwrap_or_else(PoisonError::into_inner)
            .is_trusted(now)
    }
}

impl Trust {
    fn is_trusted(&mut self, now: Now) -> bool {
        // Readings of several threads come in any order.
        if let Some(passed) = now.instant.checked_duration_since(self.last.instant) {
            let by_wall = i128::from(now.unix_ms) - i128::from(self.last.unix_ms);
            let off = by_wall.abs_diff(passed.as_millis() as i128);
            if off > (STEP + passed / SLEW_PART).as_millis() {
                self.stepped = Some(now);
            }
            self.last = now;
        }
        let since_step = |at: Now| now.instant.saturating_duration_since(at.instant);
        let is_steady = self.stepped.is_none_or(|at| since_step(at) >= STEADY);
        is_steady && now.unix_ms >= self.built_ms
    }
}

#[cfg(test)]
mod tests {
    use tidegate_rules::event::{Expiry, MqttProperties};

    use super::*;
    use crate::time::clock;

    const HOUR_MS: i64 = 3_600_000;

    fn with_expiry(seconds: u32) -> Event {
        let expiry = Some(Expiry {
            seconds,
            ..Expiry::default()
        });
        Event {
            mqtt: Some(Box::new(MqttProperties {
                expiry,
                ..MqttProperties::default()
            })),
            ..Event::default()
        }
    }

    fn boot(id: u64) -> Option<Boot> {
        Some(Boot { id, since_ms: 77 })
    }

    fn later(now: Now, passed_ms: u64, stepped_ms: i64) -> Now {
        Now {
            instant: now.instant + Duration::from_millis(passed_ms),
            unix_ms: now.unix_ms + passed_ms as i64 + stepped_ms,
        }
    }

    /// What is left of an event that arrived at `arrived` in this run.
    fn left(seconds: u32, start: Now, arrived: Now, now: Now) -> Remaining {
        let clock = ExpiryClock::new(7_000, None, None, start);
        let mut event = with_expiry(seconds);
        clock.stamp(&mut event, arrived);
        event.received = arrived.unix_ms;
        clock.remaining(&event, now)
    }

    #[test]
    fn within_a_run_no_step_of_the_wall_clock_counts() {
        let start = clock::now();
        for (seconds, passed_ms, stepped_ms, expected) in [
            (10, 0, 0, Remaining::Seconds(10)),
            (10, 999, 0, Remaining::Seconds(10)),
            (10, 1_000, 0, Remaining::Seconds(9)),
            (10, 9_999, 0, Remaining::Seconds(1)),
            (10, 10_000, 0, Remaining::Expired),
            (10, 9_000, HOUR_MS, Remaining::Seconds(1)),
            (10, 9_000, -HOUR_MS, Remaining::Seconds(1)),
            (10, 10_000, -HOUR_MS, Remaining::Expired),
            // A clock that was set is trusted again after an hour, and says nothing of what arrived before it was set.
            (9_000, 7_200_000, 24 * HOUR_MS, Remaining::Seconds(1_800)),
            (0, 99_000, 0, Remaining::Seconds(0)),
            (u32::MAX, 99_000, 0, Remaining::Seconds(u32::MAX - 99)),
        ] {
            let now = later(start, passed_ms, stepped_ms);
            let found = left(seconds, start, start, now);
            assert_eq!(found, expected, "{seconds} {passed_ms} {stepped_ms}");
        }
        assert_eq!(
            ExpiryClock::new(0, None, None, start).remaining(&Event::default(), start),
            Remaining::Unlimited
        );
    }

    #[test]
    fn time_switched_off_counts_where_both_readings_of_the_clock_can_be_trusted() {
        let start = clock::now();
        let day_ms = 24 * HOUR_MS;
        let of_1970 = Now {
            unix_ms: 5_000,
            ..start
        };
        // A start of the machine takes a second at least.
        for (name, before, after, steps_ms, expected) in [
            ("both trusted", start, later(start, 0, 8_000), 0, 2),
            ("off for longer", start, later(start, 0, day_ms), 0, 0),
            ("1970 before", of_1970, start, 0, 9),
            ("1970 after", start, of_1970, 0, 9),
            ("back in time", start, later(start, 0, -day_ms), 0, 9),
            ("set after the start", start, start, day_ms, 9),
        ] {
            let mut event = with_expiry(10);
            let first = ExpiryClock::new(50_000, None, boot(1), before);
            first.stamp(&mut event, before);
            event.received = before.unix_ms;
            let kept = first.to_keep(true, before.instant);
            let clock = ExpiryClock::new(0, kept.as_ref().map(|kept| &kept[..]), boot(2), after);
            let now = later(after, 1, steps_ms);
            let left = match clock.remaining(&event, now) {
                Remaining::Expired => 0,
                Remaining::Seconds(left) => left,
                Remaining::Unlimited => u32::MAX,
            };
            assert_eq!(left, expected, "{name}");
            // A clock that has been set is good again when it has stood for long.
            let steady = later(now, STEADY.as_millis() as u64, 0);
            let trusted = clock.is_trusted(steady);
            assert_eq!(trusted, steady.unix_ms > start.unix_ms - HOUR_MS, "{name}");
        }
    }

    #[test]
    fn a_clock_that_is_slewed_is_trusted_and_one_that_is_set_is_not() {
        let start = clock::now();
        for (passed_ms, off_ms, trusted) in [
            (0, 900, true),
            (0, 1_100, false),
            (0, -1_100, false),
            (86_400_000, 43_000, true),
            (86_400_000, -43_000, true),
            (86_400_000, 90_000, false),
        ] {
            let clock = ExpiryClock::new(0, None, None, start);
            // The build may be but an instant ago.
            let lower = |trust: &mut Trust| trust.built_ms = 0;
            clock
                .0
                .trust
                .lock()
                .map(|mut trust| lower(&mut trust))
                .expect("no panic");
            let now = later(start, passed_ms, off_ms);
            assert_eq!(clock.is_trusted(now), trusted, "{passed_ms} {off_ms}");
            assert_eq!(clock.is_trusted(later(now, 1, 0)), trusted);
        }
    }

    /// What is left of an event of `seconds` that arrived an hour after the start, `steps_ms` before the clock was set by so
    /// much, when the gateway was ended after two hours and started again, `off_ms` later, in this boot.
    fn left_after(seconds: u32, steps_ms: i64, id: u64, off_ms: u64) -> Remaining {
        let start = clock::now();
        let first = ExpiryClock::new(0, None, boot(1), start);
        let arrived = later(start, HOUR_MS as u64, 0);
        let mut event = with_expiry(seconds);
        first.stamp(&mut event, arrived);
        event.received = arrived.unix_ms;
        first.to_keep(true, arrived.instant);
        let set = later(arrived, 1, steps_ms);
        first.stamp(&mut with_expiry(1), set);
        let end = later(set, HOUR_MS as u64, 0);
        let kept = first.to_keep(false, end.instant).expect("a reading");
        let again = later(end, off_ms, 0);
        let now_boot = Boot {
            id,
            since_ms: 77 + 2 * HOUR_MS as u64 + off_ms,
        };
        // Nothing was sealed: the store knows of no time.
        ExpiryClock::new(0, Some(&kept), Some(now_boot), again).remaining(&event, again)
    }

    #[test]
    fn a_reading_that_is_kept_is_gone_on_with_and_no_step_before_it_counts() {
        let day_ms = 24 * HOUR_MS;
        for (name, seconds, steps_ms, id, off_ms, expected) in [
            ("killed", 7_200, 0, 1, 600_000, Remaining::Seconds(3_000)),
            ("killed and over", 3_600, 0, 1, 0, Remaining::Expired),
            (
                "killed, set before",
                7_200,
                day_ms,
                1,
                600_000,
                Remaining::Seconds(3_000),
            ),
            ("power cut", 7_200, 0, 2, 600_000, Remaining::Seconds(3_000)),
            (
                "power cut, set before",
                7_200,
                day_ms,
                2,
                600_000,
                Remaining::Seconds(3_600),
            ),
            (
                "power cut and over",
                3_600,
                day_ms,
                2,
                0,
                Remaining::Expired,
            ),
        ] {
            let left = left_after(seconds, steps_ms, id, off_ms);
            let about = |left: Remaining| left.seconds().map(|left| left.div_ceil(5));
            assert_eq!(about(left), about(expected), "{name}: {left:?}");
            assert_eq!(
                left == Remaining::Expired,
                expected == Remaining::Expired,
                "{name}"
            );
        }
    }
}
