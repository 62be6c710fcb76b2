//! Watches the folder of the rules while the gateway runs, and switches the rules as a whole.
//!
//! A change must settle before it is read. It is compiled beside the intake; what is saved meanwhile takes
//! the place of what is being compiled, so that the last save wins and none waits in a row. A folder that
//! has a mistake, or holds no rules any more, leaves the last good set running and says so.

use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use tidegate_rules::{Checked, Destinations, Handover, RuleFile};
use tidegate_store::{LaneId, Store};
use tokio::sync::watch;

use super::changes::{FolderChanges, FolderView, Look};
use super::compiling::{COMPILE_MAX, Compiling, Outcome};
use super::last_good::LastGood;
use super::told::Told;
use super::{folder, ignored, is_emptied, none_left};
use crate::intake::evaluator::ActiveRules;
use crate::observe::rules::RulesActivated;
use crate::observe::status::RulesStatus;
use crate::run::config::in_force::InForce;
use crate::time::clock;
use crate::time::task;

/// How long a change must have settled.
const SETTLE: Duration = Duration::from_millis(300);
/// How often a change may go on changing before it is read all the same.
const SETTLE_LOOKS_MAX: usize = 20;

/// Watches one folder and switches the rules in force.
pub(super) struct RulesWatcher {
    /// When the folder is to be looked at.
    pub(super) changes: FolderChanges,
    /// The folder.
    pub(super) view: Arc<Mutex<FolderView>>,
    /// The mark of what was looked at last.
    pub(super) seen: u64,
    /// The mark of what was decided about last.
    pub(super) decided: u64,
    /// The files of the rules in force; none where there are none.
    pub(super) files: Vec<RuleFile>,
    /// Whether the store keeps these.
    pub(super) is_kept: bool,
    /// The names rules may send to.
    pub(super) destinations: Destinations,
    /// Lane of each destination, by number.
    pub(super) lanes: Vec<LaneId>,
    /// The rules in force.
    pub(super) active: watch::Sender<Arc<ActiveRules>>,
    /// What `tidegate status` shows.
    pub(super) status: watch::Sender<RulesStatus>,
    /// Log lines, system events and troubles.
    pub(super) told: Told,
    /// The audit of what comes into force.
    pub(super) in_force: Arc<InForce>,
    /// Keeps the last good set.
    pub(super) store: Store,
}

impl RulesWatcher {
    /// Watches for ever; may be given up at any time, if [`RulesWatcher::look_again`] follows.
    pub(super) async fn watch(&mut self) {
        loop {
            let mut changed = self.changed().await;
            while let Some(newer) = self.reload(changed).await {
                changed = newer;
            }
            self.decided = self.seen;
        }
    }

    /// What was seen and not decided about is looked at again.
    pub(super) fn look_again(&mut self) {
        self.seen = self.decided;
    }

    /// Waits until the folder holds something else than what was seen, and has settled.
    async fn changed(&mut self) -> Look {
        loop {
            let mut now = self.look().await;
            let mut looks = 0;
            while now.mark != self.seen && looks < SETTLE_LOOKS_MAX {
                tokio::time::sleep(SETTLE).await;
                let again = self.look().await;
                if again.mark == now.mark {
                    return again;
                }
                now = again;
                looks += 1;
            }
            if now.mark != self.seen {
                return now;
            }
            self.changes.next().await;
            // A folder in which something happens all the time is looked at a few times a second.
            tokio::time::sleep(SETTLE / 3).await;
        }
    }

    async fn look(&self) -> Look {
        let view = Arc::clone(&self.view);
        let look = move || view.lock().unwrap_or_else(PoisonError::into_inner).look();
        match task::blocking("the look at the rules folder", look).await {
            Ok(look) => look,
            Err(error) => match error.try_into_panic() {
                Ok(panic) => std::panic::resume_unwind(panic),
                // The runtime is going, and this with it.
                Err(_) => std::future::pending().await,
            },
        }
    }

    /// Reads, compiles and switches once; gives what was saved meanwhile, if anything.
    async fn reload(&mut self, look: Look) -> Option<Look> {
        self.seen = look.mark;
        let content = match look.read {
            Ok(content) => content,
            Err(error) => {
                self.refuse(vec![error.to_string()]);
                return None;
            }
        };
        self.told.ignored(&content.ignored);
        let names = ignored::names(&content.ignored);
        self.status.send_modify(|status| status.ignored = names);
        if let Some(path) = folder::emptied(&content.files, &self.files) {
            self.refuse(vec![is_emptied(path)]);
            return None;
        }
        let before = Arc::clone(&self.active.borrow());
        let destinations = self.destinations.clone();
        let mut compiling = Compiling::begin(content.files.clone(), destinations, before);
        let outcome = tokio::select! {
            outcome = compiling.done(COMPILE_MAX) => outcome,
            newer = self.changed() => {
                compiling.give_up().await;
                return Some(newer);
            }
        };
        match outcome {
            Outcome::Compiled(compiled) => {
                let (checked, handover) = *compiled;
                if self.loses_all(&checked) {
                    let error = folder::error(&self.told.folder, none_left());
                    self.refuse(vec![error.to_string()]);
                } else {
                    self.take(checked, handover, content.files).await;
                }
            }
            Outcome::Mistakes(mistakes) => {
                self.refuse(folder::lines(&mistakes));
            }
            Outcome::Failed(why) => self.refuse(vec![why]),
        }
        None
    }

