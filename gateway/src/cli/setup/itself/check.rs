//! `tidegate self check`: whether another program would do here. It is asked as a user without rights, for a while, and
//! from a copy; nothing of a package runs but the program in it.

use std::collections::BTreeSet;
use std::ffi::OsStr;
use std::io::Write;
use std::path::{Path, PathBuf};

use serde::Serialize;

use super::identity;
use crate::cli::Failure;
use crate::cli::arguments::{OutputFormat, PlaceArgument};
use crate::run::update::bounded::{Identity, TO_CHECK, ending};
use crate::run::update::formats::{Formats, STORE};
use crate::run::update::image::{self, Image};
use crate::run::update::package;

/// The exit code of a bad configuration.
const BAD_CONFIG: i32 = 78;
/// Lines of another program's own words that are shown.
const LINES_MAX: usize = 40;
const LINE_CHARACTERS_MAX: usize = 400;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "lowercase")]
enum Severity {
    /// It would not do.
    Error,
    /// It would do, and somebody should know this.
    Warning,
}

#[derive(Debug, Serialize)]
struct Finding {
    id: &'static str,
    severity: Severity,
    message: String,
    remedy: String,
}

/// One format beside that of the present program.
#[derive(Debug, Serialize)]
struct Beside {
    name: String,
    /// What the file writes; `null` where it does not know this format.
    writes: Option<u32>,
    /// What the present program writes.
    present: Option<u32>,
}

/// What was found.
#[derive(Debug, Serialize)]
struct Report {
    file: PathBuf,
    /// The version of the package, where it is one.
    package: Option<String>,
    version: Option<String>,
    present_version: &'static str,
    formats: Vec<Beside>,
    /// Format of the store that is there.
    store_format: Option<u32>,
    /// Whether the present configuration is valid under it; `null` where that is not known.
    configuration_valid: Option<bool>,
    findings: Vec<Finding>,
}

impl Report {
    fn error(&mut self, id: &'static str, message: impl Into<String>, remedy: &str) {
        self.find(Severity::Error, id, message.into(), remedy);
    }

    fn warn(&mut self, id: &'static str, message: impl Into<String>, remedy: &str) {
        self.find(Severity::Warning, id, message.into(), remedy);
    }

    fn find(&mut self, severity: Severity, id: &'static str, message: String, remedy: &str) {
        self.findings.push(Finding {
            id,
            severity,
            message,
            remedy: remedy.to_owned(),
        });
    }
}

/// Checks `file` against what is here.
///
/// # Errors
/// When it would not do: 1, or 78 where only the configuration is in the way.
pub(super) fn run(file: &Path, place: &PlaceArgument, format: OutputFormat) -> Result<(), Failure> {
    let mut report = Report {
        file: file.to_owned(),
        package: None,
        version: None,
        present_version: env!("CARGO_PKG_VERSION"),
        formats: Vec::new(),
        store_format: None,
        configuration_valid: None,
        findings: Vec::new(),
    };
    let found = place.quietly();
    let identity = identity(found.as_ref().map_or(Path::new(""), |at| &at.data_dir));
    report.store_format = found
        .as_ref()
        .and_then(|at| tidegate_store::format_of(&at.store_dir()));
    match open(file, &mut report) {
        Ok(image) => {
            look_at_formats(&image, identity, &mut report);
            look_at_configuration(&image, identity, place, &mut report);
        }
        Err(why) => report.error("unusable", why, "nothing was changed; name another file"),
    }
    write(&report, format)?;
    let mut errors = report.findings.iter();
    let is_error = |finding: &&Finding| finding.severity == Severity::Error;
    let ids: Vec<&str> = errors
        .by_ref()
        .filter(is_error)
        .map(|found| found.id)
        .collect();
    match ids.as_slice() {
        [] => Ok(()),
        ["configuration"] => Err(Failure::said_bad_config()),
        _ => Err(Failure::Said(1)),
    }
}

fn open(file: &Path, report: &mut Report) -> Result<Image, String> {
    if !package::is_meant(file) || file.is_dir() {
        return image::of_file(file);
    }
    let (version, image) = package::open(file)?;
    report.package = Some(version);
    Ok(image)
}

