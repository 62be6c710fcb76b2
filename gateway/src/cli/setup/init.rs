//! `tidegate init`: a first configuration, from five questions or flags, and from what is there.
//!
//! `found` looks at the machine, `questions` asks, `taking` takes flags and answers, `answers` is what was said, `configuration` makes the text of it, and
//! `writing` puts it into place, whole or not at all. What was there before is never changed.

mod answers;
mod configuration;
mod found;
mod questions;
mod taking;
mod writing;

use std::ffi::OsString;
use std::io::{IsTerminal, Write};
use std::path::{Path, PathBuf};
use std::time::Duration;

use super::bench;
use super::machine::Machine;
use crate::cli::Failure;
use crate::cli::terminal::table::printable;
use crate::config::unit;
use answers::Answers;
use found::Found;
use taking::Given;
use writing::Written;

/// Where a service of the system has its configuration.
const DIR: &str = "/etc/tidegate";
/// The file in it.
const CONFIG: &str = "gateway.toml";
/// How long the measuring takes that is offered.
const BENCH_LENGTH: Duration = Duration::from_secs(30);
const BENCH_RATE: u32 = 10;

/// What `tidegate init` takes. Whatever is given is not asked.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    /// Folder for gateway.toml and rules/
    #[arg(long, value_name = "DIR", default_value = DIR)]
    dir: PathBuf,
    /// Ask nothing: take the flags, what is found, and the defaults
    #[arg(long, short)]
    yes: bool,
    /// Name of this gateway: letters, digits, `.`, `_`, `-` [default: the host name]
    #[arg(long, value_name = "ID")]
    id: Option<OsString>,
    /// Folder for events, an absolute path [default: /var/lib/tidegate, or DIR/data where DIR is not below /etc]
    #[arg(long, value_name = "DIR")]
    data_dir: Option<OsString>,
    /// Where MQTT devices connect: ADDRESS:PORT, `none`, or the mqtt:// url of a broker to subscribe at [default:
    /// 127.0.0.1:1883, or the broker that is there]
    #[arg(long, value_name = "WHERE")]
    listen: Option<OsString>,
    /// Serial port, as PORT, PORT,KIND or PORT,KIND,BAUD with the kind `text`, `json` or `framed`; or `none`; may be given
    /// several times [default: every port with a name in /dev/serial/by-id]
    #[arg(long, value_name = "PORT")]
    serial: Vec<OsString>,
    /// Where events go: mqtt://, mqtts://, http:// or https:// url, or the absolute path of a file [default: events.jsonl
    /// in the data folder]
    #[arg(long, value_name = "WHERE")]
    upstream: Option<OsString>,
    /// What may be written to the disk in all, as its maker says (TBW), such as 30TiB
    #[arg(long, value_name = "SIZE", value_parser = bench::endurance)]
    endurance: Option<u64>,
    /// Measure the disk first, for half a minute, and take the commit_delay that is proposed
    #[arg(long)]
    bench: bool,
    /// Folder that stands for `/` where the machine is looked at
    #[arg(long, value_name = "DIR", hide = true)]
    root: Option<PathBuf>,
}

/// Asks, looks, and writes.
///
/// # Errors
/// Why nothing was written; wrong flags are exit code 2.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let dir =
        std::path::absolute(&arguments.dir).map_err(|error| wrong(&format!("`--dir`: {error}")))?;
    if dir
        .to_str()
        .is_none_or(|text| text.chars().any(char::is_control))
    {
        return Err(wrong("`--dir` is no text without control characters"));
    }
    writing::refuse_existing(&dir.join(CONFIG))?;
    let machine = Machine::new(arguments.root.clone());
    let found = Found::look(&machine, &dir);
    let given = Given {
        id: &arguments.id,
        data_dir: &arguments.data_dir,
        listen: &arguments.listen,
        serial: &arguments.serial,
        upstream: &arguments.upstream,
    };
    let is_asked = !arguments.yes && !given.is_all();
    if is_asked && !std::io::stdin().is_terminal() {
        return Err(wrong(&format!(
            "there is no terminal to ask at; give {}, or --yes to take what is found",
            given.missing().join(", ")
        )));
    }
    let mut answers = Answers::of_found(&found);
    answers.endurance_bytes = arguments.endurance;
    given
        .take(&mut answers, &found)
        .map_err(|message| wrong(&message))?;
    if is_asked {
        questions::ask(&mut answers, &given, &found)?;
    }
    // What is found may be against what is given: two at one place.
    if let Some(why) = answers.objection(&found) {
        return Err(wrong(&why));
    }
    let is_measured = arguments.bench || (is_asked && questions::offers_bench()?);
    write(&answers, &found, is_measured, is_asked)
}

fn wrong(message: &str) -> Failure {
    Failure::wrong_command_line(&format!("{message}; nothing was written"))
}

fn write(
    answers: &Answers,
    found: &Found,
    is_measured: bool,
    was_asked: bool,
) -> Result<(), Failure> {
    let mut written = Written::begin(answers, found)?;
    let mut answers = answers.clone();
    if is_measured {
        answers.commit_delay = Some(measured(&answers)?);
    }
    written.write(&answers, found)?;
    if !was_asked {
        for line in found.lines(&answers.data_dir) {
            writeln!(std::io::stdout(), "{line}")?;
        }
    }
    tell(&answers, found, &written)?;
    Ok(())
}

/// What the disk of the data folder wants, as `tidegate bench` says.
fn measured(answers: &Answers) -> Result<Duration, Failure> {
    let plan = bench::Plan {
        folder: answers.data_dir.clone(),
        length: BENCH_LENGTH,
        rate: BENCH_RATE,
        endurance_bytes: answers.endurance_bytes,
    };
    let report = bench::measure(&plan, true)?;
    report.write(crate::cli::arguments::OutputFormat::Text)?;
    Ok(report.commit_delay())
}

/// What was done, and what comes next.
fn tell(answers: &Answers, found: &Found, written: &Written) -> std::io::Result<()> {
    let mut output = std::io::stdout().lock();
    let config = found.dir.join(CONFIG);
    let shown = |path: &Path| printable(&path.display().to_string());
    writeln!(output, "wrote    {}", shown(&config))?;
    match written.kept_rules() {
        true => writeln!(
            output,
            "kept     {}, which was there",
            shown(&found.dir.join("rules"))
        )?,
        false => writeln!(
            output,
            "wrote    {}",
            shown(&found.dir.join("rules/first.rules"))
        )?,
    }
    if let Some((hash, password)) = written.device() {
        writeln!(output, "wrote    {}", shown(hash))?;
        writeln!(
            output,
            "devices log in as `device` with the password {password}, which stands nowhere else: write it down now"
        )?;
    }
    if let Some(delay) = answers.commit_delay {
        writeln!(output, "commit_delay is {}", unit::duration_text(delay))?;
    }
    let config = shown(&config);
    writeln!(
        output,
        "next:    tidegate doctor --config {config}   says what will bite"
    )?;
    match config.strip_suffix(CONFIG) == Some("/etc/tidegate/") {
        true => writeln!(
            output,
            "         systemctl restart tidegate   where it is installed as a service, else tidegate run"
        ),
        false => writeln!(output, "         tidegate run --config {config}"),
    }
}
