//! Why a subcommand failed, and the exit code that says so.

use std::process::ExitCode;

use tidegate_rules::RuleFile;
use tidegate_rules::diagnostic::{Diagnostic, Sources, render_all};

use crate::control::history::HistoryError;

/// The exit code for a bad configuration or bad rules (`EX_CONFIG` of BSD's sysexits).
const BAD_CONFIG: u8 = 78;
/// The exit code for a wrong command line, clap's own.
const WRONG_COMMAND_LINE: u8 = 2;
/// The exit code for everything else that failed.
const FAILED: u8 = 1;

/// Why a subcommand failed.
#[derive(Debug)]
pub enum Failure {
    /// It could not do what was asked: exit code 1 and this message.
    Failed(String),
    /// The configuration or the rules are wrong: exit code 78 and all errors.
    BadConfig(Vec<Diagnostic>),
    /// Everything is said already: only the exit code.
    Said(u8),
}

impl Failure {
    /// A failure with a message.
    pub(in crate::cli) fn new(message: impl Into<String>) -> Failure {
        Failure::Failed(message.into())
    }

    /// A bad configuration that has been reported already.
    pub(in crate::cli) fn said_bad_config() -> Failure {
        Failure::Said(BAD_CONFIG)
    }

    /// A bad configuration in one line, on standard error.
    pub(in crate::cli) fn bad_config(message: &str) -> Failure {
        eprintln!("tidegate: {message}");
        Failure::Said(BAD_CONFIG)
    }

    /// What the command line lacks, on standard error.
    pub(in crate::cli) fn wrong_command_line(message: &str) -> Failure {
        eprintln!("tidegate: {message}");
        Failure::Said(WRONG_COMMAND_LINE)
    }

    /// Says one line more below it.
    pub(in crate::cli) fn and(self, more: Option<String>) -> Failure {
        let Some(more) = more else {
            return self;
        };
        let code = self.say();
        eprintln!("tidegate: {more}");
        Failure::Said(code)
    }

    /// The same, where the service manager would not try again after a bad configuration and is to do so.
    pub(in crate::cli) fn and_try_again(self) -> Failure {
        match self.say() {
            BAD_CONFIG | WRONG_COMMAND_LINE => {
                eprintln!(
                    "tidegate: this program is on trial (`tidegate self gate`): it is tried again"
                );
                Failure::Said(FAILED)
            }
            code => Failure::Said(code),
        }
    }

    /// Rules with mistakes: all of them on standard error.
    pub(in crate::cli) fn rules(errors: &[Diagnostic], files: &[RuleFile]) -> Failure {
        let sources = Sources::new(files.iter().map(|file| (&*file.path, &*file.text)));
        let color = super::color::errors_in_color();
        eprintln!("{}", render_all(errors, &sources, color));
        Failure::Said(BAD_CONFIG)
    }

    /// Writes it to standard error and gives its exit code.
    pub fn report(self) -> ExitCode {
        ExitCode::from(self.say())
    }

    fn say(self) -> u8 {
        match self {
            Failure::Failed(message) => {
                eprintln!("tidegate: {message}");
                FAILED
            }
            Failure::BadConfig(diagnostics) => {
                let color = super::color::errors_in_color();
                eprintln!("{}", crate::config::render(&diagnostics, color));
                BAD_CONFIG
            }
            Failure::Said(code) => code,
        }
    }
}

impl std::fmt::Display for Failure {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Failure::Failed(message) => f.write_str(message),
            Failure::BadConfig(_) => f.write_str("the configuration is wrong"),
            Failure::Said(BAD_CONFIG) => f.write_str("the configuration or the rules are refused"),
            Failure::Said(_) => Ok(()),
        }
    }
}

impl From<HistoryError> for Failure {
    fn from(error: HistoryError) -> Failure {
        Failure::new(error.to_string())
    }
}

impl From<std::io::Error> for Failure {
    /// A reader that closed the pipe has seen enough: no message, and no failure.
    fn from(error: std::io::Error) -> Failure {
        match error.kind() {
            std::io::ErrorKind::BrokenPipe => Failure::Said(0),
            _ => Failure::Failed(error.to_string()),
        }
    }
}
