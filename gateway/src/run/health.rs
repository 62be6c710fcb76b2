//! Looks once a second at what nobody tells by itself: the clock, file descriptors, events without
//! an upstream, dead letters that become more, and whatever a room wants looked at.

use std::collections::BTreeSet;
use std::convert::Infallible;
use std::fs::File;
use std::os::fd::AsRawFd;
use std::sync::{Arc, PoisonError};
use std::time::Duration;

use tidegate_rules::decision::Destinations;
use tidegate_rules::event::UnixMs;
use tokio::sync::watch;

use super::config::Config;
use super::upstreams::CountedLanes;
use crate::control::ApiContext;
use crate::observe::Observe;
use crate::observe::forward::LaneMetrics;
use crate::observe::log::repeats::Repeats;
use crate::observe::process;
use crate::observe::trouble::NEW_DEAD_LETTERS;
use crate::time::clock::{self, BUILT_UNIX_S, Now};
use crate::time::shutdown::stopped;

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);
/// New dead letters are no trouble any more when none came for so long.
const LETTERS_QUIET: Duration = Duration::from_secs(3600);
const STRANDED: &str = "stranded";
/// So many looks from one look at all that the status shows to the next.
const LOOKS_PER_STATUS: u32 = 5;

/// Lets as many files be open as the system allows.
pub(super) fn raise_limits() {
    let (before, now) = process::raise_descriptors_max();
    tracing::debug!(?before, ?now, "files that may be open at once");
}

/// Says whether that is too few for what the configuration allows.
pub(super) fn check_limits(config: &Config, observe: &Observe) {
    let sources = config.sources.iter();
    let connections: usize = sources.map(|source| source.kind.connections_max()).sum();
    let connections = connections as u64;
    let Some(max) = process::descriptors_max() else {
        return;
    };
    let room = process::descriptors_for_connections(max);
    if connections > room {
        let wanted = connections + (max - room);
        let what = format!(
            "the sources allow {connections} connections at once, and there are file descriptors for {room}: set \
             LimitNOFILE={wanted} in the service (`ulimit -Hn` in a shell), or lower max_connections"
        );
        observe.raise("gateway", "descriptors_max", &what);
    } else {
        observe.clear("gateway", "descriptors_max");
    }
}

/// Dead letters of one lane.
struct Letters {
    name: String,
    metrics: Arc<LaneMetrics>,
    /// At the last look, and before those that are a trouble.
    count: u64,
    before: u64,
}

impl Letters {
    fn new(name: &str, metrics: &Arc<LaneMetrics>) -> Letters {
        Letters {
            name: name.to_owned(),
            metrics: Arc::clone(metrics),
            count: 0,
            before: 0,
        }
    }

    fn look(&mut self, observe: &Observe, now: Now) {
        let is_aside = self.name == Destinations::DEAD_LETTER;
        let count = self.metrics.dead_letters(is_aside);
        let before = std::mem::replace(&mut self.count, count);
        if count == before {
            return;
        }
        let (subject, whence) = match is_aside {
            true => (
                "dead letters".to_owned(),
                "by a rule or a source".to_owned(),
            ),
            false => {
                let last = self.metrics.last_letter();
                (
                    format!("upstream {}", self.name),
                    format!("the last because: {last}"),
                )
            }
        };
        if !observe.is_raised(&subject, NEW_DEAD_LETTERS) {
            self.before = before;
        }
        let new = count - self.before;
        let events = if new == 1 { "event was" } else { "events were" };
        let what = format!(
            "{new} {events} set aside, {whence}. `tidegate dead-letters list` shows them; `retry` or `drop` one of them \
             to say that you have seen it"
        );
        let until = Some(now.instant + LETTERS_QUIET);
        observe.follow(&subject, NEW_DEAD_LETTERS, &what, until);
    }
}

/// What is looked at.
pub(super) struct HealthWatch {
    observe: Arc<Observe>,
    api: Arc<ApiContext>,
    held_back: Repeats,
    lanes: CountedLanes,
    letters: Vec<Letters>,
    stranded: BTreeSet<String>,
    looks: u32,
}

