//! Events that are not taken now: counted, and why, as the status says it.

use super::SourceMetrics;

impl SourceMetrics {
    /// An event could not be stored and was not acknowledged.
    pub fn refused(&self) {
        self.0.refused.inc();
    }

    /// Why events are refused just now, as their senders are told it.
    pub fn why_refused(&self) -> String {
        self.0.refusing.words()
    }
}
