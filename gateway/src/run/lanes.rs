//! Names of upstreams to lanes of the store and destinations of the rules.

use tidegate_rules::decision::Destinations;
use tidegate_store::{LaneId, Store};

use super::RunError;
use super::config::Config;

/// Lanes in the order of the destinations: `dead_letter` first, then the upstreams.
pub(super) struct Lanes {
    /// The names rules may send to.
    pub(super) destinations: Destinations,
    /// Lane of each destination, by number.
    pub(super) ids: Vec<LaneId>,
}

impl Lanes {
    /// Finds or makes the lane of every upstream.
    ///
    /// Lanes of upstreams that are no longer configured go when nothing waits in them. While
    /// something does they stay, which is told as a trouble: what was accepted for an upstream is not
    /// thrown away because its name was mistyped.
    pub(super) fn open(config: &Config, store: &Store) -> Result<Lanes, RunError> {
        let names: Vec<&str> = std::iter::once(Destinations::DEAD_LETTER)
            .chain(config.upstreams.iter().map(|upstream| &*upstream.name))
            .collect();
        for lane in store.lanes() {
            if !names.contains(&&*lane.name) {
                leave(store, &lane.name, lane.id);
            }
        }
        let ids = names
            .iter()
            .map(|name| store.lane(name))
            .collect::<Result<_, _>>()
            .map_err(|error| RunError::Store(error.to_string()))?;
        Ok(Lanes {
            destinations: Destinations::new(names),
            ids,
        })
    }
}

fn leave(store: &Store, name: &str, id: LaneId) {
    if store.backlog(id).events > 0 {
        return;
    }
    match store.drop_lane(name) {
        Ok(_) => tracing::info!(
            upstream = name,
            "no longer configured and nothing waits for it: lane dropped"
        ),
        Err(error) => tracing::warn!(upstream = name, %error, "the lane could not be dropped"),
    }
}
