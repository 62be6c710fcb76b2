//! Where events are looked at: at the running gateway, or in the store it left.

use std::io::IsTerminal;
use std::path::PathBuf;

use tidegate_store::{OpenError, Store};

use super::Failure;
use super::running::Running;
use crate::config::Config;

/// What holds the events.
pub(super) enum Held {
    /// A gateway runs and is asked.
    Running(Running),
    /// None runs: its store is read under its lock. Nothing is changed.
    Lying(Store, PathBuf),
}

impl Held {
    /// Finds out which, and says so on standard error.
    ///
    /// # Errors
    /// When there is neither, or this user may not look.
    pub(super) fn find(config: &Config) -> Result<Held, Failure> {
        if let Some(running) = Running::find(&config.gateway.data_dir)? {
            if std::io::stderr().is_terminal() {
                eprintln!("asking the gateway at {}", running.socket().display());
            }
            return Ok(Held::Running(running));
        }
        let folder = config.gateway.store_dir();
        let store = tidegate_store::inspect(&folder).map_err(|error| match error {
            OpenError::InUse { .. } => Failure::new(format!(
                "a gateway has {} open but does not answer; is it starting or stopping?",
                folder.display()
            )),
            error => Failure::new(error.to_string()),
        })?;
        eprintln!("no gateway runs: reading the store in {}", folder.display());
        Ok(Held::Lying(store, folder))
    }
}
