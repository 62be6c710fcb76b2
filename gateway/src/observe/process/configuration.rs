//! What happens to the configuration while the gateway runs.

use std::path::Path;

use serde::{Deserialize, Serialize};
use serde_json::json;

use crate::observe::{Happening, SystemEvent};

/// What its troubles are about.
pub const SUBJECT: &str = "configuration";

/// Names of sources or upstreams that are others than before.
#[derive(Debug, Clone, Default, PartialEq, Eq, Serialize, Deserialize)]
pub struct Changes {
    /// They are new.
    pub added: Vec<String>,
    /// They are gone.
    pub removed: Vec<String>,
    /// They are there under other settings, certificates or secrets.
    pub changed: Vec<String>,
}

impl Changes {
    /// `+new -gone ~other`; `as before` where nothing is.
    pub fn text(&self) -> String {
        let signed = |sign: char, names: &[String]| {
            let signed = names.iter().map(|name| format!("{sign}{name}"));
            signed.collect::<Vec<_>>()
        };
        let all = [
            ('+', &self.added),
            ('-', &self.removed),
            ('~', &self.changed),
        ];
        let all = all.map(|(sign, names)| signed(sign, names)).concat();
        match all.is_empty() {
            true => "as before".to_owned(),
            false => all.join(" "),
        }
    }

    fn json(&self) -> serde_json::Value {
        json!({ "added": self.added, "removed": self.removed, "changed": self.changed })
    }
}

/// A configuration was read again and is in force.
pub struct ConfigurationTaken<'a> {
    /// The file.
    pub path: &'a Path,
    /// Its sources.
    pub sources: Changes,
    /// Its upstreams.
    pub upstreams: Changes,
    /// Its keys that need a restart.
    pub restart: &'a [String],
}

impl Happening for ConfigurationTaken<'_> {
    fn log(&self) {
        let (sources, upstreams) = (self.sources.text(), self.upstreams.text());
        tracing::info!(config = %self.path.display(), sources, upstreams, "configuration read again");
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.configuration.taken",
            subject: self.path.display().to_string(),
            data: json!({
                "sources": self.sources.json(),
                "upstreams": self.upstreams.json(),
                "restart_needed": self.restart,
            }),
        })
    }
}

/// A configuration was read again and cannot be taken.
pub struct ConfigurationRefused<'a> {
    /// The file.
    pub path: &'a Path,
    /// One short line each.
    pub errors: &'a [String],
}

impl Happening for ConfigurationRefused<'_> {
    fn log(&self) {
        tracing::error!(
            config = %self.path.display(),
            errors = self.errors.len(),
            "configuration refused, everything stays as it is; `tidegate check` shows each mistake:\n{}",
            self.errors.join("\n")
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.configuration.refused",
            subject: self.path.display().to_string(),
            data: json!({ "errors": self.errors }),
        })
    }
}
