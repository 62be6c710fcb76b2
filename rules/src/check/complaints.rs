//! What was complained about so far, in bounded memory: an error is never lost behind warnings.

use crate::diagnostic::{Diagnostic, Severity};

/// How many errors, and how many warnings, about meaning are kept.
const EACH_MAX: usize = 500;

/// Complaints about meaning. Who makes more mistakes than are kept mends the first ones first.
#[derive(Default)]
pub(super) struct Complaints {
    errors: Vec<Diagnostic>,
    warnings: Vec<Diagnostic>,
    /// The last one that was not kept.
    beyond: Option<Diagnostic>,
}

impl Complaints {
    /// Whether one more is kept.
    pub(super) fn has_room(&self, severity: Severity) -> bool {
        match severity {
            Severity::Error => self.errors.len() < EACH_MAX,
            Severity::Warning => self.warnings.len() < EACH_MAX,
        }
    }

    pub(super) fn has_error(&self) -> bool {
        !self.errors.is_empty()
    }

    /// Keeps one, if there is room for it.
    pub(super) fn keep(&mut self, complaint: Diagnostic) -> &mut Diagnostic {
        if !self.has_room(complaint.severity) {
            return self.beyond.insert(complaint);
        }
        let all = match complaint.severity {
            Severity::Error => &mut self.errors,
            Severity::Warning => &mut self.warnings,
        };
        let place = all.len();
        all.push(complaint);
        &mut all[place]
    }

    pub(super) fn into_all(self) -> Vec<Diagnostic> {
        [self.errors, self.warnings].concat()
    }
}