    /// Whether there would be no rules any more: that is said in the configuration, not by a folder.
    fn loses_all(&self, checked: &Checked) -> bool {
        checked.rules.is_empty() && !self.active.borrow().rules.is_empty()
    }

    fn refuse(&self, errors: Vec<String>) {
        let generation = self.status.borrow().generation;
        self.told.refused(generation, &errors);
        self.status.send_modify(|status| status.refused = errors);
    }

    /// Puts a set in force, unless it is the one that is.
    async fn take(&mut self, checked: Checked, handover: Handover, files: Vec<RuleFile>) {
        let fingerprint = format!("{:016x}", checked.rules.fingerprint());
        let rules = checked.rules.rule_count();
        let is_none = checked.rules.is_empty();
        let unchanged = self.status.borrow().fingerprint == fingerprint;
        let is_kept = unchanged && self.is_kept;
        if !(is_none || is_kept) {
            self.keep(&files).await;
        }
        if !unchanged {
            // Before it is said to be in force.
            self.files = if is_none { Vec::new() } else { files };
            let active = ActiveRules::new(checked.rules, self.lanes.clone()).after(handover);
            self.active.send_replace(Arc::new(active));
        }
        self.status.send_modify(|status| {
            status.refused.clear();
            status.last_good_ms = None;
            if !unchanged {
                status.generation += 1;
                status.fingerprint = fingerprint.clone();
                status.rules = rules;
            }
        });
        self.told.none(is_none);
        if unchanged {
            return self.told.accepted_again();
        }
        self.in_force.rules(&self.told.folder, &self.files);
        self.told.activated(&RulesActivated {
            generation: self.status.borrow().generation,
            fingerprint: &fingerprint,
            rules,
            warnings: checked.warnings.len(),
        });
    }

    /// Keeps a set in the store before it is said to be in force.
    async fn keep(&mut self, files: &[RuleFile]) {
        let set = LastGood::of(files, clock::unix_ms());
        let store = self.store.clone();
        let kept = task::blocking("the keeping of rules", move || set.keep(&store)).await;
        let kept = kept.unwrap_or_else(|error| Err(error.into()));
        self.is_kept = kept.is_ok();
        self.told.kept(kept);
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Observe;
    use crate::run::rules::changes;

    #[tokio::test]
    async fn what_is_saved_before_the_first_look_is_noticed_and_kept() {
        let folder = tempfile::tempdir().expect("a folder");
        let data = tempfile::tempdir().expect("a folder");
        let (_writer, store) =
            tidegate_store::open(tidegate_store::Options::new(data.path())).expect("a store");
        let rules = folder.path().join("rules");
        std::fs::create_dir(&rules).expect("it is ours");
        let seen = Look::at(&rules).mark;
        let destinations = Destinations::new(["cloud"]);
        let none = tidegate_rules::RuleSet::pass_all(&destinations);
        let active = watch::Sender::new(Arc::new(ActiveRules::new(none, vec![1])));
        let mut in_force = active.subscribe();
        in_force.mark_unchanged();
        let rule = "rule late { on \"t\" send to cloud }";
        std::fs::write(rules.join("late.rules"), rule).expect("it is ours");
        let (changes, view) = changes::watch(&rules);
        let observe = Arc::new(Observe::default());
        let mut watcher = RulesWatcher {
            changes,
            view: Arc::new(Mutex::new(view)),
            seen,
            decided: seen,
            files: Vec::new(),
            is_kept: true,
            destinations,
            lanes: vec![1],
            active,
            status: watch::Sender::new(RulesStatus::default()),
            told: Told::new(rules, &observe),
            in_force: Arc::new(InForce::open(&store)),
            store: store.clone(),
        };
        let running = tokio::spawn(async move { watcher.watch().await });
        let patience = Duration::from_secs(300);
        let changed = tokio::time::timeout(patience, in_force.changed()).await;
        assert!(changed.is_ok_and(|changed| changed.is_ok()), "unnoticed");
        assert_eq!(in_force.borrow().rules.rule_count(), 1);
        let kept = LastGood::load(&store).expect("a store").expect("a set");
        assert_eq!(kept.files[0].path, "rules/late.rules");
        assert_eq!(kept.files[0].text, rule);
        running.abort();
    }
}
