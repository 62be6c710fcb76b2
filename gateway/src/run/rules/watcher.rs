//! Watches the folder of the rules while the gateway runs, and switches the rules as a whole.
//!
//! The folder is looked at twice a second by name, size and time of change: that works over
//! every file system and every editor's way of saving. A change must settle before it is read.
//! A folder with an error leaves the last good set running and says so.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use tidegate_rules::{Checked, Destinations};
use tidegate_store::LaneId;
use tokio::sync::watch;

use super::folder::{self, FolderState};
use crate::intake::evaluator::ActiveRules;
use crate::observe::Observe;
use crate::observe::rules::{RulesActivated, RulesRefused};
use crate::observe::status::RulesStatus;
use crate::time::shutdown::stopped;

/// How often the folder is looked at.
const CHECK_EVERY: Duration = Duration::from_millis(500);
/// How long a change must have settled.
const SETTLE: Duration = Duration::from_millis(300);

/// Watches one folder and switches the rules in force.
pub(super) struct RulesWatcher {
    /// The folder.
    pub(super) folder: PathBuf,
    /// How it was before the rules in force were read: what was saved since is a change.
    pub(super) seen: FolderState,
    /// The names rules may send to.
    pub(super) destinations: Destinations,
    /// Lane of each destination, by number.
    pub(super) lanes: Vec<LaneId>,
    /// The rules in force.
    pub(super) active: watch::Sender<Arc<ActiveRules>>,
    /// What `tidegate status` shows.
    pub(super) status: watch::Sender<RulesStatus>,
    /// Log lines and system events.
    pub(super) observe: Arc<Observe>,
}

impl RulesWatcher {
    /// Watches until `shutdown`.
    pub(super) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        loop {
            tokio::select! {
                () = stopped(&mut shutdown) => return,
                () = tokio::time::sleep(CHECK_EVERY) => {}
            }
            let mut now = folder::state(&self.folder);
            if now == self.seen {
                continue;
            }
            loop {
                tokio::time::sleep(SETTLE).await;
                let again = folder::state(&self.folder);
                if again == now {
                    break;
                }
                now = again;
            }
            self.seen = now;
            self.reload();
        }
    }

    /// Reads, checks and switches once.
    fn reload(&self) {
        let refused = match folder::read(&self.folder) {
            Err(error) => vec![error.to_string()],
            Ok(files) => match folder::compile(&files, &self.destinations) {
                Ok(checked) => return self.activate(checked),
                Err(errors) => errors.iter().map(|e| e.short()).collect(),
            },
        };
        self.observe.emit(&RulesRefused {
            folder: &self.folder,
            generation: self.status.borrow().generation,
            errors: &refused,
        });
        self.status.send_modify(|status| status.refused = refused);
    }

    fn activate(&self, checked: Checked) {
        let fingerprint = format!("{:016x}", checked.rules.fingerprint());
        let rules = checked.rules.rule_count();
        let unchanged = self.status.borrow().fingerprint == fingerprint;
        self.status.send_modify(|status| {
            status.refused.clear();
            if !unchanged {
                status.generation += 1;
                status.fingerprint = fingerprint.clone();
                status.rules = rules;
            }
        });
        if unchanged {
            return;
        }
        self.active.send_replace(Arc::new(ActiveRules {
            rules: checked.rules,
            lanes: self.lanes.clone(),
        }));
        self.observe.emit(&RulesActivated {
            generation: self.status.borrow().generation,
            fingerprint: &fingerprint,
            rules,
            warnings: checked.warnings.len(),
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_saved_before_the_first_look_is_noticed() {
        let folder = tempfile::tempdir().expect("a folder");
        let seen = folder::state(folder.path());
        let destinations = Destinations::new(["cloud"]);
        let checked = folder::compile(&[], &destinations).expect("no rules");
        let lanes = vec![1];
        let active = watch::Sender::new(Arc::new(ActiveRules {
            rules: checked.rules,
            lanes: lanes.clone(),
        }));
        let mut in_force = active.subscribe();
        in_force.mark_unchanged();
        let rule = "rule late { on \"t\" send to cloud }";
        std::fs::write(folder.path().join("late.rules"), rule).expect("it is ours");
        let watcher = RulesWatcher {
            folder: folder.path().to_path_buf(),
            seen,
            destinations,
            lanes,
            active,
            status: watch::Sender::new(RulesStatus::default()),
            observe: Arc::new(Observe::default()),
        };
        let (_stop, stopping) = watch::channel(false);
        let running = tokio::spawn(watcher.run(stopping));
        let patience = Duration::from_secs(300);
        let changed = tokio::time::timeout(patience, in_force.changed()).await;
        assert!(changed.is_ok_and(|changed| changed.is_ok()), "unnoticed");
        assert_eq!(in_force.borrow().rules.rule_count(), 1);
        running.abort();
    }
}
