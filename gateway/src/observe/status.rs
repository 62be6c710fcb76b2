//! What a gateway tells about itself: the answer to `GET /status` and `tidegate status`.
//!
//! Every figure counts from the start of the process unless it says otherwise. Times are
//! milliseconds since the Unix epoch, spans are milliseconds, sizes are bytes.

use std::collections::VecDeque;

use serde::{Deserialize, Serialize};

/// The whole answer.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Status {
    /// Who answers.
    pub gateway: GatewayStatus,
    /// Why the gateway is not at its best; empty when all is well.
    pub troubles: Vec<String>,
    /// The rules in force.
    pub rules: RulesStatus,
    /// In the order of the configuration.
    pub sources: Vec<SourceStatus>,
    /// In the order of the configuration.
    pub upstreams: Vec<UpstreamStatus>,
    /// Events behind upstreams that the configuration no longer names.
    #[serde(default)]
    pub stranded: Vec<StrandedLane>,
    /// The event store.
    pub store: StoreStatus,
    /// Events and their fates.
    pub books: Books,
}

/// Who answers.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct GatewayStatus {
    /// `[gateway] id`
    pub id: String,
    /// The version of the program.
    pub version: String,
    /// The process.
    pub pid: u32,
    /// How long it has been running.
    pub uptime_ms: u64,
}

/// The rules in force.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct RulesStatus {
    /// The folder; absent where the configuration names none.
    pub folder: Option<String>,
    /// Counts activations; 1 is the set the gateway started with.
    pub generation: u64,
    /// Of the rules in force, as 16 hexadecimal digits.
    pub fingerprint: String,
    /// Rules in force.
    pub rules: usize,
    /// Errors of the folder as it is now, where it was refused: one line each.
    pub refused: Vec<String>,
    /// When the rules in force were kept, where the gateway started with the last good ones.
    #[serde(default)]
    pub last_good_ms: Option<i64>,
    /// Names in the folder that were probably meant to be read and are not.
    #[serde(default)]
    pub ignored: Vec<String>,
}

/// One source.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct SourceStatus {
    /// Its name.
    pub name: String,
    /// Its `type`.
    pub kind: String,
    /// In a word: `starting`, `listening`, `connected`, `waiting`, …
    pub state: String,
    /// Whether it listens, is connected, or has its port.
    #[serde(default)]
    pub up: bool,
    /// How long it has been in this state.
    #[serde(default)]
    pub since_ms: u64,
    /// Events it handed on.
    pub events: u64,
    /// Events it could not hand on: malformed, too large, not allowed, or not stored.
    pub refused: u64,
    /// Connections open now.
    pub connections: u64,
    /// What is not done here that its clients may expect.
    #[serde(default)]
    pub notes: Vec<String>,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
    /// Lines of text that it refused; absent where there were none.
    #[serde(default)]
    pub refused_lines: Option<RefusedLines>,
}

/// Lines of text that a source refused.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedLines {
    /// How many.
    pub count: u64,
    /// The last ones, oldest first.
    pub last: VecDeque<RefusedLine>,
}

/// One of them.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct RefusedLine {
    /// When.
    pub at_ms: i64,
    /// What is wrong with it.
    pub why: String,
    /// Its bytes; of one that is too long, those up to there.
    pub bytes: u64,
    /// Its first 40 bytes, escaped.
    pub begin: String,
}

