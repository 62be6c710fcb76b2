//! A store and its model side by side, and what was done to both.

use crate::model::Model;
use crate::op::Settings;
use tempfile::TempDir;
use tidegate_store::{GenerationInfo, LaneId, Store, Writer};

/// What was done to the store so far, for the books of a whole run.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Done {
    pub(crate) cases: u64,
    pub(crate) steps: u64,
    pub(crate) records: u64,
    pub(crate) full: u64,
    pub(crate) reopened: u64,
    pub(crate) crashed: u64,
    pub(crate) fell_back: u64,
    pub(crate) deleted: u64,
    pub(crate) shed: u64,
}

/// A store and its model.
pub(crate) struct Run {
    pub(crate) home: TempDir,
    pub(crate) copies: u32,
    pub(crate) settings: Settings,
    pub(crate) open: Option<(Writer, Store)>,
    pub(crate) model: Model,
    /// The clock that retention goes by, before the step.
    pub(crate) now_before_ms: Option<u64>,
    /// As they were after the step before.
    pub(crate) generations: Vec<GenerationInfo>,
    pub(crate) time_ms: u64,
    pub(crate) tag: u64,
    pub(crate) done: Done,
}

impl Run {
    pub(crate) fn store(&self) -> &Store {
        &self.open.as_ref().unwrap().1
    }

    pub(crate) fn writer(&mut self) -> &mut Writer {
        &mut self.open.as_mut().unwrap().0
    }
}

/// The name of the lane in a slot.
pub(crate) fn name(slot: u8) -> String {
    format!("lane {slot}")
}

/// Every lane of the model with every class.
pub(crate) fn lanes_and_classes(model: &Model) -> Vec<(LaneId, u8)> {
    let lanes = model.lanes.keys();
    lanes
        .flat_map(|lane| (0..4).map(|class| (*lane, class)))
        .collect()
}
