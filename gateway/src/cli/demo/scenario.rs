//! What happens in a demo: load, an outage and a kill in every cycle, and the wait for what is under way.

use std::collections::BTreeSet;
use std::sync::Arc;
use std::time::{Duration, Instant};

use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;

use super::ack_latency::AckLatency;
use super::delivered_file::DeliveredFile;
use super::folder::DemoFolder;
use super::gateway_process::GatewayProcess;
use super::ledger::{Balance, Ledger};
use super::mqtt_sensors::MqttSensor;
use super::relay::{Relay, RelaySwitch};
use super::serial_nodes::SerialNodes;
use super::settling::{Moment, Settling};
use super::view::{ProgressOutput, Snapshot, View};
use crate::cli::gateway::control_client::ControlClient;
use crate::observe::status::Status;
use crate::time::clock;

/// Sensors of the demo.
const SENSORS: usize = 20;
/// Serial devices of the demo.
const DEVICES: usize = 2;
/// How often each sensor measures.
const EVERY: Duration = Duration::from_millis(20);
/// How long a cycle of outage and kill takes when nobody says how long the demo runs.
const CYCLE: Duration = Duration::from_secs(30);
/// A serial line that the gateway has not opened for so long is told.
const UNHEARD_AFTER: Duration = Duration::from_secs(2);
/// How often the view is refreshed.
const REFRESH_EVERY: Duration = Duration::from_secs(1);

/// What stopped a demo from reaching its books.
#[derive(Debug)]
pub(super) struct DemoError(String);

impl std::fmt::Display for DemoError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for DemoError {}

impl From<std::io::Error> for DemoError {
    fn from(error: std::io::Error) -> Self {
        DemoError(format!("the demo could not be set up: {error}"))
    }
}

/// What happens in a cycle, as shares of its length in percent.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Step {
    Cut,
    Kill,
    Restart,
    Mend,
}

const STEPS: [(u32, Step); 4] = [
    (25, Step::Cut),
    (45, Step::Kill),
    (50, Step::Restart),
    (65, Step::Mend),
];

/// A demo under way.
struct Scenario {
    edge: GatewayProcess,
    upstream: GatewayProcess,
    line: RelaySwitch,
    ledger: Arc<Ledger>,
    latency: Arc<AckLatency>,
    delivered: DeliveredFile,
    stop_sensors: watch::Sender<bool>,
    sensors: JoinSet<()>,
    nodes: SerialNodes,
    began: Instant,
    /// Accepted and delivered at the last refresh.
    before: (u64, u64),
    /// Whether the gateway has the lines of its serial devices, when it last answered.
    lines_open: bool,
    /// Sources whose closed line was told.
    lines_told: BTreeSet<String>,
    stop_signals: StopSignals,
    /// The relay between the gateways, which ends with the demo.
    _relay: JoinSet<()>,
    /// Last, so that its folder goes when nobody writes there any more.
    folder: DemoFolder,
}

/// The signals that end the demo early.
struct StopSignals {
    interrupt: Signal,
    terminate: Signal,
}

impl StopSignals {
    fn listen() -> std::io::Result<StopSignals> {
        Ok(StopSignals {
            interrupt: signal(SignalKind::interrupt())?,
            terminate: signal(SignalKind::terminate())?,
        })
    }

    async fn wait(&mut self) {
        tokio::select! {
            _ = self.interrupt.recv() => {}
            _ = self.terminate.recv() => {}
        }
    }
}

/// How a demo is run.
#[derive(Debug, Clone, Copy)]
pub(super) struct Options {
    /// How long; `None` until Ctrl-C.
    pub length: Option<Duration>,
    /// Where it shows what happens.
    pub progress: ProgressOutput,
}

/// Runs the demo and returns its balance.
///
/// # Errors
/// [`DemoError`] when it could not be set up, or one of its gateways ended by itself.
pub(super) async fn run(options: Options) -> Result<Balance, DemoError> {
    let mut view = View::open(options.progress);
    let result = drive(options, &mut view).await;
    view.close();
    result
}

