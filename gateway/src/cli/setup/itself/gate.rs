//! `tidegate self gate` and `tidegate self keep`.

use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};
use std::time::Duration;

use serde_json::json;

use super::store_step;
use crate::cli::Failure;
use crate::cli::arguments::{OutputFormat, PlaceArgument};
use crate::cli::gateway::control_client::ControlClient;
use crate::run::systemd;
use crate::run::update::digest::OWN;
use crate::run::update::gate::state::{self, StoreFate};
use crate::run::update::gate::{self, Gate, Halfway, Outcome, STARTS_MAX, Step};

/// How often the service manager is asked for more time, and how much.
const LOOKS_EVERY: Duration = Duration::from_millis(20);
const MORE_TIME_EVERY: u32 = 250;
const MORE_TIME: Duration = Duration::from_secs(60);
/// Bytes of what a step says.
const SAID_BYTES_MAX: u64 = 4096;

/// Which programs it is about.
#[derive(Debug, clap::Args)]
pub(super) struct Programs {
    /// The program that the service runs
    #[arg(long, value_name = "FILE", default_value = "/usr/bin/tidegate")]
    program: PathBuf,
    /// The program that was kept from before
    #[arg(
        long,
        value_name = "FILE",
        default_value = "/usr/lib/tidegate/previous/tidegate"
    )]
    previous: PathBuf,
    /// Folder of what is remembered [default: $TIDEGATE_GATE_STATE or /var/lib/tidegate-gate]
    #[arg(long, value_name = "DIR")]
    state: Option<PathBuf>,
}

/// Decides about a start of the service.
///
/// # Errors
/// When nothing may start.
pub(super) fn start(
    programs: &Programs,
    place: &PlaceArgument,
    format: OutputFormat,
) -> Result<(), Failure> {
    let data_dir = match place.find() {
        Ok(place) => place.data_dir,
        // What is wrong there says the program itself when it starts.
        Err(failure) => {
            eprintln!("tidegate: this start is not guarded");
            failure.report();
            return Ok(());
        }
    };
    // The configuration may say it in another way each time.
    let data_dir = std::path::absolute(&data_dir).unwrap_or(data_dir);
    if let Ok(Some(_)) = ControlClient::connect(&data_dir) {
        println!(
            "a gateway runs over {}: there is nothing to decide",
            data_dir.display()
        );
        return Ok(());
    }
    let outcome = with_gate(programs, &data_dir, |gate| gate.start());
    match outcome {
        Ok(outcome) => write(&outcome, programs, format),
        Err(Halfway(why)) => Err(Failure::new(why)),
    }
}

/// Keeps the present program.
///
/// # Errors
/// When it cannot be kept.
pub(super) fn keep(
    programs: &Programs,
    place: &PlaceArgument,
    format: OutputFormat,
) -> Result<(), Failure> {
    let data_dir = place.find()?.data_dir;
    let data_dir = std::path::absolute(&data_dir).unwrap_or(data_dir);
    let kept = with_gate(programs, &data_dir, |gate| gate.keep());
    let previous = programs.previous.display();
    let kept = kept.map_err(|error| Failure::new(format!("{previous}: {error}")))?;
    let mut output = std::io::stdout().lock();
    match (format, kept) {
        (OutputFormat::Json, kept) => writeln!(output, "{}", json!({ "kept": kept }))?,
        (_, true) => writeln!(
            output,
            "{} is kept as {previous}",
            programs.program.display()
        )?,
        (_, false) => writeln!(
            output,
            "{} was never ready, so {previous} stays the program to go back to",
            programs.program.display()
        )?,
    }
    Ok(())
}

fn with_gate<T>(programs: &Programs, data_dir: &Path, act: impl FnOnce(&Gate<'_>) -> T) -> T {
    let step = |step| take(step, data_dir);
    let warn = |what: &str| eprintln!("tidegate: {what}");
    act(&Gate {
        folder: programs.state.clone().unwrap_or_else(state::folder),
        data_dir: data_dir.to_owned(),
        programs: gate::Programs {
            present: programs.program.clone(),
            previous: programs.previous.clone(),
        },
        identity: super::identity(data_dir),
        boot: gate::boot(),
        step: &step,
        warn: &warn,
    })
}

/// Does a step at the store in a process of its own, which goes on as the store's owner.
fn take(step: Step, data_dir: &Path) -> Result<StoreFate, String> {
    let mut child = Command::new(OWN)
        .args(["self", "store-step"])
        .args(store_step::arguments(step))
        .arg("--data-dir")
        .arg(data_dir)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .map_err(|error| format!("no process for the store can be started: {error}"))?;
    let mut looks = 0_u32;
    let ended = loop {
        match child.try_wait() {
            Ok(Some(ended)) => break ended,
            Ok(None) => {}
            Err(error) => return Err(error.to_string()),
        }
        if looks.is_multiple_of(MORE_TIME_EVERY) {
            systemd::waiting(
                MORE_TIME,
                "a backup of the store is made before a new program",
            );
        }
        looks = looks.wrapping_add(1);
        std::thread::sleep(LOOKS_EVERY);
    };
    let text = |stream: Option<&mut dyn Read>| {
        let mut text = String::new();
        if let Some(stream) = stream {
            let _ = stream.take(SAID_BYTES_MAX).read_to_string(&mut text);
        }
        text.trim().to_owned()
    };
    let said = text(child.stdout.as_mut().map(|stream| stream as &mut dyn Read));
    let errors = text(child.stderr.as_mut().map(|stream| stream as &mut dyn Read));
    match (ended.success(), &*said) {
        (true, "restored") => Ok(StoreFate::Restored),
        (true, _) => Ok(StoreFate::Untouched),
        (false, _) if errors.is_empty() => Err(format!("the process for the store: {ended}")),
        (false, _) => Err(errors
            .strip_prefix("tidegate: ")
            .unwrap_or(&errors)
            .to_owned()),
    }
}

fn write(outcome: &Outcome, programs: &Programs, format: OutputFormat) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    if format == OutputFormat::Json {
        writeln!(output, "{:#}", as_json(outcome))?;
        return Ok(());
    }
    match outcome {
        Outcome::Known => writeln!(output, "this program was ready before")?,
        Outcome::NoWayBack(why) => writeln!(output, "this start is not guarded: {why}")?,
        Outcome::Starts(program, number) => writeln!(
            output,
            "tidegate {} was not ready yet: start {number} of {STARTS_MAX}",
            program.name()
        )?,
        Outcome::GoesOn(why) => writeln!(
            output,
            "this program was not ready in {STARTS_MAX} starts, and the one before cannot be put back: {why}"
        )?,
        Outcome::PutBack(put_back) => {
            writeln!(output, "{}", put_back.sentence())?;
            let (present, refused) = (
                &programs.program,
                programs.previous.with_file_name("refused"),
            );
            writeln!(
                output,
                "{} is {} again; the other one is kept as {}",
                present.display(),
                put_back.to.name(),
                refused.display()
            )?;
        }
    }
    Ok(())
}

fn as_json(outcome: &Outcome) -> serde_json::Value {
    match outcome {
        Outcome::Known => json!({ "outcome": "known" }),
        Outcome::NoWayBack(why) => json!({ "outcome": "no_way_back", "why": why }),
        Outcome::Starts(program, number) => json!({
            "outcome": "starts", "version": program.version, "start": number, "starts_max": STARTS_MAX,
        }),
        Outcome::GoesOn(why) => json!({ "outcome": "goes_on", "why": why }),
        Outcome::PutBack(put_back) => json!({ "outcome": "put_back", "put_back": put_back }),
    }
}
