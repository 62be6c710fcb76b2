//! The journal behind standard error: whether it is there, and how urgent a line is to it.

use std::fmt;
use std::os::fd::AsFd;
use std::os::unix::fs::MetadataExt;

use tracing::{Event, Level, Subscriber};
use tracing_subscriber::fmt::format::Writer;
use tracing_subscriber::fmt::{FmtContext, FormatEvent, FormatFields};
use tracing_subscriber::registry::LookupSpan;

/// Whether standard error goes to the journal: `JOURNAL_STREAM` names its device and inode.
pub(super) fn is_standard_error() -> bool {
    let Some(stream) = std::env::var_os("JOURNAL_STREAM") else {
        return false;
    };
    let own = std::io::stderr().as_fd().try_clone_to_owned();
    let own = own.and_then(|stream| std::fs::File::from(stream).metadata());
    own.is_ok_and(|own| stream.to_str() == Some(&format!("{}:{}", own.dev(), own.ino())))
}

/// Lines with their priority in front, as sd-daemon(3) has it.
pub(super) struct WithPriority<F> {
    /// What the line is written by.
    pub(super) format: F,
    /// Whether there is a journal that reads it.
    pub(super) is_on: bool,
}

impl<S, N, F> FormatEvent<S, N> for WithPriority<F>
where
    S: Subscriber + for<'a> LookupSpan<'a>,
    N: for<'a> FormatFields<'a> + 'static,
    F: FormatEvent<S, N>,
{
    fn format_event(
        &self,
        context: &FmtContext<'_, S, N>,
        mut writer: Writer<'_>,
        event: &Event<'_>,
    ) -> fmt::Result {
        if self.is_on {
            write!(writer, "<{}>", priority(*event.metadata().level()))?;
        }
        self.format.format_event(context, writer, event)
    }
}

/// The level of syslog(3).
fn priority(level: Level) -> u8 {
    match level {
        Level::ERROR => 3,
        Level::WARN => 4,
        Level::INFO => 6,
        _ => 7,
    }
}
