//! A device's uptime on the gateway's clock.
//!
//! The gateway asks for the device's clock and notes when the question left and the answer came:
//! the middle of the two is off by half the round trip at most. A quick exchange is better than a
//! slow one, but clocks drift: an old one gives way.

/// An exchange this old gives way to any newer one.
const STALE_MS: u64 = 60_000;

/// Where the device's clock stood against the gateway's.
#[derive(Debug, Clone, Copy, PartialEq)]
struct ClockExchange {
    boot: u32,
    /// Gateway clock minus device clock, in ms.
    offset_ms: i64,
    round_trip_ms: u64,
    at_ms: u64,
}

/// The best exchange with the device at a port.
#[derive(Debug, Default)]
pub(super) struct DeviceClock(Option<ClockExchange>);

impl DeviceClock {
    /// The device's clock said `uptime_ms` between the two times of the gateway's clock.
    pub(super) fn learn(&mut self, boot: u32, uptime_ms: u64, sent_ms: u64, received_ms: u64) {
        let round_trip_ms = received_ms.saturating_sub(sent_ms);
        let found = ClockExchange {
            boot,
            offset_ms: (sent_ms + round_trip_ms / 2) as i64 - uptime_ms.min(i64::MAX as u64) as i64,
            round_trip_ms,
            at_ms: received_ms,
        };
        let keep = self.0.is_some_and(|known| {
            known.boot == boot
                && known.round_trip_ms < round_trip_ms
                && received_ms.saturating_sub(known.at_ms) < STALE_MS
        });
        if !keep {
            self.0 = Some(found);
        }
    }

    /// How long before `now_ms` the device made something at `uptime_ms`; `None` while its clock
    /// is not known, as that of an earlier boot never is.
    pub(super) fn age_ms(&self, boot: u32, uptime_ms: u64, now_ms: u64) -> Option<u64> {
        let known = self.0.filter(|known| known.boot == boot)?;
        let made_ms = i64::try_from(uptime_ms)
            .ok()?
            .checked_add(known.offset_ms)?;
        Some((now_ms as i64).saturating_sub(made_ms).max(0) as u64)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_middle_of_a_round_trip_is_the_moment_of_the_answer() {
        let mut clock = DeviceClock::default();
        assert_eq!(clock.age_ms(1, 500, 10_000), None);
        clock.learn(1, 500, 10_000, 10_020);
        assert_eq!(clock.age_ms(1, 500, 10_020), Some(10));
        assert_eq!(
            clock.age_ms(1, 9_999, 10_020),
            Some(0),
            "never in the future"
        );
        assert_eq!(clock.age_ms(2, 500, 10_020), None, "another boot");
    }

    #[test]
    fn a_slow_exchange_gives_way_to_a_quick_one_and_an_old_one_to_any() {
        let mut clock = DeviceClock::default();
        clock.learn(1, 0, 1_000, 1_010);
        clock.learn(1, 1_000, 2_000, 2_400);
        assert_eq!(clock.age_ms(1, 0, 1_005), Some(0));
        clock.learn(1, 70_000, 71_000, 71_400);
        assert_eq!(clock.age_ms(1, 70_000, 71_200), Some(0));
    }

    #[test]
    fn a_clock_that_says_nonsense_makes_no_time() {
        let mut clock = DeviceClock::default();
        clock.learn(1, u64::MAX, 0, 0);
        assert_eq!(clock.age_ms(1, u64::MAX, 5), None);
        assert_eq!(clock.age_ms(1, 0, 5), Some(i64::MAX as u64));
    }
}
