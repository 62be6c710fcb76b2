//! `tidegate demo`: the main job on one machine, with an outage and a kill, and the books.
//!
//! ```text
//! 20 MQTT sensors ─┐                        ┌─ the line, cut ─┐
//!  2 serial nodes ─┴─▶ gateway (a process, ─┴─────────────────┴─▶ gateway (a process) ─▶ file
//!                      killed once)                                                       │
//!            acknowledged ───────────────────▶ books ◀─────────────────────── delivered ──┘
//! ```
//!
//! Sensors and nodes keep what is not acknowledged; the gateways are this same program. What
//! was acknowledged is written down here, what arrived is read from the upstream's file, and
//! the two must agree.

mod books;
mod child;
pub(super) mod command;
mod devices;
mod latency;
mod sensors;
mod site;
mod uplink;
mod view;

use std::path::Path;
use std::sync::Arc;
use std::time::{Duration, Instant};

pub(super) use books::Balance;
use books::{Books, Follower};
use child::Child;
use devices::Bench;
use latency::Latency;
use sensors::Sensor;
use site::Site;
use tokio::signal::unix::{Signal, SignalKind, signal};
use tokio::sync::watch;
use tokio::task::JoinSet;
use uplink::{Switch, Uplink};
pub(super) use view::Progress;
use view::{Asked, Look, View};

use crate::observe::status::Status;
use crate::time::clock;

/// Asks the gateway with this data directory how it is; may wait for the answer.
pub(super) type AskStatus = fn(&Path) -> Option<Status>;

/// Sensors of the demo.
const SENSORS: usize = 20;
/// Serial devices of the demo.
const DEVICES: usize = 2;
/// How often each sensor measures.
const EVERY: Duration = Duration::from_millis(20);
/// How long a cycle of outage and kill takes when nobody says how long the demo runs.
const CYCLE: Duration = Duration::from_secs(30);
/// How long what was acknowledged may take to arrive after the last reading.
const SETTLE_MAX: Duration = Duration::from_secs(60);
/// With nothing left to send and nothing arriving for so long, what is missing is lost.
const QUIET_MAX: Duration = Duration::from_secs(5);
/// How often the view is refreshed.
const LOOK_EVERY: Duration = Duration::from_secs(1);

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

struct Demo {
    edge: Child,
    upstream: Child,
    switch: Switch,
    books: Arc<Books>,
    latency: Arc<Latency>,
    follower: Follower,
    stop: watch::Sender<bool>,
    senders: JoinSet<()>,
    bench: Bench,
    began: Instant,
    before: (u64, u64),
    ask: AskStatus,
    told: Told,
    /// Last, so that its folder goes when nobody writes there any more.
    site: Site,
}

/// The signals that end the demo early.
struct Told {
    interrupt: Signal,
    terminate: Signal,
}

