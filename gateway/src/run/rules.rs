//! The rules in force: read and compiled at the start, and switched whenever their folder changes.

pub mod folder;
mod watcher;

use std::path::PathBuf;
use std::sync::Arc;

use tidegate_rules::Destinations;
use tidegate_store::LaneId;
use tokio::sync::watch;

use super::RunError;
use super::config::Config;
use super::lanes::Lanes;
use super::tasks::Tasks;
use crate::intake::evaluator::ActiveRules;
use crate::observe::Observe;
use crate::observe::status::RulesStatus;
use folder::FolderState;
use watcher::RulesWatcher;

/// The rules in force, and what watches their folder.
pub(super) struct LoadedRules {
    pub(super) active: watch::Sender<Arc<ActiveRules>>,
    pub(super) status: watch::Sender<RulesStatus>,
    destinations: Destinations,
    lanes: Vec<LaneId>,
    folder: Option<(PathBuf, FolderState)>,
}

impl LoadedRules {
    /// Reads and compiles the folder; a gateway never starts with rules that have mistakes.
    pub(super) fn load(config: &Config, lanes: &Lanes) -> Result<LoadedRules, RunError> {
        // Before it is read: what is saved from here on is seen as a change.
        let folder = config.gateway.rules.clone();
        let folder = folder.map(|folder| (folder.clone(), folder::state(&folder)));
        let files = match &config.gateway.rules {
            Some(folder) => folder::read(folder).map_err(RunError::Folder)?,
            None => Vec::new(),
        };
        let checked = folder::compile(&files, &lanes.destinations)
            .map_err(|errors| RunError::Rules(errors, files))?;
        let status = RulesStatus {
            folder: config
                .gateway
                .rules
                .as_ref()
                .map(|folder| folder.display().to_string()),
            generation: 1,
            fingerprint: format!("{:016x}", checked.rules.fingerprint()),
            rules: checked.rules.rule_count(),
            refused: Vec::new(),
        };
        let active = ActiveRules {
            rules: checked.rules,
            lanes: lanes.ids.clone(),
        };
        Ok(LoadedRules {
            active: watch::Sender::new(Arc::new(active)),
            status: watch::Sender::new(status),
            destinations: lanes.destinations.clone(),
            lanes: lanes.ids.clone(),
            folder,
        })
    }

    /// Spawns the watch over the folder, where there is one.
    pub(super) fn watch(
        self,
        tasks: &mut Tasks,
        observe: &Arc<Observe>,
        stop: &watch::Receiver<bool>,
    ) {
        let Some((folder, seen)) = self.folder else {
            return;
        };
        let watcher = RulesWatcher {
            folder,
            seen,
            destinations: self.destinations,
            lanes: self.lanes,
            active: self.active,
            status: self.status,
            observe: Arc::clone(observe),
        };
        let stop = stop.clone();
        tasks.spawn("rules folder", async move {
            watcher.run(stop).await;
            Ok::<(), String>(())
        });
    }
}
