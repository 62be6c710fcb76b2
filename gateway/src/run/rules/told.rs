//! What people are told of the rules folder: log lines, system events and troubles.

use std::io;
use std::path::PathBuf;
use std::sync::{Arc, Mutex, PoisonError};

use super::ignored::{Ignored, suspects};
use crate::observe::rules::{RulesAccepted, RulesActivated, RulesRefused};
use crate::observe::{Happening, Observe};

/// What the troubles are about.
const SUBJECT: &str = "rules";

/// Tells of one folder.
pub(super) struct Told {
    /// The folder.
    pub(super) folder: PathBuf,
    observe: Arc<Observe>,
    /// The names last told to be not read.
    ignored: Mutex<Vec<String>>,
}

impl Told {
    pub(super) fn new(folder: PathBuf, observe: &Arc<Observe>) -> Told {
        Told {
            folder,
            observe: Arc::clone(observe),
            ignored: Mutex::default(),
        }
    }

    /// A set is in force.
    pub(super) fn activated(&self, activated: &RulesActivated<'_>) {
        self.observe.emit(activated);
    }

    /// The folder is as it was when its rules came into force.
    pub(super) fn accepted_again(&self) {
        self.emit(&RulesAccepted {
            folder: &self.folder,
        });
    }

    /// The folder cannot be taken.
    pub(super) fn refused(&self, generation: u64, errors: &[String]) {
        self.emit(&RulesRefused {
            folder: &self.folder,
            generation,
            errors,
        });
    }

    fn emit(&self, happening: &dyn Happening) {
        self.observe.emit(happening);
    }

    /// What lies in the folder and is not read.
    pub(super) fn ignored(&self, ignored: &[Ignored]) {
        match suspects(ignored) {
            Some(what) => self.observe.raise(SUBJECT, "ignored", &what),
            None => self.observe.clear(SUBJECT, "ignored"),
        }
        let names = ignored.iter().filter(|one| !one.is_suspect);
        let names: Vec<String> = names.map(|one| one.name.clone()).collect();
        let mut told = self.ignored.lock().unwrap_or_else(PoisonError::into_inner);
        if *told != names && !names.is_empty() {
            let names = names.join(", ");
            tracing::info!(folder = %self.folder.display(), "no rule files, and not read: {names}");
        }
        *told = names;
    }

    /// Whether the folder holds no rules.
    pub(super) fn none(&self, none: bool) {
        match none {
            true => self.observe.raise(
                SUBJECT,
                "none",
                &format!(
                    "{} holds no rules: every event goes to every upstream; write some, or take `rules` out of the configuration",
                    self.folder.display()
                ),
            ),
            false => self.observe.clear(SUBJECT, "none"),
        }
    }

    /// Whether the last good set is kept.
    pub(super) fn kept(&self, kept: io::Result<()>) {
        match kept {
            Ok(()) => self.observe.clear(SUBJECT, "kept"),
            Err(error) => self.observe.raise(
                SUBJECT,
                "kept",
                &format!(
                    "the set in force cannot be kept in the store ({error}): a gateway that starts with a broken folder would run an older one, or none"
                ),
            ),
        }
    }
}
