//! Who asks for the configuration to be read again, and what they are told.

use serde::{Deserialize, Serialize};
use tokio::sync::oneshot;

use crate::observe::audit::who::Who;
use crate::observe::process::configuration::Changes;

/// What came of reading the configuration again.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct ReloadReport {
    /// The file.
    pub config: String,
    /// What is wrong with it, a line each: then everything stays as it was.
    pub refused: Vec<String>,
    /// Its sources.
    pub sources: Changes,
    /// Its upstreams.
    pub upstreams: Changes,
    /// Its keys that need a restart.
    pub restart_needed: Vec<String>,
    /// Some of it could not be taken yet and is tried again; troubles say which.
    pub is_behind: bool,
}

/// Somebody asks for it, and waits for the report.
#[derive(Debug)]
pub struct ReloadRequest {
    /// Who asks.
    pub who: Who,
    /// Where the report goes.
    pub report: oneshot::Sender<ReloadReport>,
}
