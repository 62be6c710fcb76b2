//! What happens to the rules in force.

use std::path::Path;

use super::{Happening, SystemEvent};

/// A new set of rules took effect.
pub struct RulesActivated<'a> {
    /// Counts activations since the start.
    pub generation: u64,
    /// Of the texts.
    pub fingerprint: &'a str,
    /// How many rules it has.
    pub rules: usize,
    /// How many warnings the check gave.
    pub warnings: usize,
}

impl Happening for RulesActivated<'_> {
    fn log(&self) {
        tracing::info!(
            generation = self.generation,
            fingerprint = self.fingerprint,
            rules = self.rules,
            warnings = self.warnings,
            "rules activated"
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.rules.activated",
            subject: self.fingerprint.into(),
            data: serde_json::json!({ "generation": self.generation, "rules": self.rules }),
        })
    }
}

/// A changed folder has mistakes; the last good set goes on.
pub struct RulesRefused<'a> {
    /// The folder.
    pub folder: &'a Path,
    /// The generation that goes on.
    pub generation: u64,
    /// One short line each.
    pub errors: &'a [String],
}

impl Happening for RulesRefused<'_> {
    fn log(&self) {
        tracing::error!(
            folder = %self.folder.display(),
            generation = self.generation,
            errors = self.errors.len(),
            "rules refused, the last good set goes on; `tidegate rules check` shows each mistake:\n{}",
            self.errors.join("\n")
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.rules.refused",
            subject: self.folder.display().to_string(),
            data: serde_json::json!({ "generation": self.generation, "errors": self.errors }),
        })
    }
}
