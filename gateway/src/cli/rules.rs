//! `tidegate rules check`: everything that is wrong with the rules, without running them.

use std::io::Write;
use std::path::Path;

use clap::Subcommand;
use tidegate_rules::diagnostic::{Diagnostic, Sources, render_all};
use tidegate_rules::{Destinations, RuleFile};

use super::check::{self, Format};
use super::{ConfigArgument, Failure, terminal};
use crate::config::Config;
use crate::run::rules_folder;

/// What `tidegate rules` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(subcommand)]
    command: Command,
    #[command(flatten)]
    config: ConfigArgument,
}

#[derive(Debug, Clone, Copy, Subcommand)]
enum Command {
    /// Check the rules against the upstreams of the configuration
    Check {
        /// How to write what was found
        #[arg(long, value_enum, default_value_t)]
        format: Format,
    },
}

/// What a check of the rules found.
pub(super) struct Findings {
    /// All files that were read.
    pub(super) files: Vec<RuleFile>,
    /// Errors and warnings, by file and place.
    pub(super) found: Vec<Diagnostic>,
    /// Rules, when there is no error.
    pub(super) rules: Option<usize>,
}

/// Carries out `tidegate rules`.
///
/// # Errors
/// Exit code 78 when anything is wrong; it has been reported.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let config = arguments.config.load()?;
    let Command::Check { format } = arguments.command;
    let Some(folder) = &config.gateway.rules else {
        return Err(Failure::new(format!(
            "{} names no rules folder: every event goes to every upstream",
            config.path.display()
        )));
    };
    let findings = check_folder(folder, &config)?;
    findings.write(format)?;
    match findings.rules {
        None => Err(Failure::said_bad_config()),
        Some(rules) if format == Format::Text => {
            let files = check::counted(findings.files.len(), "file");
            let rules = check::counted(rules, "rule");
            writeln!(
                std::io::stdout(),
                "{rules} in {files} of {} are fine",
                folder.display()
            )?;
            Ok(())
        }
        Some(_) => Ok(()),
    }
}

/// Reads and checks all rules of `folder`.
///
/// # Errors
/// When a file cannot be read.
pub(super) fn check_folder(folder: &Path, config: &Config) -> Result<Findings, Failure> {
    let files = read(folder)?;
    let names = config
        .upstreams
        .iter()
        .map(|upstream| upstream.name.as_str());
    Ok(
        match tidegate_rules::compile(&files, &Destinations::new(names)) {
            Ok(checked) => Findings {
                rules: Some(checked.rules.rule_count()),
                found: checked.warnings,
                files,
            },
            Err(found) => Findings {
                rules: None,
                found,
                files,
            },
        },
    )
}

impl Findings {
    /// Writes what was found: pictures to standard error, what programs read to standard output.
    ///
    /// # Errors
    /// When the output is closed.
    pub(super) fn write(&self, format: Format) -> Result<(), Failure> {
        if format != Format::Text || self.found.is_empty() {
            return check::write_findings(&self.found, format);
        }
        let texts = self
            .files
            .iter()
            .map(|file| (file.path.as_str(), file.text.as_str()));
        let sources = Sources::new(texts);
        eprintln!(
            "{}",
            render_all(&self.found, &sources, terminal::errors_in_color())
        );
        Ok(())
    }
}

/// All rule files of `folder`, under the paths an editor can open.
fn read(folder: &Path) -> Result<Vec<RuleFile>, Failure> {
    let files = rules_folder::read(folder).map_err(|error| Failure::new(error.to_string()))?;
    let openable = |mut file: RuleFile| {
        if let Some(name) = Path::new(&file.path).file_name() {
            file.path = folder.join(name).display().to_string();
        }
        file
    };
    Ok(files.into_iter().map(openable).collect())
}
