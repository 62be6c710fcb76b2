//! The rules in force: read and compiled at the start, and switched whenever their folder changes.
//!
//! A set that was in force is kept in the store. A folder that is broken at a start, or holds no rules any
//! more, is refused as one is that breaks while the gateway runs: the set that was kept goes on. To run
//! without rules, `rules` is taken out of the configuration, and what was kept goes with it.

mod changes;
mod compiling;
pub mod folder;
mod ignored;
mod last_good;
mod told;
mod watcher;

use std::path::Path;
use std::sync::{Arc, Mutex};

use tidegate_rules::{Checked, Destinations, RuleFile, RuleSet};
use tidegate_store::{LaneId, Store};
use tokio::sync::watch;

use super::RunError;
use super::config::Config;
use super::config::in_force::InForce;
use super::lanes::Lanes;
use super::tasks::Tasks;
use crate::intake::evaluator::ActiveRules;
use crate::observe::Observe;
use crate::observe::status::RulesStatus;
use crate::time::clock;
use changes::Look;
use folder::{FolderContent, FolderError};
use ignored::Ignored;
use last_good::LastGood;
use told::Told;
use watcher::RulesWatcher;

/// The rules in force, and what watches their folder.
pub(super) struct LoadedRules {
    pub(super) active: watch::Sender<Arc<ActiveRules>>,
    pub(super) status: watch::Sender<RulesStatus>,
    destinations: Destinations,
    lanes: Vec<LaneId>,
    store: Store,
    found: Option<Found>,
}

/// What a start found in the folder.
struct Found {
    mark: u64,
    ignored: Vec<Ignored>,
    /// The files of the rules in force.
    files: Vec<RuleFile>,
    /// Whether they are kept in the store.
    kept: std::io::Result<()>,
}

/// A set that can be run, and its files.
struct Set {
    checked: Checked,
    files: Vec<RuleFile>,
    /// When it was kept and why the folder is refused, where it is the one that was kept.
    last_good: Option<(i64, Vec<String>)>,
}

/// Why the folder cannot be taken.
enum Refused {
    Folder(FolderError),
    Mistakes(Vec<tidegate_rules::diagnostic::Diagnostic>, Vec<RuleFile>),
}

impl LoadedRules {
    /// Reads and compiles the folder. Where that cannot be taken, the last good set runs; a gateway never
    /// starts with rules that have mistakes.
    pub(super) fn load(
        config: &Config,
        lanes: &Lanes,
        store: &Store,
    ) -> Result<LoadedRules, RunError> {
        let Some(folder) = &config.gateway.rules else {
            if let Err(error) = last_good::forget(store) {
                tracing::warn!(%error, "the last good rules could not be removed from the store");
            }
            let rules = RuleSet::pass_all(&lanes.destinations);
            return Ok(LoadedRules::new(
                rules,
                RulesStatus::default(),
                None,
                lanes,
                store,
            ));
        };
        let kept = LastGood::load(store).map_err(|error| {
            tracing::warn!(%error, "the last good rules that the store keeps cannot be read");
            error.to_string()
        });
        let look = Look::at(folder);
        let mark = look.mark;
        let (read, ignored) = match look.read {
            Ok(FolderContent { files, ignored }) => (Ok(files), ignored),
            Err(error) => (Err(error), Vec::new()),
        };
        let set = choose(folder, read, &kept, &lanes.destinations)
            .map_err(|refused| cannot_start(config, refused))?;
        let mut status = RulesStatus {
            folder: Some(folder.display().to_string()),
            rules: set.checked.rules.rule_count(),
            ignored: ignored::names(&ignored),
            ..RulesStatus::default()
        };
        let is_last_good = set.last_good.is_some();
        if let Some((kept_ms, refused)) = set.last_good {
            status.last_good_ms = Some(kept_ms);
            status.refused = refused;
        }
        let rules = set.checked.rules;
        let files = if rules.is_empty() {
            Vec::new()
        } else {
            set.files
        };
        let is_kept = matches!(&kept, Ok(Some(kept)) if kept.files == files);
        let kept = match is_last_good || is_kept || files.is_empty() {
            true => Ok(()),
            false => LastGood::of(&files, clock::unix_ms()).keep(store),
        };
        let found = Found {
            mark,
            ignored,
            files,
            kept,
        };
        Ok(LoadedRules::new(rules, status, Some(found), lanes, store))
    }

    fn new(
        rules: RuleSet,
        status: RulesStatus,
        found: Option<Found>,
        lanes: &Lanes,
        store: &Store,
    ) -> LoadedRules {
        let status = RulesStatus {
            generation: 1,
            fingerprint: format!("{:016x}", rules.fingerprint()),
            ..status
        };
        let active = ActiveRules::new(rules, lanes.ids.clone());
        LoadedRules {
            active: watch::Sender::new(Arc::new(active)),
            status: watch::Sender::new(status),
            destinations: lanes.destinations.clone(),
            lanes: lanes.ids.clone(),
            store: store.clone(),
            found,
        }
    }

