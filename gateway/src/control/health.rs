//! What counts as alive, as ready, and as trouble.
//!
//! *Alive*: the commit thread comes round; when it does not, only a restart helps. *Ready*:
//! events are accepted. A gateway whose upstream is down is ready: storing is its job.

use std::time::Duration;

use crate::observe::intake::IntakeReport;
use crate::observe::status::Status;
use crate::observe::trouble::lasting;

/// The commit thread comes round each second; a slow disk may hold it up for a while.
const BEAT_MAX: Duration = Duration::from_secs(60);

/// What has not come up after so long is a trouble, though nothing has gone wrong.
const STARTING_MAX: Duration = Duration::from_secs(60);

/// Share of `max_size`, in percent, above which the store is called nearly full.
const NEARLY_FULL_PERCENT: u64 = 90;

/// Whether the commit thread still comes round.
pub(super) fn is_alive(intake: &IntakeReport) -> bool {
    intake.last_beat.is_none_or(|age| age < BEAT_MAX)
}

/// Whether events are accepted.
pub(super) fn accepts(intake: &IntakeReport) -> bool {
    intake.last_beat.is_some() && is_alive(intake) && !intake.refusing
}

/// Everything that a person should look at, the worst first.
pub(super) fn troubles(status: &Status, intake: &IntakeReport) -> Vec<String> {
    let mut troubles = Vec::new();
    if !is_alive(intake) {
        troubles.push("the commit thread does not come round: nothing is stored".to_owned());
    }
    if intake.refusing {
        let why = match intake.refused_because.as_str() {
            "" => "no reason is known",
            why => why,
        };
        troubles.push(format!(
            "events are refused: the store takes no more: {why}"
        ));
    }
    let store = &status.store;
    for damage in &store.damage {
        troubles.push(format!("the store is damaged: {damage}"));
    }
    for quarantined in &store.quarantined {
        troubles.push(format!("part of the store is in quarantine: {quarantined}"));
    }
    let nearly_full = store.max_size_bytes / 100 * NEARLY_FULL_PERCENT;
    if !intake.refusing && store.max_size_bytes > 0 && store.disk_bytes > nearly_full {
        troubles.push("the store is nearly full".to_owned());
    }
    for source in status.sources.iter().filter(|source| !source.up) {
        let (state, why) = (&source.state, &source.last_error);
        troubles.extend(not_up("source", &source.name, state, why, source.since_ms));
    }
    for upstream in &status.upstreams {
        if upstream.state != "up" {
            let (state, why) = (&upstream.state, &upstream.last_error);
            troubles.extend(not_up(
                "upstream",
                &upstream.name,
                state,
                why,
                upstream.since_ms,
            ));
        }
    }
    if let Some((first, more)) = status.rules.refused.split_first() {
        let more = match more.len() {
            0 => String::new(),
            more => format!(", and {more} more"),
        };
        let goes_on = match status.rules.last_good_ms {
            None => "goes on",
            Some(_) => "of before the start runs",
        };
        troubles.push(format!(
            "the rules folder is refused, the last good set {goes_on}: {first}{more}"
        ));
    }
    troubles
}

/// The line of what is not up; none for what is just starting.
fn not_up(
    kind: &str,
    name: &str,
    state: &str,
    why: &Option<String>,
    since_ms: u64,
) -> Option<String> {
    let lasts = Duration::from_millis(since_ms);
    let why = match why {
        Some(why) => why,
        None if lasts < STARTING_MAX => return None,
        None => "no reason is known",
    };
    Some(format!("{kind} {name} is {state}: {why}{}", lasting(lasts)))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::status::{SourceStatus, StoreStatus, UpstreamStatus};

    fn intake(beat_s: Option<u64>, refusing: bool) -> IntakeReport {
        IntakeReport {
            last_beat: beat_s.map(Duration::from_secs),
            refusing,
            ..IntakeReport::default()
        }
    }

    fn source(name: &str, state: &str, why: Option<&str>) -> SourceStatus {
        SourceStatus {
            name: name.into(),
            state: state.into(),
            last_error: why.map(str::to_owned),
            ..SourceStatus::default()
        }
    }

    #[test]
    fn a_gateway_is_ready_while_its_commit_thread_comes_round_and_stores() {
        let cases = [
            (intake(None, false), true, false),
            (intake(Some(0), false), true, true),
            (intake(Some(1), true), true, false),
            (intake(Some(61), false), false, false),
        ];
        for (intake, alive, ready) in cases {
            assert_eq!(is_alive(&intake), alive, "{intake:?}");
            assert_eq!(accepts(&intake), ready, "{intake:?}");
        }
    }

    #[test]
    fn why_events_are_refused_stands_behind_it() {
        for (because, says) in [
            ("the disk failed: EIO", ": the disk failed: EIO"),
            ("", ": no reason is known"),
        ] {
            let refusing = IntakeReport {
                refused_because: because.to_owned(),
                ..intake(Some(0), true)
            };
            let told = troubles(&Status::default(), &refusing);
            assert_eq!(told.len(), 1, "{told:?}");
            assert!(told[0].ends_with(says), "{told:?}");
        }
    }

    #[test]
    fn a_refused_rules_folder_is_told_with_its_first_mistake() {
        let of = |refused: &[&str], last_good_ms| {
            let mut status = Status::default();
            status.rules.refused = refused.iter().map(|one| (*one).to_owned()).collect();
            status.rules.last_good_ms = last_good_ms;
            troubles(&status, &intake(Some(0), false))
        };
        let begin = "the rules folder is refused, the last good set";
        assert_eq!(of(&[], None), [""; 0]);
        assert_eq!(of(&["a:1: x"], None), [format!("{begin} goes on: a:1: x")]);
        assert_eq!(
            of(&["a:1: x", "a:2: y", "b"], Some(7)),
            [format!(
                "{begin} of before the start runs: a:1: x, and 2 more"
            )]
        );
    }

    #[test]
    fn an_upstream_that_is_down_is_trouble_and_not_the_end() {
        let down = UpstreamStatus {
            name: "cloud".into(),
            state: "down".into(),
            since_ms: 200_000,
            last_error: Some("connection refused".into()),
            ..UpstreamStatus::default()
        };
        let starting = |name: &str, since_ms| UpstreamStatus {
            name: name.into(),
            state: "starting".into(),
            since_ms,
            ..UpstreamStatus::default()
        };
        let status = Status {
            upstreams: vec![down, starting("new", 59_999), starting("slow", 60_000)],
            sources: vec![
                source("press", "waiting", Some("/dev/ttyUSB0 is gone")),
                source("new", "starting", None),
            ],
            store: StoreStatus {
                disk_bytes: 95,
                max_size_bytes: 100,
                ..StoreStatus::default()
            },
            ..Status::default()
        };
        let intake = intake(Some(0), false);
        let expected = [
            "the store is nearly full",
            "source press is waiting: /dev/ttyUSB0 is gone",
            "upstream cloud is down: connection refused (for 3 min)",
            "upstream slow is starting: no reason is known (for 1 min)",
        ];
        assert_eq!(troubles(&status, &intake), expected);
        assert!(accepts(&intake));
    }
}
