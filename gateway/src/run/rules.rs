//! The rules in force: read and compiled at the start, and switched whenever their folder changes.
//!
//! A set that was in force is kept in the store. A folder that is broken at a start, or holds no rules any
//! more, is refused as one is that breaks while the gateway runs: the set that was kept goes on. To run
//! without rules, `rules` is taken out of the configuration, and what was kept goes with it.

mod changes;
mod compiling;
pub mod folder;
mod ignored;
pub(super) mod keeper;
mod last_good;
mod told;
mod watcher;

use std::path::Path;
use std::sync::Arc;

use tidegate_rules::{Checked, Destinations, RuleFile, RuleSet};
use tidegate_store::Store;
use tokio::sync::watch;

use super::RunError;
use super::config::Config;
use super::config::in_force::InForce;
use super::tasks::Tasks;
use super::upstreams::lanes::Lanes;
use crate::intake::evaluator::ActiveRules;
use crate::observe::Observe;
use crate::observe::status::RulesStatus;
use crate::time::clock;
use changes::Look;
use folder::{FolderContent, FolderError};
use ignored::Ignored;
use keeper::{RulesKeeper, RulesOrders};
use last_good::LastGood;

/// The rules in force, and what watches their folder.
pub(super) struct LoadedRules {
    pub(super) active: watch::Sender<Arc<ActiveRules>>,
    pub(super) status: watch::Sender<RulesStatus>,
    lanes: Lanes,
    store: Store,
    found: Option<Found>,
}

/// What was found in the folder.
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

/// What a folder, or that there is none, gives to run.
struct Chosen {
    rules: RuleSet,
    warnings: usize,
    status: RulesStatus,
    found: Option<Found>,
    /// The store does not keep the set yet, or still keeps one.
    is_to_be_kept: bool,
}

/// Why the folder cannot be taken.
enum Refused {
    Folder(FolderError),
    Mistakes(Vec<tidegate_rules::diagnostic::Diagnostic>, Vec<RuleFile>),
}

/// Why there is nothing to run: of the folder, and of the set that is kept, where there is one.
type NothingToRun = (Refused, Option<String>);

impl Chosen {
    /// Reads and compiles the folder. Where that cannot be taken, the last good set is chosen.
    fn from(
        folder: Option<&Path>,
        destinations: &Destinations,
        store: &Store,
    ) -> Result<Chosen, NothingToRun> {
        let Some(folder) = folder else {
            return Ok(Chosen::without_folder(destinations));
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
        let set = choose(folder, read, &kept, destinations)?;
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
        Ok(Chosen {
            warnings: set.checked.warnings.len(),
            is_to_be_kept: !(is_last_good || is_kept || files.is_empty()),
            rules,
            status,
            found: Some(Found {
                mark,
                ignored,
                files,
                kept: Ok(()),
            }),
        })
    }

    fn without_folder(destinations: &Destinations) -> Chosen {
        Chosen {
            rules: RuleSet::pass_all(destinations),
            warnings: 0,
            status: RulesStatus::default(),
            found: None,
            is_to_be_kept: true,
        }
    }

    /// Has the store keep the set, or none where there is no folder.
    fn keep(&mut self, store: &Store) {
        if !self.is_to_be_kept {
            return;
        }
        match &mut self.found {
            Some(found) => found.kept = LastGood::of(&found.files, clock::unix_ms()).keep(store),
            None => {
                if let Err(error) = last_good::forget(store) {
                    tracing::warn!(%error, "the last good rules could not be removed from the store");
                }
            }
        }
    }
}

impl LoadedRules {
    /// Reads and compiles the folder. Where that cannot be taken, the last good set runs; a gateway never
    /// starts with rules that have mistakes.
    pub(super) fn load(
        config: &Config,
        lanes: &Lanes,
        store: &Store,
    ) -> Result<LoadedRules, RunError> {
        let folder = config.gateway.rules.as_deref();
        let mut chosen = Chosen::from(folder, &lanes.destinations, store)
            .map_err(|refused| cannot_start(config, refused))?;
        chosen.keep(store);
        let status = RulesStatus {
            generation: 1,
            fingerprint: format!("{:016x}", chosen.rules.fingerprint()),
            ..chosen.status
        };
        let active = ActiveRules::new(chosen.rules, lanes.ids.clone());
        Ok(LoadedRules {
            active: watch::Sender::new(Arc::new(active)),
            status: watch::Sender::new(status),
            lanes: lanes.clone(),
            store: store.clone(),
            found: chosen.found,
        })
    }

    /// The files of the rules in force; none without a folder.
    pub(super) fn files(&self) -> Option<&[RuleFile]> {
        let found = self.found.as_ref()?;
        Some(&found.files)
            .filter(|files| !files.is_empty())
            .map(Vec::as_slice)
    }

    /// Tells what the start found, and spawns the watch over the folder; it takes orders.
    pub(super) fn watch(
        self,
        folder: Option<&Path>,
        tasks: &mut Tasks,
        observe: &Arc<Observe>,
        in_force: &Arc<InForce>,
        stop: &watch::Receiver<bool>,
    ) -> RulesOrders {
        let (orders, ordered) = RulesOrders::open();
        let mut keeper = RulesKeeper {
            orders: ordered,
            watcher: None,
            lanes: self.lanes,
            active: self.active,
            status: self.status,
            observe: Arc::clone(observe),
            in_force: Arc::clone(in_force),
            store: self.store,
        };
        if let (Some(folder), Some(found)) = (folder, self.found) {
            keeper.watch(folder, found);
        }
        let stop = stop.clone();
        tasks.spawn("rules folder", async move {
            keeper.run(stop).await;
            Ok::<(), String>(())
        });
        orders
    }
}

/// The set to start with: what the folder holds, or the last good one.
fn choose(
    folder: &Path,
    read: Result<Vec<RuleFile>, FolderError>,
    kept: &Result<Option<LastGood>, String>,
    destinations: &Destinations,
) -> Result<Set, NothingToRun> {
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
fn cannot_start(config: &Config, (refused, of_kept): NothingToRun) -> RunError {
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