    /// The files of the rules in force; none without a folder.
    pub(super) fn files(&self) -> Option<&[RuleFile]> {
        let found = self.found.as_ref()?;
        Some(&found.files)
            .filter(|files| !files.is_empty())
            .map(Vec::as_slice)
    }

    /// Tells what the start found, and spawns the watch over the folder, where there is one.
    pub(super) fn watch(
        self,
        folder: Option<&Path>,
        tasks: &mut Tasks,
        observe: &Arc<Observe>,
        in_force: InForce,
        stop: &watch::Receiver<bool>,
    ) {
        let (Some(folder), Some(found)) = (folder, self.found) else {
            return;
        };
        let told = Told::new(folder.to_path_buf(), observe);
        told.ignored(&found.ignored);
        told.none(found.files.is_empty());
        let is_kept = found.kept.is_ok();
        told.kept(found.kept);
        let refused = self.status.borrow().refused.clone();
        if !refused.is_empty() {
            told.refused(1, &refused);
        }
        let (changes, view) = changes::watch(folder);
        let watcher = RulesWatcher {
            changes,
            view: Arc::new(Mutex::new(view)),
            seen: found.mark,
            files: found.files,
            is_kept,
            destinations: self.destinations,
            lanes: self.lanes,
            active: self.active,
            status: self.status,
            told,
            in_force,
            store: self.store,
        };
        let stop = stop.clone();
        tasks.spawn("rules folder", async move {
            watcher.run(stop).await;
            Ok::<(), String>(())
        });
    }
}

/// The set to start with: what the folder holds, or the last good one.
fn choose(
    folder: &Path,
    read: Result<Vec<RuleFile>, FolderError>,
    kept: &Result<Option<LastGood>, String>,
    destinations: &Destinations,
) -> Result<Set, (Refused, Option<String>)> {
    let had_rules = !matches!(kept, Ok(None));
    let kept = kept.as_ref().map(Option::as_ref);
    let before = kept.ok().flatten();
    let refused = match read {
        Err(error) => Refused::Folder(error),
        Ok(files) => match folder::compile(&files, destinations) {
            Err(mistakes) => Refused::Mistakes(mistakes, files),
            Ok(checked) if checked.rules.is_empty() && had_rules => {
                Refused::Folder(folder::error(folder, none_left()))
            }
            Ok(checked) => match before.and_then(|kept| folder::emptied(&files, &kept.files)) {
                Some(path) => Refused::Folder(folder::error(folder, is_emptied(path))),
                None => {
                    return Ok(Set {
                        checked,
                        files,
                        last_good: None,
                    });
                }
            },
        },
    };
    let kept = match kept {
        Ok(Some(kept)) => kept,
        Ok(None) => return Err((refused, None)),
        Err(damage) => return Err((refused, Some(damage.clone()))),
    };
    match folder::compile(&kept.files, destinations) {
        Ok(checked) => Ok(Set {
            checked,
            files: kept.files.clone(),
            last_good: Some((kept.kept_ms, refused.lines())),
        }),
        Err(mistakes) => {
            let first = mistakes.iter().find(|mistake| mistake.is_error());
            let first = first.map(|mistake| mistake.short()).unwrap_or_default();
            Err((refused, Some(first)))
        }
    }
}

impl Refused {
    /// One line for each mistake.
    fn lines(&self) -> Vec<String> {
        match self {
            Refused::Folder(error) => vec![error.to_string()],
            Refused::Mistakes(mistakes, _) => folder::lines(mistakes),
        }
    }
}

/// What is said where no set can be run.
fn cannot_start(config: &Config, (refused, of_kept): (Refused, Option<String>)) -> RunError {
    let why_not_kept = of_kept.map(|first| {
        format!("the last good rules that the store keeps cannot be used either: {first}")
    });
    match (refused, &config.rules_missing) {
        (Refused::Folder(_), Some(missing)) => {
            RunError::BadConfig(Box::new(missing.clone()), why_not_kept)
        }
        (Refused::Folder(error), None) => RunError::Folder(error, why_not_kept),
        (Refused::Mistakes(errors, files), _) => RunError::Rules(errors, files, why_not_kept),
    }
}

/// Why a folder without rules is refused.
fn none_left() -> String {
    "it holds no rules any more; to run without rules, take `rules` out of the configuration"
        .to_owned()
}

/// Why a file that lost its text is refused.
fn is_emptied(path: &str) -> String {
    format!("{path} is empty and was not: remove it, or leave a comment in it")
}
