//! The event store: opened as the configuration says, its damage told.

pub(super) mod watch;

use std::time::Duration;

use tidegate_store::{OpenError, Store, Writer};
use tokio::signal::unix::Signal;

use super::config::Config;
use super::{RunError, systemd};
use crate::config::WhenFull;

/// How long to wait before it is looked again whether there is room for the store.
const AGAIN: Duration = Duration::from_secs(2);

/// Opens the store. One that is there opens on a full disk too; where there is none yet, this waits for the room to make
/// it. `None` if `terminate` comes first.
pub(super) async fn open_when_there_is_room(
    config: &Config,
    terminate: &mut Signal,
) -> Result<Option<(Writer, Store)>, RunError> {
    let mut told = false;
    loop {
        let why = match open(config) {
            Ok(opened) => return Ok(Some(opened)),
            Err(why @ OpenError::NoSpace { .. }) => why,
            Err(other) => return Err(RunError::Store(other.to_string())),
        };
        if !std::mem::replace(&mut told, true) {
            tracing::error!(
                "{why}; until there is room nothing is accepted, and this gateway waits for it"
            );
        }
        systemd::waiting(AGAIN * 5, "waiting for room on the disk to open the store");
        tokio::select! {
            () = tokio::time::sleep(AGAIN) => {}
            _ = terminate.recv() => return Ok(None),
            _ = tokio::signal::ctrl_c() => return Ok(None),
        }
    }
}

/// Opens the store with the settings of `[store]`.
fn open(config: &Config) -> Result<(Writer, Store), OpenError> {
    let options = tidegate_store::Options {
        max_size_bytes: config.store.max_size_bytes,
        keep_for_ms: config.store.keep_for.as_millis() as u64,
        generation_bytes: config.store.generation_bytes,
        free_bytes_min: config.store.free_min_bytes,
        when_full: match config.store.when_full {
            WhenFull::Refuse => tidegate_store::WhenFull::Refuse,
            WhenFull::Shed => tidegate_store::WhenFull::Shed,
        },
        expire_after_ms: config
            .store
            .expire_after
            .map(|after| u64::try_from(after.as_millis()).unwrap_or(u64::MAX)),
        ..tidegate_store::Options::new(config.gateway.store_dir())
    };
    tidegate_store::open(options)
}
