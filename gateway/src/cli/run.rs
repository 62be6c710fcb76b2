//! `tidegate run`: the gateway itself.

use std::path::Path;

use clap::ValueEnum;
use tidegate_rules::diagnostic::Diagnostic;

use super::Failure;
use super::arguments::ConfigArgument;
use super::check::findings::FindingsFormat;
use super::check::rules_folder::openable;
use super::check::write_with_rules;
use crate::observe::log::{self, LogFormat};
use crate::run::RunError;
use crate::run::config::{self, Config, preflight};
use crate::run::signals::Hangup;

/// How log lines are written.
#[derive(Debug, Clone, Copy, Default, ValueEnum)]
enum LogLines {
    /// For people and the journal
    #[default]
    Text,
    /// One JSON object a line
    Json,
}

/// What `tidegate run` takes.
#[derive(Debug, clap::Args)]
pub(super) struct Arguments {
    #[command(flatten)]
    config: ConfigArgument,
    /// What to log, such as `info` or `warn,tidegate::forward=debug` [default: $RUST_LOG or info]
    #[arg(long, value_name = "FILTER")]
    log: Option<String>,
    /// How to write log lines, to standard error
    #[arg(long, value_enum, default_value_t, value_name = "FORMAT")]
    log_format: LogLines,
    /// End at once when standard input is closed: whoever started it is gone
    #[arg(long, hide = true)]
    end_with_input: bool,
}

/// Runs the gateway until it is told to stop.
///
/// # Errors
/// The bad configuration, or what ended the gateway.
pub(super) fn run(arguments: &Arguments) -> Result<(), Failure> {
    if arguments.end_with_input {
        std::thread::spawn(|| {
            let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
            std::process::exit(1);
        });
    }
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .build()
        .map_err(|error| Failure::new(format!("the runtime cannot be started: {error}")))?;
    let hangup = {
        let _within = runtime.enter();
        // Before the configuration is read: what is changed after that is read again.
        Hangup::hear().map_err(|error| failure(error, None))?
    };
    let config = configuration(&arguments.config.path()?)?;
    let rules = config.gateway.rules.clone();
    let variable = std::env::var("RUST_LOG")
        .ok()
        .filter(|filter| !filter.is_empty());
    let filter = arguments
        .log
        .clone()
        .or(variable)
        .unwrap_or_else(|| "info".to_owned());
    let format = match arguments.log_format {
        LogLines::Text => LogFormat::Text,
        LogLines::Json => LogFormat::Json,
    };
    let held_back = log::start(format, &filter).map_err(|error| Failure::new(error.to_string()))?;
    for warning in &config.warnings {
        tracing::warn!("{warning}");
    }
    let ended = runtime.block_on(crate::run::run(config, held_back, hangup));
    match ended {
        Err(RunError::EndedAtOnce) => runtime.shutdown_background(),
        // What is still reading a terminal or a slow disk must not hold up the end.
        _ => runtime.shutdown_timeout(std::time::Duration::from_secs(1)),
    }
    ended.map_err(|error| failure(error, rules.as_deref()))
}

/// What is to be run. Of one with mistakes all are told, with those of its rules; these alone are for whoever looks
/// for the last good ones too.
fn configuration(path: &Path) -> Result<Config, Failure> {
    let wrong = |found: Vec<Diagnostic>| {
        let said = write_with_rules(path, &found, FindingsFormat::Text);
        said.err().unwrap_or_else(Failure::said_bad_config)
    };
    let config = match config::load_to_run(path) {
        Ok(config) => config,
        Err(found) => return Err(wrong(found)),
    };
    let objections = preflight::objections(&config);
    match objections.is_empty() {
        true => Ok(config),
        false => Err(wrong(objections)),
    }
}

/// Rules with mistakes are a bad configuration: all of them, with their exit code.
fn failure(error: RunError, folder: Option<&Path>) -> Failure {
    match error {
        RunError::Rules(mut errors, mut files, kept) => {
            // Under paths that an editor can open, as `check` shows them.
            if let Some(folder) = folder {
                let of_errors = errors.iter_mut().map(|error| &mut error.file);
                let all = files.iter_mut().map(|file| &mut file.path);
                all.chain(of_errors)
                    .for_each(|path| *path = openable(folder, path));
            }
            Failure::rules(&errors, &files).and(kept)
        }
        RunError::BadConfig(error, kept) => Failure::BadConfig(vec![*error]).and(kept),
        RunError::Folder(error, kept) => Failure::BadConfig(vec![error.diagnostic()]).and(kept),
        error => Failure::new(error.to_string()),
    }
}