impl HealthWatch {
    /// `lanes` are those of the configuration, whatever it says by then.
    pub(super) fn new(
        config: &Config,
        observe: &Arc<Observe>,
        api: &Arc<ApiContext>,
        held_back: &Repeats,
        lanes: CountedLanes,
    ) -> HealthWatch {
        check_limits(config, observe);
        HealthWatch {
            observe: Arc::clone(observe),
            api: Arc::clone(api),
            held_back: held_back.clone(),
            lanes,
            letters: Vec::new(),
            stranded: BTreeSet::new(),
            looks: 0,
        }
    }

    /// Looks until shutdown.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Infallible> {
        loop {
            let now = clock::now();
            self.look(now);
            self.observe.look(now);
            self.held_back.write(now.instant);
            tokio::select! {
                () = stopped(&mut stop) => return Ok(()),
                () = tokio::time::sleep(EVERY) => {}
            }
        }
    }

    fn look(&mut self, now: Now) {
        match clock_is_behind(now.unix_ms) {
            Some(what) => self.observe.follow("gateway", "clock", &what, None),
            None => self.observe.clear("gateway", "clock"),
        }
        self.look_at_descriptors(now);
        self.look_at_lanes();
        if self.looks.is_multiple_of(LOOKS_PER_STATUS) {
            // It tells of what has changed.
            self.api.status(now);
        }
        self.looks = self.looks.wrapping_add(1);
        self.follow_lanes();
        for letters in &mut self.letters {
            letters.look(&self.observe, now);
        }
    }

    /// Looks at the lanes that there are now.
    fn follow_lanes(&mut self) {
        let lanes = self.lanes.lock().unwrap_or_else(PoisonError::into_inner);
        let is_same = |of: &Letters, (_, metrics): &(String, Arc<LaneMetrics>)| {
            Arc::ptr_eq(&of.metrics, metrics)
        };
        self.letters
            .retain(|of| lanes.iter().any(|lane| is_same(of, lane)));
        for lane in lanes.iter() {
            if !self.letters.iter().any(|of| is_same(of, lane)) {
                self.letters.push(Letters::new(&lane.0, &lane.1));
            }
        }
    }

    fn look_at_descriptors(&self, now: Now) {
        let is_short = match File::open("/dev/null") {
            Ok(file) => process::is_reserved(file.as_raw_fd()),
            Err(error) => process::is_short_of_descriptors(&error),
        };
        if is_short {
            process::descriptors_short(&self.observe, now.instant);
        }
    }

    fn look_at_lanes(&mut self) {
        let subject = |name: &str| format!("lane {name}");
        let mut now = BTreeSet::new();
        for lane in self.api.stranded() {
            let name = &lane.name;
            let events = match lane.waiting {
                1 => "1 event waits".to_owned(),
                waiting => format!("{waiting} events wait"),
            };
            let what = format!(
                "{events} for the upstream {name}, which the configuration does not name: name it again, or use \
                 `tidegate store lanes move {name} --to UPSTREAM` or `tidegate store lanes drop {name}`"
            );
            self.observe.follow(&subject(name), STRANDED, &what, None);
            now.insert(lane.name);
        }
        for name in self.stranded.difference(&now) {
            self.observe.clear(&subject(name), STRANDED);
        }
        self.stranded = now;
    }
}

/// What is wrong with a clock that says a time before this program was built.
pub(crate) fn clock_is_behind(unix_ms: UnixMs) -> Option<String> {
    let built_ms = BUILT_UNIX_S.parse::<UnixMs>().ok()?.saturating_mul(1000);
    (unix_ms < built_ms).then(|| {
        let day = |unix_ms| {
            jiff::Timestamp::from_millisecond(unix_ms)
                .unwrap_or_default()
                .strftime("%Y-%m-%d")
                .to_string()
        };
        format!(
            "the clock says {}, and this program was built on {}: events get wrong times until the clock is set. See \
             `timedatectl`; without a network it takes a battery-backed clock",
            day(unix_ms),
            day(built_ms)
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_clock_before_the_build_is_behind() {
        assert_eq!(clock_is_behind(clock::unix_ms()), None);
        let what = clock_is_behind(0).expect("1970 is behind");
        assert!(what.starts_with("the clock says 1970-01-01"), "{what}");
        let built_ms = BUILT_UNIX_S.parse::<UnixMs>().expect("a number") * 1000;
        assert!(clock_is_behind(built_ms - 1).is_some());
        assert!(clock_is_behind(built_ms).is_none());
    }
}