impl Told {
    fn listen() -> std::io::Result<Told> {
        Ok(Told {
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
    /// Asks a gateway how it is.
    pub ask: AskStatus,
    /// Where it shows what happens.
    pub progress: Progress,
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
    let mut demo = Demo::start(options.ask).await?;
    view.note(
        Duration::ZERO,
        &format!("{SENSORS} sensors and {DEVICES} serial devices start"),
    );
    demo.load(options.length, view).await?;
    demo.settle(view).await
}

impl Demo {
    async fn start(ask: AskStatus) -> Result<Demo, DemoError> {
        let told = Told::listen()?;
        let site = Site::new()?;
        let (uplink, switch) = Uplink::bind(site.upstream).await?;
        let books = Arc::new(Books::default());
        let bench = Bench::open(DEVICES, &books)?;
        site.write(uplink.address()?, &bench.paths())?;
        let upstream = Child::start("upstream", &site.upstream_config)?;
        let edge = Child::start("edge", &site.edge_config)?;
        tokio::spawn(uplink.run(switch.clone()));
        let (stop, stopped) = watch::channel(false);
        let latency = Arc::new(Latency::default());
        let mut senders = JoinSet::new();
        for number in 0..SENSORS {
            let sensor = Sensor {
                name: format!("s{number:02}"),
                gateway: site.edge,
                every: EVERY,
                books: Arc::clone(&books),
                latency: Arc::clone(&latency),
            };
            senders.spawn(sensor.run(stopped.clone()));
        }
        Ok(Demo {
            follower: Follower::new(site.delivered.clone()),
            site,
            edge,
            upstream,
            switch,
            books,
            latency,
            stop,
            senders,
            bench,
            began: clock::monotonic(),
            before: (0, 0),
            ask,
            told,
        })
    }

    /// Load, with an outage and a kill in every cycle.
    async fn load(&mut self, length: Option<Duration>, view: &mut View) -> Result<(), DemoError> {
        let cycle = length.unwrap_or(CYCLE);
        let mut cycle_ends = cycle;
        let mut due = schedule(Duration::ZERO, cycle);
        let mut next_look = LOOK_EVERY;
        loop {
            tokio::select! {
                () = self.told.wait() => return Ok(()),
                () = tokio::time::sleep(Duration::from_millis(20)) => {}
            }
            let elapsed = self.began.elapsed();
            if length.is_some_and(|length| elapsed >= length) || view.asked() == Asked::Quit {
                return Ok(());
            }
            if due.first().is_some_and(|(at, _)| elapsed >= *at) {
                let (_, step) = due.remove(0);
                self.step(step, view)?;
            }
            if length.is_none() && elapsed >= cycle_ends {
                due = schedule(cycle_ends, cycle);
                cycle_ends += cycle;
            }
            if elapsed >= next_look {
                next_look = elapsed + LOOK_EVERY;
                self.look(view).await?;
            }
        }
    }

    fn step(&mut self, step: Step, view: &mut View) -> Result<(), DemoError> {
        let elapsed = self.began.elapsed();
        match step {
            Step::Cut => {
                self.switch.cut();
                view.note(elapsed, "the line to the upstream is cut");
            }
            Step::Kill => {
                self.edge.kill()?;
                self.bench.free();
                view.note(elapsed, "kill -9: the gateway is gone");
            }
            Step::Restart => {
                self.edge.restart()?;
                view.note(elapsed, "the gateway starts again over what it left behind");
            }
            Step::Mend => {
                self.switch.mend();
                view.note(elapsed, "the line is mended; the backlog drains");
            }
        }
        Ok(())
    }

    /// One look at everything, shown. Gives the backlog while the gateway answers.
    async fn look(&mut self, view: &mut View) -> Result<Option<u64>, DemoError> {
        if let Some(words) = self.edge.ended().or_else(|| self.upstream.ended()) {
            return Err(DemoError(words));
        }
        self.follower.catch_up(&self.books)?;
        let status = self.status().await;
        let gateway_up = status.is_some();
        let waiting = status.as_ref().map(|status| status.books.waiting);
        let (accepted, delivered) = (self.books.accepted(), self.books.arrived());
        let (ack_p50, ack_p99) = self.latency.percentiles();
        let status = status.unwrap_or_default();
        view.show(&Look {
            elapsed: self.began.elapsed(),
            line_up: self.switch.is_up(),
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
        self.switch.mend();
        if !self.edge.is_started() {
            self.edge.restart()?;
        }
        view.note(
            self.began.elapsed(),
            "the sensors stop; what is left drains",
        );
        self.stop.send_replace(true);
        self.bench.rest();
        let deadline = clock::monotonic() + SETTLE_MAX;
        let mut moved = (0, clock::monotonic());
        while clock::monotonic() < deadline {
            tokio::time::sleep(LOOK_EVERY / 2).await;
            while self.senders.try_join_next().is_some() {}
            let backlog = self.look(view).await?;
            let all_sent = self.bench.is_idle() && self.senders.is_empty();
            let arrived = self.books.arrived();
            if arrived > moved.0 || backlog != Some(0) || !all_sent {
                moved = (arrived, clock::monotonic());
            }
            if all_sent && self.books.balance(0).lost == 0 || moved.1.elapsed() > QUIET_MAX {
                break;
            }
        }
        self.follower.catch_up(&self.books)?;
        let dead_letters = self.status().await.unwrap_or_default().store.dead_letters;
        Ok(self.books.balance(dead_letters))
    }

    /// What the edge gateway says of itself; nothing while it is gone.
    async fn status(&self) -> Option<Status> {
        let (ask, dir) = (self.ask, self.site.data_dir("edge"));
        tokio::task::spawn_blocking(move || ask(&dir))
            .await
            .unwrap_or_default()
    }
}

fn schedule(from: Duration, cycle: Duration) -> Vec<(Duration, Step)> {
    STEPS
        .iter()
        .map(|(percent, step)| (from + cycle * *percent / 100, *step))
        .collect()
}

/// The books and the verdict, as the demo prints them last.
pub(super) fn verdict(balance: &Balance) -> String {
    let Balance {
        accepted,
        derived,
        delivered,
        duplicates,
        dead_letters,
        lost,
        invented,
    } = balance;
    let word = if balance.holds() {
        "every acknowledged event arrived"
    } else {
        "ACKNOWLEDGED EVENTS ARE MISSING OR WERE INVENTED"
    };
    format!(
        "accepted {accepted}   alarms derived {derived}   delivered {delivered}   duplicates {duplicates}   dead letters {dead_letters}   invented {invented}\nlost = {lost}: {word}"
    )
}
