//! Giving up by class when the room is needed, where the user chose that.

use super::Room;
use super::give_up::{GapWriter, GivingUp, Target};
use crate::api::error::CommitError;
use crate::api::gap::{Gap, GapReason};
use crate::api::limits::CLASSES;
use crate::append::appender::Appender;
use crate::catalog::Catalog;
use crate::engine::lock::locked;
use std::sync::{Arc, Mutex};

/// What came of giving up records.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shed {
    /// The steps that became durable.
    pub gaps: Vec<Gap>,
    /// Whether there is room now. `Full` or `NoSpace`: nothing is left to give up.
    pub room: Result<(), CommitError>,
}

/// See the module.
pub(crate) struct Shedding {
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) giving_up: GivingUp,
    /// The user chose to shed rather than to refuse.
    pub(crate) chosen: bool,
    /// A generation's payload.
    pub(crate) step_bytes: u64,
}

impl Shedding {
    /// Makes room for a commit of `bytes`, giving up the lowest class first and of that the oldest.
    pub(crate) fn shed(
        &self,
        appender: &mut Appender,
        room: &Room,
        bytes: u64,
        gap_writer: &mut GapWriter<'_>,
    ) -> Shed {
        let mut gaps = Vec::new();
        // What begins meanwhile holds the accounts of this call; they are not its prey.
        let last = locked(&self.catalog)
            .generations
            .back()
            .map_or(0, |last| last.id);
        // A generation's worth at once: giving up a little with every commit would leave nothing but accounts.
        let enough_bytes = bytes.saturating_add(self.step_bytes);
        let made = loop {
            let full = match room.make(appender, enough_bytes) {
                Err(full @ (CommitError::Full { .. } | CommitError::NoSpace { .. })) => full,
                other => break other,
            };
            if !self.chosen {
                break Err(full);
            }
            let target = least_urgent(&locked(&self.catalog), last);
            let Some(target) = target else {
                break room.make(appender, bytes);
            };
            match self
                .giving_up
                .step(appender, target, GapReason::Shed, gap_writer)
            {
                Ok(gap) => gaps.extend(gap),
                Err(error) => break Err(error),
            }
        };
        Shed { gaps, room: made }
    }
}

/// The lowest class that somebody waits for, and the oldest generation that holds any of it.
fn least_urgent(catalog: &Catalog, last: u64) -> Option<Target> {
    (0..CLASSES as u8).find_map(|class| {
        let mut candidates = catalog.generations.iter().filter(|g| g.id <= last);
        let found = candidates.find(|generation| generation.has_unacknowledged_in(class))?;
        Some(Target {
            id: found.id,
            first: found.summary.first,
            end: found.summary.end,
            classes: 1 << class,
        })
    })
}
