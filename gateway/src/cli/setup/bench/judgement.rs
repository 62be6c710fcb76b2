//! What the figures mean: how long a card lasts, and which `commit_delay` fits. Arithmetic alone.

use std::time::Duration;

use serde::Serialize;

use super::sync_latency::SyncLatency;
use crate::cli::setup::machine::disk::Medium;

/// Delays that are proposed.
const STEPS_MS: [u64; 8] = [0, 5, 10, 20, 50, 100, 200, 500];
/// No acknowledgement is to wait for longer to spare the disk.
const SPARING_MAX: Duration = Duration::from_millis(200);
/// Events that share a commit where the disk is to be spared.
const COMPANY: f64 = 5.0;
/// Fewer are no company at all.
const COMPANY_MIN: f64 = 1.5;
/// Below this a sync is no hindrance.
const SLOW_SYNC: Duration = Duration::from_millis(5);
/// A disk that lasts as long is not spared.
const ENOUGH_DAYS: f64 = 10.0 * 365.0;
const SECONDS_PER_DAY: f64 = 86_400.0;
/// What makers of disks mean by TB.
const TERABYTE: f64 = 1e12;

/// What was measured.
pub(super) struct Measured {
    /// How long a sync takes.
    pub(super) sync: SyncLatency,
    /// Events a second, for which the lifetime is worked out.
    pub(super) rate: u32,
    /// Bytes written for an event at that rate.
    pub(super) bytes_per_event: f64,
    /// The same with [`Judgement::delay`], where there is one.
    pub(super) bytes_with_delay: Option<f64>,
    /// What may be written to the disk in all.
    pub(super) endurance_bytes: Option<u64>,
    /// The kind of disk, where the kernel says.
    pub(super) medium: Option<Medium>,
}

/// Why a delay is proposed, or none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Reason {
    /// There is no disk.
    NoDisk,
    /// What the disk is does not wear out, or nobody knows.
    NoWear,
    /// It lasts long enough as it is.
    LastsLongEnough,
    /// Events come too far apart to share a commit.
    TooFarApart,
    /// Events share a commit, and the disk is written less.
    SparesDisk,
    /// It was tried, and saves hardly anything.
    SavesNothing,
    /// A sync takes long: larger commits keep up.
    SlowSync,
}

/// How long the disk lasts at a rate.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub(super) struct Lifetime {
    /// Events per second.
    pub(super) events_per_s: u32,
    /// `commit_delay`, in milliseconds.
    pub(super) commit_delay_ms: u64,
    /// Bytes written for each event.
    pub(super) bytes_per_event: f64,
    /// Bytes written in a day.
    pub(super) bytes_per_day: f64,
    /// What may be written in all, where that is known.
    pub(super) endurance_bytes: Option<u64>,
    /// Days that a new disk of that endurance lasts.
    pub(super) days: Option<f64>,
    /// Days for each terabyte (10^12 bytes) of endurance; none where nothing is written.
    pub(super) days_per_tb: Option<f64>,
}

/// See the module.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Judgement {
    /// What is proposed.
    pub(super) commit_delay: Duration,
    /// Why.
    pub(super) reason: Reason,
    /// Without any delay.
    pub(super) lifetime: Lifetime,
    /// With what is proposed, or what was tried.
    pub(super) with_delay: Option<Lifetime>,
}

impl Judgement {
    /// The delay that is worth trying.
    pub(super) fn delay(measured: &Measured) -> Duration {
        proposal(measured).0
    }

    /// Of everything that was measured.
    pub(super) fn of(measured: &Measured) -> Judgement {
        let (tried, why) = proposal(measured);
        let saved = measured
            .bytes_with_delay
            .is_none_or(|bytes| bytes < measured.bytes_per_event * 0.9);
        let (commit_delay, reason) = match why {
            Reason::SparesDisk if !saved => (slow_sync(measured), Reason::SavesNothing),
            why => (tried, why),
        };
        let with_delay = measured
            .bytes_with_delay
            .map(|bytes| lifetime(measured, tried, bytes));
        Judgement {
            commit_delay,
            reason,
            lifetime: lifetime(measured, Duration::ZERO, measured.bytes_per_event),
            with_delay,
        }
    }
}

/// What is proposed before it was tried.
fn proposal(measured: &Measured) -> (Duration, Reason) {
    let (sparing, why) = sparing(measured);
    let slow = slow_sync(measured);
    match slow > sparing {
        true => (slow, Reason::SlowSync),
        false => (sparing, why),
    }
}

/// A group gathers for as long as a sync takes, so that the disk is idle for half of the time.
fn slow_sync(measured: &Measured) -> Duration {
    let sync = measured.sync.mean();
    if sync < SLOW_SYNC || measured.medium == Some(Medium::Memory) {
        return Duration::ZERO;
    }
    let steps = STEPS_MS.map(Duration::from_millis);
    let longest = steps[steps.len() - 1];
    steps
        .into_iter()
        .find(|step| *step >= sync)
        .unwrap_or(longest)
}