/// One upstream and its lane.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct UpstreamStatus {
    /// Its name.
    pub name: String,
    /// Its `type`.
    pub kind: String,
    /// In a word: `starting`, `up`, `down`, or `failing`: connected, but it takes nothing.
    pub state: String,
    /// How long it has been in this state.
    pub since_ms: u64,
    /// Events waiting for it, in the store.
    pub waiting: u64,
    /// Their bytes, estimated.
    pub waiting_bytes: u64,
    /// Age of the oldest of them.
    pub oldest_ms: Option<u64>,
    /// Deliveries handed over and not settled.
    pub in_flight: u64,
    /// Events waiting when the process started.
    pub waiting_at_start: u64,
    /// Outputs routed to it.
    pub routed: u64,
    /// Deliveries it acknowledged.
    pub delivered: u64,
    /// Deliveries that became dead letters.
    pub dead_lettered: u64,
    /// Deliveries that would have been one dead letter too many.
    #[serde(default)]
    pub letters_dropped: u64,
    /// Deliveries given up because the room was needed.
    #[serde(default)]
    pub shed: u64,
    /// Deliveries given up because they waited for longer than `expire_after`.
    #[serde(default)]
    pub expired: u64,
    /// Deliveries sent more than once.
    pub retried: u64,
    /// How long events took to it.
    #[serde(default)]
    pub delivery: DeliveryStatus,
    /// The last thing that went wrong.
    pub last_error: Option<String>,
}

/// How long events took from their acceptance to the upstream's acknowledgement.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeliveryStatus {
    /// Of late.
    pub recent: DeliveryWindow,
    /// All of them.
    pub since_start: DeliveryWindow,
}

/// What was acknowledged in some time.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeliveryWindow {
    /// How long that is: for the recent one a minute at most.
    pub window_ms: u64,
    /// Acknowledgements in it, by the second.
    pub events_per_s: f64,
    /// Events that waited behind no interruption.
    pub live: DeliveryTraffic,
    /// Events that waited behind an outage, a pause or a restart.
    pub backlog: DeliveryTraffic,
}

/// Live events, or those of a backlog.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct DeliveryTraffic {
    /// How many were acknowledged.
    pub events: u64,
    /// What half of them took at most.
    pub p50_ms: Option<f64>,
    /// What 99 of 100 took at most.
    pub p99_ms: Option<f64>,
}

/// How often the figures of a lane are read anew until they agree.
const AGREE_MAX: usize = 1_000;

impl UpstreamStatus {
    /// Figures of one moment: what is counted (`read`) goes on while it is counted what waits in the store (`waiting`).
    /// Where the books balance somewhere between a look before and a look after that, they are those after it, with what
    /// waits then.
    pub fn of_one_moment(
        read: impl Fn() -> UpstreamStatus,
        waiting: impl Fn() -> (u64, u64, Option<u64>),
    ) -> UpstreamStatus {
        let mut before = read();
        for tried in 0.. {
            let (waiting, waiting_bytes, oldest_ms) = waiting();
            let mut after = UpstreamStatus {
                waiting,
                waiting_bytes,
                oldest_ms,
                ..read()
            };
            let span = (before.came(), after.came(), before.went(), after.went());
            let least = span.0.saturating_sub(span.3);
            let most = span.1.saturating_sub(span.2);
            let agrees = (least..=most).contains(&waiting) && span.1 >= span.3;
            if agrees {
                after.waiting = span.1 - span.3;
            }
            if agrees || tried >= AGREE_MAX {
                after.in_flight = after.in_flight.min(after.waiting);
                return after;
            }
            std::thread::yield_now();
            before = after;
        }
        before
    }

    fn came(&self) -> u64 {
        self.waiting_at_start.saturating_add(self.routed)
    }

    fn went(&self) -> u64 {
        let fates = [
            self.delivered,
            self.dead_lettered,
            self.shed,
            self.expired,
            self.letters_dropped,
        ];
        fates.into_iter().fold(0, u64::saturating_add)
    }

    /// What came in less what became of it; 0 when the books balance.
    pub fn difference(&self) -> i64 {
        self.came() as i64 - self.went().saturating_add(self.waiting) as i64
    }
}

