//! Where events are looked at: at the running gateway, or in the store it left.

use std::io::IsTerminal;
use std::path::PathBuf;

use tidegate_store::{OpenError, Store};

use super::control_client::ControlClient;
use super::permission;
use crate::cli::Failure;
use crate::run::config::Place;

/// The event store, as it can be reached.
pub(in crate::cli) enum EventStore {
    /// A gateway has it open and is asked.
    Served(ControlClient),
    /// None runs: its store is read under its lock. Nothing is changed.
    OnDisk(Store, PathBuf),
}

impl EventStore {
    /// Finds out which, and says so on standard error.
    ///
    /// # Errors
    /// When there is neither, or this user may not look.
    pub(in crate::cli) fn find(place: &Place) -> Result<EventStore, Failure> {
        if let Some(client) = ControlClient::connect(&place.data_dir)? {
            if std::io::stderr().is_terminal() {
                eprintln!("asking the gateway at {}", client.socket().display());
            }
            return Ok(EventStore::Served(client));
        }
        let folder = place.store_dir();
        permission::become_owner(&folder)?;
        if let Some(why) = permission::not_to_open(&folder) {
            return Err(Failure::new(format!("no gateway runs, and {why}")));
        }
        let store = tidegate_store::inspect(&folder).map_err(|error| match error {
            OpenError::InUse { .. } => Failure::new(format!(
                "a gateway has {} open but does not answer; is it starting or stopping?",
                folder.display()
            )),
            error => Failure::new(error.to_string()),
        })?;
        eprintln!("no gateway runs: reading the store in {}", folder.display());
        Ok(EventStore::OnDisk(store, folder))
    }
}
