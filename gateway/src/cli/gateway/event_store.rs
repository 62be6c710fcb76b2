//! Where events are looked at: at the running gateway, or in the store it left.

use std::io::IsTerminal;
use std::path::{Path, PathBuf};

use tidegate_store::{OpenError, Store};

use super::control_client::ControlClient;
use super::permission;
use crate::cli::Failure;
use crate::run::config::Place;

/// The event store, as it can be reached.
pub(in crate::cli) enum EventStore {
    /// A gateway has it open and is asked.
    Served(ControlClient),
    /// None runs: its store is read, and nothing is written to it.
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
        if let Some(why) = permission::not_to_read(&folder) {
            return Err(Failure::new(format!("no gateway runs, and {why}")));
        }
        let store = match tidegate_store::look(&folder) {
            // Who may write there needs no copies.
            Err(OpenError::NoRoomToLook(_)) if permission::not_to_open(&folder).is_none() => {
                permission::become_owner(&folder)?;
                tidegate_store::inspect(&folder)
            }
            found => found,
        };
        let store = store.map_err(|error| of_opening(&folder, error))?;
        eprintln!("no gateway runs: reading the store in {}", folder.display());
        Ok(EventStore::OnDisk(store, folder))
    }
}

/// The store in `folder`, which no gateway has open and none opens meanwhile.
///
/// # Errors
/// When this user may not change it, or somebody has it open.
pub(in crate::cli) fn held(folder: &Path) -> Result<Store, Failure> {
    check_owner(folder)?;
    let store = match tidegate_store::inspect(folder) {
        // Where nothing can be written, nothing changes.
        Err(OpenError::Io { .. }) => tidegate_store::look(folder),
        found => found,
    };
    store.map_err(|error| of_opening(folder, error))
}

/// That this user may change the store in `folder`, as which it goes on.
///
/// # Errors
/// Who may.
pub(in crate::cli) fn check_owner(folder: &Path) -> Result<(), Failure> {
    permission::become_owner(folder)?;
    match permission::not_to_open(folder) {
        Some(why) => Err(Failure::new(format!("no gateway runs, and {why}"))),
        None => Ok(()),
    }
}

fn of_opening(folder: &Path, error: OpenError) -> Failure {
    match error {
        OpenError::InUse { .. } => Failure::new(format!(
            "a gateway has {} open but does not answer; is it starting or stopping?",
            folder.display()
        )),
        error => Failure::new(error.to_string()),
    }
}
