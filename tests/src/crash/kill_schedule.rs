//! Kills without a pause, at any moment of a gateway's life, under load from MQTT and a serial line.

use std::collections::BTreeSet;
use std::net::TcpStream;
use std::os::unix::process::ExitStatusExt;
use std::path::PathBuf;
use std::time::Duration;

use crate::books::{self, Findings, Id};
use crate::crash::audit::{ARCHIVE, Audit, BOOT, NODE};
use crate::gateway::Gateway;
use crate::mqtt::load::{Load, Share};
use crate::mqtt::publisher::Ledger;
use crate::node::{SimulatedNode, Start};
use crate::wait::PATIENCE;

const PUBLISHERS: u32 = 4;
/// A kill that is meant for the start comes within this time.
const START_MAX: Duration = Duration::from_millis(150);
/// A kill that is meant for the work comes within this time after the gateway listens.
const WORK_MAX: Duration = Duration::from_millis(300);
/// One kill in so many falls into an orderly end, within this time after it was asked for.
const STOPS_ONE_IN: u32 = 6;
const STOP_MAX: Duration = Duration::from_millis(40);
/// How often the log is read: well within `keep_for`.
const AUDIT_EVERY: Duration = Duration::from_secs(1);
/// After so long it is read before the next kill.
const AUDIT_AGE_MAX: Duration = Duration::from_secs(2);
/// Small generations that are soon gone: they rotate and are deleted all the time.
const SETTINGS: &str = "[store]\nmax_size = \"256MiB\"\ngeneration_size = \"32KiB\"\nkeep_for = \"20s\"\n\n\
    [sources.bench]\ntype = \"serial\"\nport = \"line\"\nreopen_max = \"100ms\"\n\n\
    [upstreams.out]\ntype = \"file\"\n";

/// How many kills, and when.
pub struct KillSchedule {
    /// How many.
    pub kills: u32,
    /// Of their moments.
    pub seed: u64,
    /// Another build of the gateway, with an environment variable.
    pub breach: Option<(PathBuf, &'static str)>,
}

/// What the kills hit.
#[derive(Debug, Default)]
pub struct Hits {
    /// Before the gateway listened.
    pub starting: u32,
    /// After it was told to stop, before it had.
    pub stopping: u32,
    /// Between the beginning of a generation and the summary of the one before.
    pub rotating: u32,
    /// Between the renaming of a generation and the end of its deletion.
    pub deleting: u32,
    /// Generations begun.
    pub generations: u64,
    /// Generations deleted.
    pub deleted: u64,
}

/// Everything that is to be compared after the kills.
pub struct Outcome {
    /// What the publishers sent and had acknowledged.
    pub ledger: Ledger,
    /// The readings of the node, every one acknowledged.
    pub readings: BTreeSet<Id>,
    /// What was stored and delivered.
    pub audit: Audit,
    /// What the kills hit.
    pub hits: Hits,
}

impl Outcome {
    /// The publishers' books of `arrived`.
    pub fn mqtt(&self, arrived: &[Option<Id>]) -> Findings {
        let own = |id: &&Option<Id>| id.is_none_or(|id| id.0 != NODE);
        let arrived: Vec<_> = arrived.iter().filter(own).copied().collect();
        books::compare(&self.ledger.acknowledged, &self.ledger.sent, &arrived)
    }