async fn drive(options: Options, view: &mut View) -> Result<Balance, DemoError> {
    let mut scenario = Scenario::start().await?;
    view.note(
        Duration::ZERO,
        &format!("{SENSORS} sensors and {DEVICES} serial devices start"),
    );
    scenario.load(options.length, view).await?;
    scenario.settle(view).await
}

impl Scenario {
    async fn start() -> Result<Scenario, DemoError> {
        let stop_signals = StopSignals::listen()?;
        let folder = DemoFolder::create()?;
        let (relay, line) = Relay::bind(folder.upstream).await?;
        let ledger = Arc::new(Ledger::default());
        let nodes = SerialNodes::start(DEVICES, &ledger)?;
        folder.write_configs(relay.address()?, &nodes.paths())?;
        let upstream = GatewayProcess::start("upstream", &folder.upstream_config)?;
        let edge = GatewayProcess::start("edge", &folder.edge_config)?;
        let mut relays = JoinSet::new();
        relays.spawn(relay.run(line.clone()));
        let (stop_sensors, stopped) = watch::channel(false);
        let latency = Arc::new(AckLatency::default());
        let mut sensors = JoinSet::new();
        for number in 0..SENSORS {
            let sensor = MqttSensor {
                name: format!("s{number:02}"),
                gateway: folder.edge,
                every: EVERY,
                ledger: Arc::clone(&ledger),
                latency: Arc::clone(&latency),
            };
            sensors.spawn(sensor.run(stopped.clone()));
        }
        Ok(Scenario {
            delivered: DeliveredFile::new(folder.delivered.clone()),
            folder,
            edge,
            upstream,
            line,
            ledger,
            latency,
            stop_sensors,
            sensors,
            nodes,
            began: clock::monotonic(),
            before: (0, 0),
            lines_open: false,
            lines_told: BTreeSet::new(),
            stop_signals,
            _relay: relays,
        })
    }

