//! Puts the rooms together, watches over them, and takes them apart.
//!
//! Start: store → rules → intake and commit thread → upstreams → sources. Nothing listens before
//! what it leads to stands, but for control: from the moment that the store's lock is held it
//! says how far the opening is. Shutdown runs the way of an event: sources stop and
//! their channels close, the intake drains and commits, forwarders get `shutdown_max` to finish
//! what is in flight, the last cursors are written. A task that ends by itself stops the
//! gateway with its name; nothing dies silently.
//!
//! Every task and thread that lives as long as the gateway is spawned here, under a name. What a
//! room spawns itself is owned by one of these tasks and ends with it: a connection of a listener,
//! a request under way, the event loop of an MQTT client, work that may wait for the disk or for a
//! password's hash.

pub mod config;
mod difference;
mod event_store;
mod gateway;
pub(crate) mod health;
mod pipeline;
pub mod rules;
pub mod signals;
mod sources;
pub mod systemd;
mod tasks;
mod upstreams;

use tidegate_rules::RuleFile;
use tidegate_rules::diagnostic::Diagnostic;

use config::Config;
use gateway::Gateway;
use rules::folder::FolderError;
use signals::{Hangup, Signals};

use crate::observe::log::repeats::Repeats;

/// Why the gateway did not start, or stopped by itself.
#[derive(Debug)]
pub enum RunError {
    /// The data directory cannot be used; the message says what to do.
    Store(String),
    /// The rules have mistakes: all of them, with the files they are in, and why the last good ones cannot be
    /// run either, where there are some.
    Rules(Vec<Diagnostic>, Vec<RuleFile>, Option<String>),
    /// The rules folder cannot be read or holds no rules any more; as above.
    Folder(FolderError, Option<String>),
    /// The rules folder is not where the configuration says; as above.
    BadConfig(Box<Diagnostic>, Option<String>),
    /// A source or the control socket could not be opened.
    Bind(String),
    /// It was told a second time to end, and did not wait for what was in flight.
    EndedAtOnce,
    /// A task or thread ended although nobody asked it to.
    EndedByItself {
        /// Its name.
        task: String,
        /// What it said.
        why: String,
    },
}

impl std::fmt::Display for RunError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            RunError::Store(message) | RunError::Bind(message) => f.write_str(message),
            RunError::Rules(errors, ..) => write!(f, "the rules have {} errors", errors.len()),
            RunError::Folder(error, _) => write!(f, "{error}"),
            RunError::BadConfig(error, _) => f.write_str(&error.message),
            RunError::EndedAtOnce => f.write_str(
                "ended at once, as it was told twice to end: what was in flight is sent again at the next start",
            ),
            RunError::EndedByItself { task, why } => write!(
                f,
                "{task} ended by itself: {why}; the gateway stops so that nothing goes unnoticed"
            ),
        }
    }
}

impl std::error::Error for RunError {}

/// Runs one gateway until it is told to end by SIGTERM or SIGINT, and at once by a second one; SIGHUP has it
/// read its configuration again. `held_back` is what repeats in its log.
///
/// # Errors
/// [`RunError`] when it cannot start, or when a part of it ends by itself.
pub async fn run(config: Config, held_back: Repeats, hangup: Hangup) -> Result<(), RunError> {
    // From here on a SIGTERM is an orderly end, however early it comes.
    let mut signals = Signals::hear(hangup)?;
    health::raise_limits();
    let config = std::sync::Arc::new(config);
    let opened = event_store::opening::open(&config, &mut signals).await?;
    let Some(opened) = opened else {
        return Ok(());
    };
    let gateway = Gateway::start(config, held_back, opened).await?;
    gateway.run_until(signals).await
}
