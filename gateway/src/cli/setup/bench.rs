//! `tidegate bench`: what this machine can do, and what that means for its card.
//!
//! ```text
//!  scratch folder in D ──▶ sync latency of its disk ──▶ commit_delay ─┐
//!  1, 10, 100 senders ──▶ gateway (this program, a process) ──▶ store in the scratch folder
//!  a few events a second ─▶ the same, without and with that delay ─▶ bytes written per event ─▶ lifetime
//!  rules ──▶ evaluated here
//! ```
//!
//! Everything lies in one folder, which is locked while it is used and removed at the end; what a bench left that was killed
//! the next one removes. The store of a gateway that runs in D is not touched.

mod gateway_process;
mod judgement;
mod report;
mod rules_rate;
mod scratch;
mod senders;
mod sync_latency;

use std::path::{Path, PathBuf};
use std::time::Duration;

use tokio::signal::unix::{SignalKind, signal};

use super::machine::Machine;
use crate::cli::Failure;
use crate::cli::arguments::{ConfigArgument, OutputFormat};
use crate::config::unit;
use crate::run::config;
use gateway_process::GatewayProcess;
use judgement::{Judgement, Measured};
use report::Report;
use scratch::Scratch;

/// The shortest that measures anything.
const LENGTH_MIN: Duration = Duration::from_secs(5);
/// With what it takes to start and to clean up, all is done in under two minutes.
const LENGTH_MAX: Duration = Duration::from_secs(100);
/// When it is given up, whatever the disk does.
const GIVEN_UP_AFTER: Duration = Duration::from_secs(112);
/// From this length on the figures rest on enough.
const LENGTH_FULL: Duration = Duration::from_secs(30);
/// Shares of the whole time.
const OF_SYNC: f64 = 0.10;
const OF_FLOOD: f64 = 0.16;
const OF_PACE: f64 = 0.16;
const OF_RULES: f64 = 0.04;
/// How many senders there are.
const SENDERS: [u16; 3] = [1, 10, 100];
/// Events per second of a small site.
const RATE: &str = "10";

/// What `tidegate bench` takes.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// Folder on the disk to measure [default: the configuration's data_dir, else the current folder]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<PathBuf>,
    /// How long to measure in all, from 5s to 100s; from 30s on the figures rest on enough
    #[arg(long = "for", value_name = "TIME", value_parser = length, default_value = "60s")]
    length: Duration,
    /// Events per second, for which the lifetime of the disk is worked out
    #[arg(long, value_name = "EVENTS", default_value = RATE, value_parser = clap::value_parser!(u32).range(1..=1000))]
    rate: u32,
    /// What may be written to the disk in all, as its maker says, such as 30TiB [default: the configuration's]
    #[arg(long, value_name = "SIZE", value_parser = endurance)]
    endurance: Option<u64>,
    /// How to write the figures
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
}

fn length(text: &str) -> Result<Duration, String> {
    match unit::duration(text) {
        Err(_) => Err("write a number and s or m, such as 60s".into()),
        Ok(length) if length < LENGTH_MIN => Err("it takes at least 5s".into()),
        Ok(length) if length > LENGTH_MAX => {
            Err("at most 100s: a bench is over in two minutes".into())
        }
        Ok(length) => Ok(length),
    }
}

/// What a maker promises.
pub(super) fn endurance(text: &str) -> Result<u64, String> {
    let wrong = || "write what the maker promises, such as 30TiB".to_owned();
    match unit::size(text) {
        Ok(bytes) if bytes >= 1 << 30 => Ok(bytes),
        Ok(_) => Err("at least 1GiB".into()),
        Err(error) => Err(error
            .suggestion
            .map_or_else(wrong, |meant| format!("write {meant}"))),
    }
}

/// What is measured, where, and for how long.
pub(super) struct Plan {
    pub(super) folder: PathBuf,
    pub(super) length: Duration,
    pub(super) rate: u32,
    pub(super) endurance_bytes: Option<u64>,
}

/// Measures this machine and says what that means.
///
/// # Errors
/// What kept it from being measured. Its folder is removed all the same.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let plan = plan(arguments)?;
    let report = measure(&plan, arguments.format == OutputFormat::Text)?;
    report.write(arguments.format)?;
    Ok(())
}

fn plan(arguments: &Arguments) -> Result<Plan, Failure> {
    let config = arguments.config.path().ok();
    let look = config
        .as_ref()
        .and_then(|path| config::look_at(path).ok())
        .and_then(|(_, look)| look.config);
    let configured = look.as_ref();
    let folder = match (&arguments.data_dir, configured) {
        (Some(folder), _) => folder.clone(),
        (None, Some(config)) => config.gateway.data_dir.clone(),
        (None, None) => {
            eprintln!(
                "tidegate: no configuration and no --data-dir: the disk of the current folder is measured"
            );
            PathBuf::from(".")
        }
    };
    // The configuration speaks of its own disk.
    let of_config = configured.filter(|config| config.gateway.data_dir == folder);
    let endurance_bytes = of_config.and_then(|config| config.store.endurance_bytes);
    Ok(Plan {
        folder,
        length: arguments.length,
        rate: arguments.rate,
        endurance_bytes: arguments.endurance.or(endurance_bytes),
    })
}

