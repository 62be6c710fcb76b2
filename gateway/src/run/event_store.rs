//! The event store: opened as the configuration says, its damage told.

pub(super) mod opening;
pub(super) mod recall;
pub(super) mod watch;

use tidegate_store::{OpenError, OpenProgress, Store, Writer};

use super::config::Config;
use crate::config::WhenFull;

/// Opens the store with the settings of `[store]`; `told` hears how far it is, first of all when its lock is held.
fn open(config: &Config, told: impl FnMut(OpenProgress)) -> Result<(Writer, Store), OpenError> {
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
    tidegate_store::open_telling(options, told)
}