/// The event store.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct StoreStatus {
    /// Where it lies.
    pub folder: String,
    /// Events held, delivered ones kept for replay included.
    pub events: u64,
    /// Bytes on disk that count against the cap.
    pub disk_bytes: u64,
    /// `[store] max_size`
    pub max_size_bytes: u64,
    /// Free on the file system.
    pub free_bytes: u64,
    /// `[store] free_min`
    pub free_min_bytes: u64,
    /// Generations on disk.
    pub generations: u64,
    /// Generations and databases of dead letters in quarantine, with why.
    pub quarantined: Vec<String>,
    /// Runs of sequences that cannot be read.
    pub damage: Vec<String>,
    /// Dead letters held.
    pub dead_letters: u64,
    /// Whether the latest commit was refused.
    pub refusing: bool,
}

/// Events that wait for a name which no upstream has.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct StrandedLane {
    /// The upstream that they were routed to.
    pub name: String,
    /// How many.
    pub waiting: u64,
}

/// What the disk was written for, since the gateway started.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Wear {
    /// How long ago that was.
    pub seconds: f64,
    /// Payload bytes of accepted events.
    pub accepted_bytes: u64,
    /// Bytes that this process caused to be written; absent where the kernel does not tell.
    pub written_bytes: Option<u64>,
    /// `written_bytes` for each accepted byte; absent while nothing is accepted.
    pub amplification: Option<f64>,
    /// The disk or partition that holds the data folder, if the kernel names one.
    pub disk: Option<String>,
    /// Bytes written to it by everybody.
    pub disk_written_bytes: Option<u64>,
    /// `[store] endurance`
    pub endurance_bytes: Option<u64>,
    /// How long a new disk of that endurance lasts at this rate; absent for the first minute.
    pub lifetime_days: Option<f64>,
}

/// Events and their fates. The books balance when every routed output is delivered, a dead
/// letter, dropped as one too many, shed, expired, or still waiting.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Books {
    /// Events made durable and acknowledged.
    pub accepted: u64,
    /// Repetitions that were recognised and not stored again.
    pub duplicates: u64,
    /// Events that could not be stored and were not acknowledged.
    pub refused: u64,
    /// Accepted events that no rule sends anywhere.
    pub dropped_by_rule: u64,
    /// Outputs that waited when the process started.
    #[serde(default)]
    pub waiting_at_start: u64,
    /// Outputs of accepted events, over all upstreams.
    pub routed: u64,
    /// Outputs an upstream acknowledged.
    pub delivered: u64,
    /// Outputs that became dead letters: an upstream's, or sent there by a rule or a source.
    pub dead_lettered: u64,
    /// Outputs that would have been one dead letter too many.
    #[serde(default)]
    pub letters_dropped: u64,
    /// Outputs given up because the room was needed.
    #[serde(default)]
    pub shed: u64,
    /// Outputs given up because they waited for too long.
    #[serde(default)]
    pub expired: u64,
    /// Outputs still waiting.
    pub waiting: u64,
    /// Routed and waiting at the start, less all fates: 0 when the books balance.
    pub difference: i64,
}

impl Books {
    /// Whether every output is accounted for.
    pub fn balance(&self) -> bool {
        self.difference == 0
    }

    /// Adds up the lanes.
    pub fn with_lanes(mut self, lanes: &[UpstreamStatus]) -> Books {
        self.waiting_at_start = lanes.iter().map(|lane| lane.waiting_at_start).sum();
        self.routed = lanes.iter().map(|lane| lane.routed).sum();
        self.delivered = lanes.iter().map(|lane| lane.delivered).sum();
        self.dead_lettered = lanes.iter().map(|lane| lane.dead_lettered).sum();
        self.letters_dropped = lanes.iter().map(|lane| lane.letters_dropped).sum();
        self.shed = lanes.iter().map(|lane| lane.shed).sum();
        self.expired = lanes.iter().map(|lane| lane.expired).sum();
        self.waiting = lanes.iter().map(|lane| lane.waiting).sum();
        self.difference = lanes.iter().map(UpstreamStatus::difference).sum();
        self
    }
}

/// Whether the gateway takes events: the answer to `GET /readyz`.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Readiness {
    /// Events are accepted.
    pub ready: bool,
    /// Why not, or what else is wrong.
    pub troubles: Vec<String>,
}