fn look_at_formats(image: &Image, identity: Option<Identity>, report: &mut Report) {
    let own = Formats::own();
    let new = match image.formats(identity) {
        Ok(new) => new,
        Err(why) => {
            report.version = image.version(identity);
            let (message, remedy) = match &report.version {
                Some(version) => (
                    format!(
                        "it is tidegate {version}, which does not say what formats it reads: {why}"
                    ),
                    "a release from before `tidegate self` cannot be checked; make `tidegate store backup` before, and expect \
                     that it cannot open this store",
                ),
                None => (
                    format!("it is no tidegate that runs here: {why}"),
                    "name the program `tidegate`, or its package",
                ),
            };
            report.error("formats-unknown", message, remedy);
            return;
        }
    };
    report.version = Some(new.version.clone());
    report.formats = beside(&new, &own);
    let mut unread = Vec::new();
    for (name, present) in &own.formats {
        // The store says itself what it is; it may be older than what this program would write.
        let there = match name.as_str() {
            STORE => report.store_format.unwrap_or(present.writes),
            _ => present.writes,
        };
        let reads = new.formats.get(name).map(|format| &format.reads);
        if !reads.is_some_and(|reads| reads.contains(&there)) {
            unread.push(format!("{name} {there}"));
        }
    }
    if !unread.is_empty() {
        let message = format!(
            "tidegate {} cannot read what is here: {}",
            new.version,
            unread.join(", ")
        );
        report.error(
            "cannot-open",
            message,
            "it is an older release: with it only a store from a backup of its time can be opened",
        );
    } else if !new.written_otherwise(&own).is_empty() {
        let message = format!(
            "it writes other formats than the present program ({}): there is no way back without a backup",
            new.written_otherwise(&own).join(", ")
        );
        report.warn(
            "backup-before",
            message,
            "make `tidegate store backup FOLDER` before; where the service's unit calls `tidegate self gate`, that makes one too",
        );
    }
}

/// The formats of both, by name.
fn beside(new: &Formats, own: &Formats) -> Vec<Beside> {
    let writes = |of: &Formats, name: &str| of.formats.get(name).map(|format| format.writes);
    let names: BTreeSet<&String> = own.formats.keys().chain(new.formats.keys()).collect();
    let both = names.into_iter().map(|name| Beside {
        name: name.clone(),
        writes: writes(new, name),
        present: writes(own, name),
    });
    both.collect()
}

fn look_at_configuration(
    image: &Image,
    identity: Option<Identity>,
    place: &PlaceArgument,
    report: &mut Report,
) {
    if report.version.is_none() {
        return;
    }
    let config = match place.config_path() {
        Ok(config) => std::path::absolute(&config).unwrap_or(config),
        Err(_) => {
            report.warn(
                "no-configuration",
                "there is no configuration to check it with",
                "name one with --config FILE",
            );
            return;
        }
    };
    let arguments = [
        OsStr::new("check"),
        OsStr::new("--config"),
        config.as_os_str(),
    ];
    let said = match image.ask(&arguments, identity, TO_CHECK) {
        Ok(said) => said,
        Err(why) => {
            report.error(
                "check-unanswered",
                format!("asked to check the configuration, {why}"),
                "it is not to be trusted with it",
            );
            return;
        }
    };
    match said.status.code() {
        Some(0) => report.configuration_valid = Some(true),
        Some(BAD_CONFIG) => {
            report.configuration_valid = Some(false);
            report.error(
                "configuration",
                format!(
                    "{} is not valid under it:\n{}",
                    config.display(),
                    shown(&said.errors)
                ),
                "mend it so that both releases take it, or together with the upgrade",
            );
        }
        _ => report.error(
            "check-failed",
            format!(
                "asked to check {}, {}:\n{}",
                config.display(),
                ending(said.status),
                shown(&said.errors)
            ),
            "see what it says; files that the gateway's user cannot read are not read here either",
        ),
    }
}

/// The beginning of another program's words: nothing in it steers a terminal.
fn shown(text: &str) -> String {
    let lines = text.lines().take(LINES_MAX).map(|line| {
        let line: String = line.chars().filter(|c| !c.is_control()).collect();
        let line: String = line.chars().take(LINE_CHARACTERS_MAX).collect();
        format!("  {line}")
    });
    lines.collect::<Vec<_>>().join("\n")
}

fn write(report: &Report, format: OutputFormat) -> Result<(), Failure> {
    let mut output = std::io::stdout().lock();
    if format == OutputFormat::Json {
        writeln!(output, "{:#}", serde_json::json!(report))?;
        return Ok(());
    }
    let file = report.file.display();
    if let Some(version) = &report.version {
        let package = report.package.as_ref();
        let package = package.map_or_else(String::new, |of| format!(" (package {of})"));
        writeln!(
            output,
            "{file}: tidegate {version}{package}; here is {}",
            report.present_version
        )?;
    }
    for format in &report.formats {
        let number = |version: Option<u32>| version.map_or("none".to_owned(), |of| of.to_string());
        let same = if format.writes == format.present {
            ", as now"
        } else {
            ""
        };
        writeln!(
            output,
            "  {}: writes {}{same}{}",
            format.name,
            number(format.writes),
            match same.is_empty() {
                true => format!(", now {}", number(format.present)),
                false => String::new(),
            }
        )?;
    }
    if report.configuration_valid == Some(true) {
        writeln!(output, "  the configuration is valid under it")?;
    }
    for finding in &report.findings {
        let word = match finding.severity {
            Severity::Error => "error",
            Severity::Warning => "warning",
        };
        writeln!(output, "{word}: {file}: {}", finding.message)?;
        writeln!(output, "  {}", finding.remedy)?;
    }
    Ok(())
}