/// The least delay that brings several events together, where the disk wears out.
fn sparing(measured: &Measured) -> (Duration, Reason) {
    let medium = measured.medium.unwrap_or(Medium::Unknown);
    let endurance = measured
        .endurance_bytes
        .or_else(|| medium.endurance_assumed());
    if medium == Medium::Memory {
        return (Duration::ZERO, Reason::NoDisk);
    }
    let Some(endurance) = endurance.filter(|_| measured.bytes_per_event > 0.0) else {
        return (Duration::ZERO, Reason::NoWear);
    };
    let per_day = bytes_per_day(measured.rate, measured.bytes_per_event);
    if endurance as f64 / per_day >= ENOUGH_DAYS {
        return (Duration::ZERO, Reason::LastsLongEnough);
    }
    let company = |delay: Duration| f64::from(measured.rate) * delay.as_secs_f64();
    let mut steps = STEPS_MS.into_iter().map(Duration::from_millis);
    let enough = steps.find(|step| company(*step) >= COMPANY);
    let delay = enough.unwrap_or(SPARING_MAX).min(SPARING_MAX);
    match company(delay) >= COMPANY_MIN {
        true => (delay, Reason::SparesDisk),
        false => (Duration::ZERO, Reason::TooFarApart),
    }
}

fn bytes_per_day(rate: u32, bytes_per_event: f64) -> f64 {
    f64::from(rate) * bytes_per_event * SECONDS_PER_DAY
}

fn lifetime(measured: &Measured, delay: Duration, bytes_per_event: f64) -> Lifetime {
    let per_day = bytes_per_day(measured.rate, bytes_per_event);
    let days = |bytes: f64| (per_day > 0.0).then(|| bytes / per_day);
    Lifetime {
        events_per_s: measured.rate,
        commit_delay_ms: u64::try_from(delay.as_millis()).unwrap_or(u64::MAX),
        bytes_per_event,
        bytes_per_day: per_day,
        endurance_bytes: measured.endurance_bytes,
        days: measured
            .endurance_bytes
            .and_then(|bytes| days(bytes as f64)),
        days_per_tb: days(TERABYTE),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn measured(medium: Medium, sync_ms: u64, rate: u32) -> Measured {
        Measured {
            sync: SyncLatency::of(vec![Duration::from_millis(sync_ms); 9]),
            rate,
            bytes_per_event: match medium {
                Medium::Memory => 0.0,
                _ => 5_000.0,
            },
            bytes_with_delay: None,
            endurance_bytes: None,
            medium: Some(medium),
        }
    }

    fn check(measured: &Measured, delay_ms: u64, reason: Reason) {
        let judgement = Judgement::of(measured);
        let expected = (Duration::from_millis(delay_ms), reason);
        assert_eq!((judgement.commit_delay, judgement.reason), expected);
    }

    #[test]
    fn a_card_is_spared_and_memory_is_not() {
        check(&measured(Medium::Card, 2, 10), 200, Reason::SparesDisk);
        check(&measured(Medium::Card, 2, 100), 50, Reason::SparesDisk);
        check(&measured(Medium::Card, 2, 1_000), 5, Reason::SparesDisk);
        check(&measured(Medium::Card, 2, 4), 0, Reason::TooFarApart);
        check(&measured(Medium::Ssd, 1, 10), 0, Reason::LastsLongEnough);
        check(&measured(Medium::Ssd, 1, 1_000), 5, Reason::SparesDisk);
        check(&measured(Medium::Memory, 0, 1_000), 0, Reason::NoDisk);
        check(&measured(Medium::Virtual, 1, 1_000), 0, Reason::NoWear);
    }

    #[test]
    fn a_slow_disk_gathers_for_as_long_as_a_sync_takes() {
        check(&measured(Medium::HardDisk, 12, 10), 20, Reason::SlowSync);
        check(&measured(Medium::Card, 90, 1_000), 100, Reason::SlowSync);
        check(&measured(Medium::Virtual, 4_000, 10), 500, Reason::SlowSync);
        check(&measured(Medium::Card, 40, 10), 200, Reason::SparesDisk);
        // Some syncs at once, and then none for a while.
        let mut bursts = vec![Duration::from_millis(1); 9];
        bursts.push(Duration::from_millis(90));
        let throttled = Measured {
            sync: SyncLatency::of(bursts),
            ..measured(Medium::Virtual, 1, 10)
        };
        check(&throttled, 10, Reason::SlowSync);
    }

    #[test]
    fn what_saves_nothing_is_not_proposed() {
        let of = |bytes| Measured {
            bytes_with_delay: Some(bytes),
            ..measured(Medium::Card, 2, 10)
        };
        check(&of(4_900.0), 0, Reason::SavesNothing);
        check(&of(2_500.0), 200, Reason::SparesDisk);
    }

    #[test]
    fn the_lifetime_is_what_the_disk_bears_at_that_rate() {
        let known = Measured {
            endurance_bytes: Some(4_320_000_000 * 100),
            ..measured(Medium::Card, 2, 10)
        };
        let lifetime = Judgement::of(&known).lifetime;
        assert_eq!(lifetime.bytes_per_day, 4_320_000_000.0);
        assert_eq!(lifetime.days, Some(100.0));
        let per_tb = lifetime.days_per_tb.expect("something is written");
        assert!((per_tb - 231.48).abs() < 0.01, "{per_tb}");
        let nothing = Judgement::of(&measured(Medium::Memory, 0, 10)).lifetime;
        assert_eq!((nothing.days, nothing.days_per_tb), (None, None));
    }
}
