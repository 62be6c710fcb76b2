//! What happens to serial ports.

use std::path::Path;

use crate::observe::{Happening, SystemEvent};

/// A port was opened.
pub struct PortOpened<'a> {
    /// The source.
    pub source: &'a str,
    /// Where it is now.
    pub path: &'a Path,
}

impl Happening for PortOpened<'_> {
    fn log(&self) {
        tracing::info!(source = self.source, path = %self.path.display(), "serial port opened");
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.source.up",
            subject: self.source.into(),
            data: serde_json::json!({ "port": self.path }),
        })
    }
}

/// A port is not open yet; it is tried again until it is.
pub struct PortAbsent<'a> {
    /// The source.
    pub source: &'a str,
    /// Why it could not be opened.
    pub why: &'a str,
}

impl Happening for PortAbsent<'_> {
    fn log(&self) {
        tracing::warn!(
            source = self.source,
            why = self.why,
            "serial port not open, trying again"
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.source.down",
            subject: self.source.into(),
            data: serde_json::json!({ "why": self.why }),
        })
    }
}

/// A port vanished; it is opened again when it comes back.
pub struct PortLost<'a> {
    /// The source.
    pub source: &'a str,
    /// How the end showed.
    pub why: &'a str,
}

impl Happening for PortLost<'_> {
    fn log(&self) {
        tracing::warn!(source = self.source, why = self.why, "serial port lost");
    }

    fn system_event(&self) -> Option<SystemEvent> {
        Some(SystemEvent {
            kind: "dev.tidegate.source.down",
            subject: self.source.into(),
            data: serde_json::json!({ "why": self.why }),
        })
    }
}

/// A port that babbled is quiet again.
pub struct PortQuiet<'a> {
    /// The source.
    pub source: &'a str,
    /// How many log lines, hellos and reads were over its budget.
    pub left_out: u64,
}

impl Happening for PortQuiet<'_> {
    fn log(&self) {
        tracing::info!(
            source = self.source,
            left_out = self.left_out,
            "serial port quiet again"
        );
    }
}
