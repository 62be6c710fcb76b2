//! Making and dropping lanes, durably.

use super::appender::Appender;
use crate::LaneId;
use crate::api::error::{CommitError, LaneError};
use crate::api::limits::CLASSES;
use crate::catalog::lane::{Lane, Position};
use crate::catalog::{Catalog, small_keys};
use crate::engine::lock::locked;
use crate::engine::sled::Writes;
use std::sync::{Arc, Mutex, MutexGuard};

/// See the module.
pub(crate) struct Lanes {
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) appender: Arc<Mutex<Appender>>,
    pub(crate) read_only: bool,
}

impl Lanes {
    /// The number of the lane of this name; created durably if it is new. On a full disk it is known, and becomes durable
    /// with the generation that must begin before anything can be routed to it.
    pub(crate) fn make(&self, name: &str) -> Result<LaneId, LaneError> {
        if name.is_empty() || name.len() > 255 {
            return Err(LaneError::BadName);
        }
        let mut appender = self.writable()?;
        if let Some(lane) = locked(&self.catalog).lane_named(name) {
            return Ok(lane);
        }
        let (lane, next) = {
            let catalog = locked(&self.catalog);
            (catalog.free_lane().ok_or(LaneError::TooMany)?, catalog.next)
        };
        // Known before it is written: should that fail and a new generation begin, the lane is copied along or undone.
        let positions = [(); CLASSES].map(|()| Position::below(next));
        locked(&self.catalog).lanes.insert(
            lane,
            Lane {
                name: name.to_owned(),
                positions,
            },
        );
        let mut writes = Writes::default();
        small_keys::put_lane(&mut writes, lane, name);
        let generation = appender.generation();
        for class in 0..CLASSES as u8 {
            let stored = locked(&self.catalog).stored_cursor(lane, class, Some(generation));
            if let Some(stored) = stored {
                small_keys::put_cursor(&mut writes, lane, class, &stored);
            }
        }
        match appender.write_small_keys(writes) {
            Ok(()) | Err(CommitError::NoSpace { .. }) => Ok(lane),
            Err(error) => {
                locked(&self.catalog).lanes.remove(&lane);
                Err(LaneError::Failed(error.to_string()))
            }
        }
    }

    /// Forgets a lane and what it had still to deliver. `Ok(false)` if there is none of this name.
    pub(crate) fn remove(&self, name: &str) -> Result<bool, LaneError> {
        let mut appender = self.writable()?;
        let Some(lane) = locked(&self.catalog).lane_named(name) else {
            return Ok(false);
        };
        let mut writes = Writes::default();
        small_keys::remove_lane(&mut writes, lane);
        appender
            .write_small_keys(writes)
            .map_err(|error| LaneError::Failed(error.to_string()))?;
        let mut catalog = locked(&self.catalog);
        catalog.lanes.remove(&lane);
        for generation in &mut catalog.generations {
            (0..CLASSES as u8).for_each(|class| generation.set_unacknowledged(lane, class, 0));
        }
        Ok(true)
    }

    /// Makes durable what was confirmed until now.
    pub(crate) fn persist_cursors(&self) -> Result<(), LaneError> {
        let written = self.writable()?.write_cursors();
        written
            .map(|_| ())
            .map_err(|error| LaneError::Failed(error.to_string()))
    }

    fn writable(&self) -> Result<MutexGuard<'_, Appender>, LaneError> {
        if self.read_only {
            Err(LaneError::ReadOnly)
        } else {
            Ok(locked(&self.appender))
        }
    }
}
