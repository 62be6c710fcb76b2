//! `tidegate doctor`: what will bite of a set-up, and what to do about it. It looks, and changes nothing.
//!
//! | id | said by |
//! |---|---|
//! | `clock-unsynchronised`, `endurance-unknown`, `no-barriers`, `disk-too-small` | `machine_findings` |
//! | `serial-group`, `port-taken` | `connection_findings` |
//! | `memory-cgroup`, `few-descriptors` | `limit_findings` |
//! | `secret-readable`, `data-dir-permissions` | `permission_findings` |

mod connection_findings;
mod limit_findings;
mod machine_findings;
mod permission_findings;
mod secrets;
mod subject;

use std::io::{ErrorKind, Write};
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::machine::Machine;
use crate::cli::Failure;
use crate::cli::arguments::{ConfigArgument, OutputFormat};
use crate::cli::terminal::figures;
use crate::cli::terminal::table::{printable, wrapped};
use crate::run::config;
use subject::Subject;

/// Characters of a line of text.
const LINE_WIDTH: usize = 100;

/// What `tidegate doctor` takes.
#[derive(Debug, clap::Args)]
pub(in crate::cli) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// How to write what was found
    #[arg(long, value_enum, default_value_t)]
    format: OutputFormat,
    /// Folder that stands for `/`, with its `proc`, `sys`, `dev`, `run` and `etc`
    #[arg(long, value_name = "DIR", hide = true)]
    root: Option<PathBuf>,
}

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// Events will be lost, or nothing works.
    Error,
    /// It will bite one day.
    Warning,
    /// Worth knowing.
    Note,
}

impl Severity {
    fn word(self) -> &'static str {
        match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
            Severity::Note => "note",
        }
    }
}

/// One thing that will bite.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
struct Finding {
    id: &'static str,
    severity: Severity,
    message: String,
    remedy: String,
}

impl Finding {
    fn new(
        id: &'static str,
        severity: Severity,
        message: impl Into<String>,
        remedy: impl Into<String>,
    ) -> Finding {
        Finding {
            id,
            severity,
            message: message.into(),
            remedy: remedy.into(),
        }
    }
}

/// Looks at the set-up and says what was found.
///
/// # Errors
/// Exit code 1 where something was found, 78 where the text of the configuration is broken; all of it has been said.
pub(in crate::cli) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let machine = Machine::new(arguments.root.clone());
    let (subject, is_missing) = subject(arguments, machine)?;
    let findings = findings(&subject);
    let mut output = std::io::stdout().lock();
    match arguments.format {
        OutputFormat::Json => {
            let report = serde_json::json!({ "findings": findings });
            writeln!(output, "{report:#}")?;
        }
        OutputFormat::Text => write(&mut output, &findings)?,
    }
    match findings.is_empty() && !is_missing {
        true => Ok(()),
        false => Err(Failure::Said(1)),
    }
}

/// What is looked at, and whether the configuration that was named is not there.
fn subject(arguments: &Arguments, machine: Machine) -> Result<(Subject, bool), Failure> {
    let path = match arguments.config.path() {
        Ok(path) => path,
        Err(_) => {
            say_none("no configuration is here yet");
            return Ok((Subject::without_configuration(machine), false));
        }
    };
    match std::fs::metadata(&path) {
        Err(error) if matches!(error.kind(), ErrorKind::NotFound | ErrorKind::NotADirectory) => {
            say_none(&format!("there is no {}", path.display()));
            return Ok((Subject::without_configuration(machine), true));
        }
        Err(error) if error.kind() == ErrorKind::PermissionDenied => {
            return Err(not_readable(&path));
        }
        Ok(found) if !found.is_file() => {
            let path = path.display();
            return Err(Failure::new(format!(
                "{path} is no file; name one with --config FILE"
            )));
        }
        _ => {}
    }
    let looked = config::look_at(&path);
    let (text, look) = match looked {
        Ok(looked) => looked,
        Err(_) if std::fs::File::open(&path).is_err() => return Err(not_readable(&path)),
        Err(wrong) => return Err(Failure::BadConfig(wrong)),
    };
    if !look.wrong.is_empty() {
        return Err(Failure::BadConfig(look.wrong));
    }
    for wrong in &look.outside {
        // Whoever may not read a secret need not be told so: it is as it should be.
        if !wrong.message.contains("permission denied")
            && !wrong.message.contains("open to everyone")
        {
            eprintln!("tidegate: `tidegate check` says: {}", wrong.short());
        }
    }
    Ok((Subject::new(machine, &path, &text, look.config), false))
}

fn say_none(why: &str) {
    eprintln!(
        "tidegate: {why}; this looks at the machine alone. `tidegate init` writes a configuration, `--config FILE` names one"
    );
}

fn not_readable(path: &Path) -> Failure {
    let path = path.display();
    Failure::new(format!(
        "{path} cannot be read by this user; run `sudo tidegate doctor --config {path}`"
    ))
}

/// Everything, the worst first.
fn findings(subject: &Subject) -> Vec<Finding> {
    let parts = [
        machine_findings::all(subject),
        connection_findings::all(subject),
        limit_findings::all(subject),
        permission_findings::all(subject),
    ];
    let mut findings = parts.concat();
    findings.sort_by_key(|finding| finding.severity);
    findings
}

fn write(output: &mut impl Write, findings: &[Finding]) -> std::io::Result<()> {
    for finding in findings {
        let Finding {
            id,
            severity,
            message,
            remedy,
        } = finding;
        let said = format!("{} [{id}]: {}", severity.word(), printable(message));
        for line in wrapped(&said, LINE_WIDTH) {
            writeln!(output, "{line}")?;
        }
        for line in wrapped(&format!("do: {}", printable(remedy)), LINE_WIDTH - 4) {
            writeln!(output, "    {line}")?;
        }
    }
    match findings.len() {
        0 => writeln!(output, "nothing was found that will bite"),
        count => writeln!(output, "{}", figures::plural(count, "finding")),
    }
}