    /// The node's books of `arrived`.
    pub fn serial(&self, arrived: &[Option<Id>]) -> Findings {
        let own = |id: &&Option<Id>| id.is_some_and(|id| id.0 == NODE);
        let arrived: Vec<_> = arrived.iter().filter(own).copied().collect();
        books::compare(&self.readings, &self.readings, &arrived)
    }
}

/// A schedule under way.
struct Execution {
    gateway: Gateway,
    node: SimulatedNode,
    audit: Audit,
    hits: Hits,
    /// Generations seen without a summary behind a newer one.
    unfinished: BTreeSet<String>,
}

impl KillSchedule {
    /// Kills the gateway as often as planned, lets the load end, and waits for the deliveries.
    ///
    /// # Panics
    /// When the gateway ends by itself or does not come up, or something is left unacknowledged.
    pub fn run(&self) -> Outcome {
        let mut gateway = Gateway::new(&format!("{SETTINGS}path = \"{ARCHIVE}\"\n"));
        if let Some((program, breach)) = &self.breach {
            gateway.program(program.clone());
            gateway.variable("TIDEGATE_NULL_CONTROL", breach);
        }
        let start = Start {
            boot: BOOT,
            first: 0,
            every_ms: 4,
            harm_one_in: 0,
        };
        let node = SimulatedNode::start(&gateway.path("line"), start);
        let share = Share {
            count: u64::MAX,
            per_second: 100.0,
            window: 32,
        };
        let load = Load::start(gateway.address, 0..PUBLISHERS, share);
        let mut execution = Execution {
            gateway,
            node,
            audit: Audit::default(),
            hits: Hits::default(),
            unfinished: BTreeSet::new(),
        };
        let mut random = fastrand::Rng::with_seed(self.seed);
        for number in 1..=self.kills {
            execution.kill_once(&mut random);
            if number % 250 == 0 {
                execution.report(number);
            }
        }
        execution.end(load, self.breach.is_some())
    }
}

impl Execution {
    /// One start and one kill.
    fn kill_once(&mut self, random: &mut fastrand::Rng) {
        self.gateway.launch();
        // The log is read before it forgets, however slow the machine is.
        if random.bool() && self.audit.age() < AUDIT_AGE_MAX {
            // Most of them soon: a start is short.
            std::thread::sleep(START_MAX.mul_f64(random.f64().powi(2)));
        } else {
            self.gateway.await_listening();
            if self.audit.age() > AUDIT_EVERY {
                self.audit.read_log(&self.gateway);
            }
            std::thread::sleep(WORK_MAX.mul_f64(random.f64()));
        }
        let listens = TcpStream::connect(self.gateway.address).is_ok();
        let is_told = listens && random.u32(..STOPS_ONE_IN) == 0;
        if is_told {
            self.gateway.signal("TERM");
            std::thread::sleep(STOP_MAX.mul_f64(random.f64()));
        }
        let ended = self.gateway.kill().expect("it ran");
        self.node.free();
        let is_killed = ended.signal() == Some(libc::SIGKILL);
        // The signal also ends it where it does not wait for signals yet.
        let is_stopped = ended.success() || ended.signal() == Some(libc::SIGTERM);
        assert!(
            is_killed || is_told && is_stopped,
            "it ended by itself: {ended:?}\n{}",
            self.gateway.log()
        );
        self.hits.starting += u32::from(!listens);
        self.hits.stopping += u32::from(is_told && is_killed);
        self.look_at_generations();
        self.audit.take_archive(&self.gateway);
    }

    /// What the names of the generations and their summaries say about the moment of the kill.
    fn look_at_generations(&mut self) {
        let folder = self.gateway.path("data/store/generations");
        let entries = std::fs::read_dir(&folder).into_iter().flatten().flatten();
        let mut names: Vec<String> = entries
            .map(|entry| entry.file_name().to_string_lossy().into_owned())
            .collect();
        let dead = names.iter().filter(|name| name.ends_with(".dead")).count();
        self.hits.deleting += u32::from(dead > 0);
        names.retain(|name| !name.ends_with(".dead"));
        names.sort();
        let number = |name: &String| name.split('-').next()?.parse::<u64>().ok();
        if let (Some(first), Some(last)) = (names.first(), names.last()) {
            self.hits.deleted = number(first).map_or(0, |id| id.saturating_sub(1));
            self.hits.generations = number(last).unwrap_or(0);
        }
        names.pop();
        for name in names {
            let has_summary = folder.join(&name).join("summary").exists();
            if !has_summary && self.unfinished.insert(name) {
                self.hits.rotating += 1;
            }
        }
    }

    fn report(&self, number: u32) {
        println!(
            "{number} kills, {} stored, {} delivered, {} readings, {} held, {:?}",
            self.audit.stored.len(),
            self.audit.delivered.len(),
            self.node.made(),
            self.node.held(),
            self.hits
        );
    }

    fn end(mut self, load: Load, is_breached: bool) -> Outcome {
        self.gateway.start();
        load.enough();
        let (ledger, left) = load.end();
        let log = self.gateway.log();
        assert_eq!(left, 0, "events left unacknowledged\n{log}");
        let made = self.node.drain();
        let readings: BTreeSet<Id> = (0..u64::from(made)).map(|n| (NODE, n)).collect();
        self.audit.read_log(&self.gateway);
        // Where events are lost, some never arrive.
        let most = match is_breached {
            true => Duration::from_secs(3),
            false => PATIENCE,
        };
        for acknowledged in [&ledger.acknowledged, &readings] {
            self.audit
                .await_delivered(&self.gateway, acknowledged, most);
        }
        Outcome {
            ledger,
            readings,
            audit: self.audit,
            hits: self.hits,
        }
    }
}
