//! `tidegate store`: the event store on disk.

use std::io::Write;
use std::path::PathBuf;

use clap::Subcommand;
use indicatif::{ProgressBar, ProgressStyle};

use super::held::Held;
use super::table::{Table, printable};
use super::{ConfigArgument, Failure, Format, backup, human, terminal};
use crate::control::history::store::{StoreReport, VerifyReport, VerifyUpdate, report, verify};
use crate::observe::status::Wear;

/// What `tidegate store` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: ConfigArgument,
    /// How to write the answer
    #[arg(long, value_enum, default_value_t, global = true)]
    format: Format,
}

#[derive(Debug, Clone, Subcommand)]
enum Command {
    /// Show size, generations and what waits for each upstream
    Status,
    /// Read every record and check that it is as it was written
    Verify,
    /// Copy the store to a folder that is empty or not there yet, while the gateway runs or not
    Backup {
        /// Where to; a running gateway must be allowed to write there
        folder: PathBuf,
    },
    /// Make the store from a backup; there must be none, and no gateway running
    Restore {
        /// The backup
        folder: PathBuf,
    },
}

/// Carries out `tidegate store`.
///
/// # Errors
/// When the store cannot be read or copied, or `verify` found damage.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    match &arguments.command {
        Command::Backup { folder } => backup::back_up(&config, folder, arguments.format),
        Command::Restore { folder } => backup::bring_back(&config, folder, arguments.format),
        Command::Status => {
            let held = Held::find(&config)?;
            let report = match &held {
                Held::Running(running) => running.get("/store/status")?,
                Held::Lying(store, folder) => {
                    let mut report = report(store, folder);
                    // A store that is only looked at knows no cap of its own.
                    report.store.max_size_bytes = config.store.max_size_bytes;
                    report
                }
            };
            write_status(&report, arguments.format)
        }
        Command::Verify => write_result(&verified(&Held::find(&config)?)?, arguments.format),
    }
}

fn write_status(report: &StoreReport, format: Format) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    if format == Format::Json {
        writeln!(output, "{:#}", serde_json::json!(report))?;
        return Ok(());
    }
    let store = &report.store;
    writeln!(output, "folder       {}", store.folder)?;
    let sizes = (
        human::size(store.disk_bytes),
        human::size(store.max_size_bytes),
    );
    writeln!(output, "size         {} of {}", sizes.0, sizes.1)?;
    writeln!(output, "free disk    {}", human::size(store.free_bytes))?;
    writeln!(output, "events       {}", human::count(store.events))?;
    writeln!(output, "dead letters {}", human::count(store.dead_letters))?;
    if let Some(wear) = &report.wear {
        writeln!(output, "written      {}", written(wear))?;
        writeln!(output, "lifetime     {}", lifetime(wear))?;
    }
    for trouble in store.quarantined.iter().chain(&store.damage) {
        writeln!(output, "  ! {}", printable(trouble))?;
    }
    let mut lanes = Table::new(&["UPSTREAM", ">WAITING", ">SIZE", "OLDEST RECEIVED"]);
    for lane in &report.lanes {
        let oldest = lane.oldest_received_ms.map(|ms| human::time(ms as i64));
        lanes.row([
            lane.name.clone(),
            human::count(lane.waiting),
            human::size(lane.waiting_bytes),
            oldest.unwrap_or_default(),
        ]);
    }
    writeln!(output)?;
    lanes.write(&mut output, terminal::output_in_color())?;
    let mut table = Table::new(&["GENERATION", "STATE", ">FIRST", ">EVENTS", ">SIZE", "NOTE"]);
    for generation in &report.generations {
        let note = match (generation.damaged, generation.pending) {
            (true, _) => "damaged",
            (false, true) => "waits for an upstream",
            (false, false) => "",
        };
        table.row([
            generation.id.to_string(),
            generation.state.clone(),
            human::count(generation.first),
            human::count(generation.end.saturating_sub(generation.first)),
            human::size(generation.disk_bytes),
            note.to_owned(),
        ]);
    }
    writeln!(output)?;
    table.write(&mut output, terminal::output_in_color())?;
    Ok(())
}

/// What was written, and for what.
fn written(wear: &Wear) -> String {
    let span = human::span((wear.seconds * 1000.0) as u64);
    let mut text = format!("in {span}: {} accepted", human::size(wear.accepted_bytes));
    if let Some(bytes) = wear.written_bytes {
        text += &format!(", {} by the gateway", human::size(bytes));
    }
    if let Some(amplification) = wear.amplification {
        text += &format!(" ({amplification:.1} for each accepted byte)");
    }
    if let (Some(disk), Some(bytes)) = (&wear.disk, wear.disk_written_bytes) {
        text += &format!(
            ", {} to {} by everybody",
            human::size(bytes),
            printable(disk)
        );
    }
    text
}

/// How long a disk bears that.
fn lifetime(wear: &Wear) -> String {
    match (wear.endurance_bytes, wear.lifetime_days) {
        (None, _) => "unknown: set [store] endurance to what the disk's maker says".to_owned(),
        (Some(_), None) => "not known yet: it takes a minute of writing".to_owned(),
        (Some(bytes), Some(days)) => {
            let time = match days / 365.0 {
                years if years >= 2.0 => format!("{years:.0} years"),
                _ => format!("{days:.0} days"),
            };
            format!(
                "a new disk of {} lasts {time} at this rate",
                human::size(bytes)
            )
        }
    }
}

/// How far the work is: on standard error, and only on a terminal.
pub(super) struct Bar(ProgressBar);

impl Bar {
    pub(super) fn new() -> Bar {
        let bar = ProgressBar::new(0);
        let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        Bar(bar)
    }

    /// So many bytes of so many are done.
    pub(super) fn advance(&self, done: u64, all: u64) {
        self.0.set_length(all);
        self.0.set_position(done);
    }

    /// Takes it off the screen.
    pub(super) fn finish(&self) {
        self.0.finish_and_clear();
    }
}

fn verified(held: &Held) -> Result<VerifyReport, Failure> {
    let bar = Bar::new();
    let advance = |done, all| bar.advance(done, all);
    let verified = match held {
        Held::Lying(store, _) => verify(store, advance),
        Held::Running(running) => {
            let mut verified = None;
            running.follow_sent(hyper::Method::POST, "/store/verify", |line| {
                match serde_json::from_slice(line) {
                    Ok(VerifyUpdate::Progress(done, all)) => advance(done, all),
                    Ok(VerifyUpdate::Result(result)) => verified = Some(result),
                    Err(error) => {
                        return Err(Failure::new(format!("no answer of a gateway: {error}")));
                    }
                }
                Ok(())
            })?;
            verified.ok_or_else(|| Failure::new("the gateway went away while it was verifying"))?
        }
    };
    bar.finish();
    Ok(verified)
}

fn write_result(verified: &VerifyReport, format: Format) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    match format {
        Format::Json => writeln!(output, "{:#}", serde_json::json!(verified))?,
        Format::Text => {
            writeln!(
                output,
                "{} ({}) in {} and {} are as they were written",
                human::counted(verified.records, "event"),
                human::size(verified.bytes),
                human::counted(verified.generations, "generation"),
                human::counted(verified.dead_letters, "dead letter")
            )?;
            for damage in &verified.damage {
                writeln!(output, "  ! {}", printable(damage))?;
            }
        }
    }
    match verified.sound {
        true => Ok(()),
        false => Err(Failure::new(format!(
            "{} places are damaged",
            verified.damage.len()
        ))),
    }
}
