//! Where log lines go: standard error, as text for people or JSON for machines.

mod journal;
pub mod repeats;

use std::io::IsTerminal;

use tracing_subscriber::EnvFilter;
use tracing_subscriber::fmt::format::FmtSpan;
use tracing_subscriber::layer::SubscriberExt;
use tracing_subscriber::util::SubscriberInitExt;

use journal::WithPriority;
use repeats::Repeats;

/// What log lines look like.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub enum LogFormat {
    /// `2026-10-12T14:03:22Z  INFO upstream up name=cloud`
    #[default]
    Text,
    /// One JSON object a line.
    Json,
}

/// Why logging could not be set up.
#[derive(Debug)]
pub struct LogError(String);

impl std::fmt::Display for LogError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for LogError {}

/// Starts logging what `filter` lets through: `info`, or `warn,tidegate::forward=debug`. What
/// repeats is held back; whoever runs the gateway has its count written.
///
/// # Errors
/// A filter that cannot be read, or a second call.
pub fn start(format: LogFormat, filter: &str) -> Result<Repeats, LogError> {
    let filter = EnvFilter::try_new(filter).map_err(|error| {
        LogError(format!(
            "`{filter}` is no log filter ({error}); write `info` or `warn,tidegate=debug`"
        ))
    })?;
    let is_on = journal::is_standard_error();
    let builder = tracing_subscriber::fmt()
        .with_env_filter(filter)
        .with_writer(std::io::stderr)
        .with_span_events(FmtSpan::NONE)
        .with_target(false);
    let repeats = Repeats::default();
    let held_back = repeats.clone();
    let started = match format {
        LogFormat::Json => builder
            .json()
            .flatten_event(true)
            .with_ansi(false)
            .map_event_format(|format| WithPriority { format, is_on })
            .finish()
            .with(held_back)
            .try_init(),
        // The journal keeps its own time.
        LogFormat::Text if is_on => builder
            .without_time()
            .with_ansi(false)
            .map_event_format(|format| WithPriority { format, is_on })
            .finish()
            .with(held_back)
            .try_init(),
        LogFormat::Text => builder
            .with_ansi(in_color())
            .finish()
            .with(held_back)
            .try_init(),
    };
    started.map_err(|error| LogError(error.to_string()))?;
    Ok(repeats)
}

fn in_color() -> bool {
    let refused = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    !refused && std::io::stderr().is_terminal()
}