    /// Load, with an outage and a kill in every cycle.
    async fn load(&mut self, length: Option<Duration>, view: &mut View) -> Result<(), DemoError> {
        let cycle = length.unwrap_or(CYCLE);
        let mut cycle_ends = cycle;
        let mut due = schedule(Duration::ZERO, cycle);
        let mut next_refresh = REFRESH_EVERY;
        loop {
            tokio::select! {
                () = self.stop_signals.wait() => return Ok(()),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            let elapsed = self.elapsed(clock::monotonic());
            if length.is_some_and(|length| elapsed >= length) || view.quit_requested() {
                return Ok(());
            }
            if due.first().is_some_and(|(at, _)| elapsed >= *at) {
                let (_, step) = due.remove(0);
                self.take_step(step, elapsed, view)?;
            }
            if length.is_none() && elapsed >= cycle_ends {
                due = schedule(cycle_ends, cycle);
                cycle_ends += cycle;
            }
            if elapsed >= next_refresh {
                next_refresh = elapsed + REFRESH_EVERY;
                self.refresh(elapsed, view).await?;
            }
        }
    }

    fn take_step(
        &mut self,
        step: Step,
        elapsed: Duration,
        view: &mut View,
    ) -> Result<(), DemoError> {
        match step {
            Step::Cut => {
                self.line.cut();
                view.note(elapsed, "the line to the upstream is cut");
            }
            Step::Kill => {
                self.edge.kill()?;
                self.nodes.release_lines();
                view.note(elapsed, "kill -9: the gateway is gone");
            }
            Step::Restart => {
                self.edge.restart()?;
                view.note(elapsed, "the gateway starts again over what it left behind");
            }
            Step::Mend => {
                self.line.mend();
                view.note(elapsed, "the line is mended; the backlog drains");
            }
        }
        Ok(())
    }

    /// Shows how everything is. Gives the backlog while the gateway answers.
    async fn refresh(
        &mut self,
        elapsed: Duration,
        view: &mut View,
    ) -> Result<Option<u64>, DemoError> {
        if let Some(words) = self
            .edge
            .unexpected_exit()
            .or_else(|| self.upstream.unexpected_exit())
        {
            return Err(DemoError(words));
        }
        self.delivered.catch_up(&self.ledger)?;
        let status = self.status().await;
        let gateway_up = status.is_some();
        let waiting = status.as_ref().map(|status| status.books.waiting);
        let (accepted, delivered) = (self.ledger.accepted(), self.ledger.arrived());
        let (ack_p50, ack_p99) = self.latency.percentiles();
        let status = status.unwrap_or_default();
        if gateway_up {
            self.look_at_lines(&status, elapsed, view);
        }
        view.show(&Snapshot {
            elapsed,
            line_up: self.line.is_up(),
            gateway_up,
            upstream: status.upstreams.first().map(|cloud| cloud.state.clone()),
            accepted,
            delivered,
            backlog: status.books.waiting,
            accepted_per_s: accepted - self.before.0,
            delivered_per_s: delivered - self.before.1,
            ack_p50,
            ack_p99,
        });
        self.before = (accepted, delivered);
        Ok(waiting)
    }

    /// No new readings: everything kept is acknowledged, everything acknowledged arrives.
    async fn settle(mut self, view: &mut View) -> Result<Balance, DemoError> {
        self.line.mend();
        if !self.edge.is_started() {
            self.edge.restart()?;
        }
        let stopped = clock::monotonic();
        view.note(
            self.elapsed(stopped),
            "the sensors stop; what is left drains",
        );
        self.stop_sensors.send_replace(true);
        self.nodes.stop_measuring();
        let mut settling = Settling::begin(stopped);
        loop {
            tokio::time::sleep(REFRESH_EVERY / 2).await;
            let now = clock::monotonic();
            while self.sensors.try_join_next().is_some() {}
            let backlog = self.refresh(self.elapsed(now), view).await?;
            let (nodes_idle, sensors_idle) = (self.nodes.held() == 0, self.sensors.is_empty());
            let moment = Moment {
                accepted: self.ledger.accepted(),
                arrived: self.ledger.arrived(),
                backlog,
                all_sent: nodes_idle && sensors_idle,
                more_to_come: !sensors_idle || (!nodes_idle && self.lines_open),
                lost: self.ledger.balance(0, 0).lost,
            };
            if settling.is_over(&moment, now) {
                break;
            }
        }
        self.delivered.catch_up(&self.ledger)?;
        let dead_letters = self.status().await.unwrap_or_default().store.dead_letters;
        Ok(self.ledger.balance(dead_letters, self.nodes.held()))
    }

    /// Notes whether the gateway has the serial lines, and says once of each that it does not have why.
    fn look_at_lines(&mut self, status: &Status, elapsed: Duration, view: &mut View) {
        let lines = || status.sources.iter().filter(|one| one.kind == "serial");
        self.lines_open = lines().any(|line| line.up);
        for line in lines().filter(|line| !line.up) {
            let known = line.last_error.as_deref();
            let for_long = Duration::from_millis(line.since_ms) >= UNHEARD_AFTER;
            if let Some(why) = known.filter(|_| for_long)
                && self.lines_told.insert(line.name.clone())
            {
                let name = &line.name;
                view.note(elapsed, &format!("the gateway does not hear {name}: {why}"));
            }
        }
    }

    /// What the edge gateway says of itself; nothing while it is gone.
    async fn status(&self) -> Option<Status> {
        let data_dir = self.folder.data_dir("edge");
        // The client has a runtime of its own, which must not be made on this one.
        tokio::task::spawn_blocking(move || {
            let client = ControlClient::connect(&data_dir).ok()??;
            client.get("/status").ok()
        })
        .await
        .unwrap_or_default()
    }

    fn elapsed(&self, now: Instant) -> Duration {
        now.saturating_duration_since(self.began)
    }
}

fn schedule(from: Duration, cycle: Duration) -> Vec<(Duration, Step)> {
    STEPS
        .iter()
        .map(|(percent, step)| (from + cycle * *percent / 100, *step))
        .collect()
}
