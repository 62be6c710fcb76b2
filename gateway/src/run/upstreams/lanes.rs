//! Names of upstreams to lanes of the store and destinations of the rules.

use tidegate_rules::decision::Destinations;
use tidegate_store::{LaneId, Store};

use crate::run::RunError;
use crate::run::config::Config;

/// Lanes in the order of the destinations: `dead_letter` first, then the upstreams.
#[derive(Clone)]
pub(in crate::run) struct Lanes {
    /// The names rules may send to.
    pub(in crate::run) destinations: Destinations,
    /// Lane of each destination, by number.
    pub(in crate::run) ids: Vec<LaneId>,
}

impl Lanes {
    /// Finds or makes the lane of every upstream.
    ///
    /// Lanes of upstreams that are no longer configured go when nothing waits in them. While
    /// something does they stay, which is told as a trouble: what was accepted for an upstream is not
    /// thrown away because its name was mistyped.
    pub(in crate::run) fn open(config: &Config, store: &Store) -> Result<Lanes, RunError> {
        let destinations = destinations(config);
        for lane in store.lanes() {
            if !destinations.names().any(|name| name == lane.name) {
                leave(store, &lane.name, lane.id);
            }
        }
        Lanes::of(destinations, store).map_err(RunError::Store)
    }

    /// Finds or makes the lanes of `destinations`, and lets others be: events that were decided about
    /// before may be on their way into them.
    ///
    /// # Errors
    /// What the store said.
    pub(in crate::run) fn of(destinations: Destinations, store: &Store) -> Result<Lanes, String> {
        let ids = destinations.names().map(|name| store.lane(name));
        let ids = ids
            .collect::<Result<_, _>>()
            .map_err(|error| error.to_string())?;
        Ok(Lanes { destinations, ids })
    }

    /// The lane of an upstream.
    pub(in crate::run) fn id(&self, upstream: &str) -> Option<LaneId> {
        let mut pairs = self.destinations.names().zip(&self.ids);
        pairs.find_map(|(name, id)| (name == upstream).then_some(*id))
    }
}

/// The names that rules may send to under a configuration.
pub(in crate::run) fn destinations(config: &Config) -> Destinations {
    let upstreams = config.upstreams.iter().map(|upstream| &*upstream.name);
    Destinations::new(std::iter::once(Destinations::DEAD_LETTER).chain(upstreams))
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
