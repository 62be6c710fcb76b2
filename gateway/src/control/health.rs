//! What counts as alive, as ready, and as trouble.
//!
//! *Alive*: the commit thread comes round; when it does not, only a restart helps. *Ready*:
//! events are accepted. A gateway whose upstream is down is ready: storing is its job.

use std::time::Duration;

use crate::observe::Observe;
use crate::observe::intake::IntakeReport;
use crate::observe::refusing;
use crate::observe::status::Status;
use crate::observe::trouble::lasting;
use crate::observe::trouble::standing::Standing;

/// The commit thread comes round each second; a slow disk may hold it up for a while.
const BEAT_MAX: Duration = Duration::from_secs(60);

/// What has not come up after so long is a trouble, though nothing has gone wrong.
const STARTING_MAX: Duration = Duration::from_secs(60);

/// Share of `max_size`, in percent, above which the store is called nearly full.
const NEARLY_FULL_PERCENT: u64 = 90;

/// And the share above which it still is, so that one at the border is not told again and again.
const NO_LONGER_FULL_PERCENT: u64 = 85;

const STORE: &str = "store";
const NEARLY_FULL: &str = "nearly full";

/// Whether the commit thread still comes round.
pub(super) fn is_alive(intake: &IntakeReport) -> bool {
    intake.last_beat.is_none_or(|age| age < BEAT_MAX)
}

/// Whether events are accepted.
pub(super) fn accepts(intake: &IntakeReport) -> bool {
    intake.last_beat.is_some() && is_alive(intake) && !intake.refusing
}

/// What shows in the status that a person should look at, the worst first. Each kind has its line, its series and its
/// news because it stands here.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Concern {
    CommitThread,
    Refusing,
    Damage,
    Quarantine,
    NearlyFull,
    Source,
    Upstream,
    Rules,
}

impl Concern {
    const ALL: [Concern; 8] = [
        Concern::CommitThread,
        Concern::Refusing,
        Concern::Damage,
        Concern::Quarantine,
        Concern::NearlyFull,
        Concern::Source,
        Concern::Upstream,
        Concern::Rules,
    ];

    /// The troubles of this kind that there are.
    fn found(self, status: &Status, intake: &IntakeReport, observe: &Observe) -> Vec<Standing> {
        let store = &status.store;
        match self {
            Concern::CommitThread => {
                let line = "the commit thread does not come round: nothing is stored";
                let found = standing(STORE, "commits", line.to_owned(), false);
                one(!is_alive(intake), found)
            }
            // Its end is told by a system event; at its beginning none could be stored.
            Concern::Refusing => {
                let line = refusing::words(&intake.refused_because);
                one(intake.refusing, standing(STORE, "refusing", line, true))
            }
            Concern::Damage => {
                let line = |damage| format!("the store is damaged: {damage}");
                let all = store.damage.iter();
                all.map(|damage| standing(STORE, "damage", line(damage), true))
                    .collect()
            }
            Concern::Quarantine => {
                let line = |what| format!("part of the store is in quarantine: {what}");
                let all = store.quarantined.iter();
                all.map(|what| standing(STORE, "quarantine", line(what), true))
                    .collect()
            }
            Concern::NearlyFull => {
                let percent = match observe.stood(STORE, NEARLY_FULL) {
                    true => NO_LONGER_FULL_PERCENT,
                    false => NEARLY_FULL_PERCENT,
                };
                let nearly = store.max_size_bytes / 100 * percent;
                let is_so = store.max_size_bytes > 0 && store.disk_bytes > nearly;
                let found = standing(
                    STORE,
                    NEARLY_FULL,
                    "the store is nearly full".to_owned(),
                    false,
                );
                one(is_so && !intake.refusing, found)
            }
            Concern::Source => {
                let down = status.sources.iter().filter(|source| !source.up);
                down.filter_map(|it| {
                    not_up("source", &it.name, &it.state, &it.last_error, it.since_ms)
                })
                .collect()
            }
            Concern::Upstream => {
                let down = status.upstreams.iter().filter(|it| it.state != "up");
                down.filter_map(|it| {
                    not_up("upstream", &it.name, &it.state, &it.last_error, it.since_ms)
                })
                .collect()
            }
            Concern::Rules => {
                let line = refused_rules(status);
                line.map(|line| standing("rules", "refused", line, true))
                    .into_iter()
                    .collect()
            }
        }
    }
}

fn standing(subject: &str, kind: &'static str, line: String, told_by_room: bool) -> Standing {
    Standing {
        subject: subject.to_owned(),
        kind,
        line,
        told_by_room,
    }
}

fn one(is_so: bool, found: Standing) -> Vec<Standing> {
    is_so.then_some(found).into_iter().collect()
}

/// Everything that shows in the status that a person should look at, the worst first.
pub(super) fn troubles(status: &Status, intake: &IntakeReport, observe: &Observe) -> Vec<Standing> {
    let all = Concern::ALL.into_iter();
    all.flat_map(|concern| concern.found(status, intake, observe))
        .collect()
}