/// Carries a plan out, within two minutes and until a signal comes.
///
/// # Errors
/// What kept it from being measured.
pub(super) fn measure(plan: &Plan, is_told: bool) -> Result<Report, Failure> {
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()?;
    let measured = runtime.block_on(async {
        let hear = |kind| signal(kind).map_err(Failure::from);
        let mut interrupt = hear(SignalKind::interrupt())?;
        let mut terminate = hear(SignalKind::terminate())?;
        let mut hangup = hear(SignalKind::hangup())?;
        let scratch = Scratch::create(&plan.folder)?;
        let measuring = tokio::time::timeout(GIVEN_UP_AFTER, phases(plan, &scratch, is_told));
        let stopped = || Failure::new("stopped; what it made is removed");
        tokio::select! {
            measured = measuring => measured.unwrap_or_else(|_| {
                Err(Failure::new(format!(
                    "{} could not be measured within two minutes: its disk answers too slowly for anything to be said but that",
                    plan.folder.display()
                )))
            }),
            _ = interrupt.recv() => Err(stopped()),
            _ = terminate.recv() => Err(stopped()),
            _ = hangup.recv() => Err(stopped()),
        }
    });
    // A sync under way may take as long as the disk likes.
    runtime.shutdown_background();
    measured
}

async fn phases(plan: &Plan, scratch: &Scratch, is_told: bool) -> Result<Report, Failure> {
    let share = |part: f64| plan.length.mul_f64(part);
    let tell = |what: &str| {
        if is_told {
            eprintln!("tidegate: measuring {what} …");
        }
    };
    let machine = Machine::new(None);
    let mount = machine.mount_of(&plan.folder);
    let disk = mount.as_ref().map(|mount| machine.disk_of(mount));
    tell("how long a sync takes");
    let sync = sync_latency::measure(scratch.path(), share(OF_SYNC)).await?;
    tell("durable events per second");
    let mut events_per_s = [0.0; SENDERS.len()];
    let gateway = GatewayProcess::start(scratch, Duration::ZERO).await?;
    for (senders, figure) in SENDERS.into_iter().zip(&mut events_per_s) {
        let flood = senders::flood(gateway.address(), senders, share(OF_FLOOD));
        *figure = flood.await.map_err(|error| gateway.failure(&error))?;
    }
    tell("what is written for an event");
    let bytes_per_event = paced(&gateway, plan.rate, share(OF_PACE)).await?;
    gateway.end();
    let mut measured = Measured {
        sync,
        rate: plan.rate,
        bytes_per_event,
        bytes_with_delay: None,
        endurance_bytes: plan.endurance_bytes,
        medium: disk.as_ref().map(|disk| disk.medium),
    };
    let delay = Judgement::delay(&measured);
    if !delay.is_zero() {
        let gateway = GatewayProcess::start(scratch, delay).await?;
        let written = paced(&gateway, plan.rate, share(OF_PACE)).await?;
        measured.bytes_with_delay = Some(written);
        gateway.end();
    }
    tell("rules per second");
    let lasting = share(OF_RULES);
    let rules = tokio::task::spawn_blocking(move || rules_rate::measure(lasting));
    let rules_per_s = rules
        .await
        .map_err(|error| Failure::new(error.to_string()))??;
    Ok(Report {
        folder: absolute(&plan.folder),
        mount,
        disk,
        events_per_s,
        rules_per_s,
        has_few_samples: plan.length < LENGTH_FULL,
        judgement: Judgement::of(&measured),
        measured,
    })
}

/// Bytes that the gateway writes for an event at a steady rate.
async fn paced(gateway: &GatewayProcess, rate: u32, lasting: Duration) -> Result<f64, Failure> {
    let failed = |error: std::io::Error| gateway.failure(&error);
    let address = gateway.address();
    // What a gateway writes once it has something to write at all is not that of an event.
    senders::pace(address, rate, lasting / 5)
        .await
        .map_err(failed)?;
    let before = gateway.written_bytes();
    let acknowledged = senders::pace(address, rate, lasting * 4 / 5);
    let acknowledged = acknowledged.await.map_err(failed)?;
    if acknowledged == 0 {
        let why = "nothing was acknowledged: the disk is full, or too slow for any event";
        return Err(failed(std::io::Error::other(why)));
    }
    let written = gateway.written_bytes().saturating_sub(before);
    Ok(written as f64 / acknowledged as f64)
}

fn absolute(folder: &Path) -> PathBuf {
    folder.canonicalize().unwrap_or_else(|_| folder.to_owned())
}