/// The line of what is not up; none for what is just starting.
fn not_up(
    kind: &str,
    name: &str,
    state: &str,
    why: &Option<String>,
    since_ms: u64,
) -> Option<Standing> {
    let lasts = Duration::from_millis(since_ms);
    let (of, why) = match why {
        Some(why) => ("state", why.as_str()),
        None if lasts < STARTING_MAX => return None,
        // Nothing happened, so nobody has told it.
        None => ("starting", "no reason is known"),
    };
    let line = format!("{kind} {name} is {state}: {why}{}", lasting(lasts));
    Some(standing(&format!("{kind} {name}"), of, line, of == "state"))
}

/// The line of a rules folder that is refused.
fn refused_rules(status: &Status) -> Option<String> {
    let (first, more) = status.rules.refused.split_first()?;
    let more = match more.len() {
        0 => String::new(),
        more => format!(", and {more} more"),
    };
    let goes_on = match status.rules.last_good_ms {
        None => "goes on",
        Some(_) => "of before the start runs",
    };
    Some(format!(
        "the rules folder is refused, the last good set {goes_on}: {first}{more}"
    ))
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

    fn lines(status: &Status, intake: &IntakeReport) -> Vec<String> {
        let all = troubles(status, intake, &Observe::default());
        all.into_iter().map(|one| one.line).collect()
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
            let told = lines(&Status::default(), &refusing);
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
            lines(&status, &intake(Some(0), false))
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
        assert_eq!(lines(&status, &intake), expected);
        assert!(accepts(&intake));
    }

    /// A gateway that has one trouble of this kind: what it is about, and who tells its changes.
    fn case(
        concern: Concern,
        status: &mut Status,
        beat: &mut IntakeReport,
    ) -> (&'static str, bool) {
        let store = &mut status.store;
        match concern {
            Concern::CommitThread => {
                *beat = intake(Some(100), false);
                (STORE, false)
            }
            Concern::Refusing => {
                *beat = intake(Some(0), true);
                (STORE, true)
            }
            Concern::Damage => {
                store.damage = vec!["events 1 to 2".into(), "events 5 to 6".into()];
                (STORE, true)
            }
            Concern::Quarantine => {
                store.quarantined = vec!["quarantine/1".into()];
                (STORE, true)
            }
            Concern::NearlyFull => {
                (store.disk_bytes, store.max_size_bytes) = (95, 100);
                (STORE, false)
            }
            Concern::Source => {
                status.sources = vec![source("press", "waiting", Some("it is gone"))];
                ("source press", true)
            }
            Concern::Upstream => {
                status.upstreams = vec![UpstreamStatus {
                    name: "cloud".into(),
                    state: "starting".into(),
                    since_ms: 60_000,
                    ..UpstreamStatus::default()
                }];
                ("upstream cloud", false)
            }
            Concern::Rules => {
                status.rules.refused = vec!["a:1: x".into()];
                ("rules", true)
            }
        }
    }

    #[test]
    fn every_kind_of_trouble_has_its_line_its_series_and_its_news() {
        let observe = Observe::default();
        let (sender, mut events) = tokio::sync::mpsc::channel(8);
        observe.route_system_events(sender);
        let mut told = |what: &str, subject: &str, told_by_room: bool| {
            let kinds = std::iter::from_fn(|| events.try_recv().ok());
            let kinds: Vec<_> = kinds.map(|event| (event.kind, event.subject)).collect();
            let kind = format!("dev.tidegate.trouble.{what}");
            let expected = (kind.as_str(), subject.to_owned());
            match told_by_room {
                true => assert_eq!(kinds, [], "{subject}"),
                false => assert_eq!(kinds, [expected]),
            }
        };
        for concern in Concern::ALL {
            let (mut status, mut beat) = (Status::default(), intake(Some(0), false));
            let (subject, told_by_room) = case(concern, &mut status, &mut beat);
            let found = troubles(&status, &beat, &observe);
            assert!(!found.is_empty(), "{concern:?}");
            observe.stand(&found);
            let metrics = observe.metrics_text();
            for one in &found {
                assert_eq!((&*one.subject, one.told_by_room), (subject, told_by_room));
                let series = format!(
                    "tidegate_trouble{{subject=\"{subject}\",kind=\"{}\"}} 1\n",
                    one.kind
                );
                assert_eq!(
                    metrics.matches(&series).count(),
                    1,
                    "{concern:?}: {metrics}"
                );
            }
            told("raised", subject, told_by_room);
            observe.stand(&found);
            observe.stand(&[]);
            told("cleared", subject, told_by_room);
            assert!(!observe.metrics_text().contains("tidegate_trouble{"));
        }
    }

    #[test]
    fn a_store_at_the_border_of_nearly_full_is_told_once() {
        let (observe, beat) = (Observe::default(), intake(Some(0), false));
        let (sender, mut events) = tokio::sync::mpsc::channel(64);
        observe.route_system_events(sender);
        let mut status = Status::default();
        status.store.max_size_bytes = 1_000;
        for (bytes, is_so) in [
            (900, false),
            (901, true),
            (899, true),
            (851, true),
            (850, false),
            (890, false),
        ] {
            status.store.disk_bytes = bytes;
            let found = troubles(&status, &beat, &observe);
            observe.stand(&found);
            assert_eq!(!found.is_empty(), is_so, "{bytes}");
        }
        assert_eq!(std::iter::from_fn(|| events.try_recv().ok()).count(), 2);
    }
}
