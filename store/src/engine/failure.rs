//! What goes wrong beneath the store, in three kinds: no room, damaged, failed. A panic inside sled becomes one of them.

use crate::api::error::is_no_space;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind};

/// What went wrong inside sled. After any of them but `Damaged` from a read, the handle must not be used for writing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum EngineError {
    /// The disk or the quota is full.
    NoSpace(String),
    /// The files are not what sled wrote.
    Damaged(String),
    /// Any other failure of the disk.
    Failed(String),
}

impl std::fmt::Display for EngineError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            EngineError::NoSpace(what) => write!(f, "no space left: {what}"),
            EngineError::Damaged(what) => write!(f, "damaged: {what}"),
            EngineError::Failed(what) => write!(f, "{what}"),
        }
    }
}

impl From<io::Error> for EngineError {
    fn from(error: io::Error) -> EngineError {
        if is_no_space(&error) {
            EngineError::NoSpace(error.to_string())
        } else {
            EngineError::Failed(error.to_string())
        }
    }
}

/// Runs `work` and turns a panic inside sled into an error.
pub(crate) fn fenced<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    catch_unwind(AssertUnwindSafe(work)).unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(panicked(text))
    })
}

/// sled unwraps some I/O errors: those say so in the panic's text, all others speak of the files' content.
fn panicked(text: &str) -> EngineError {
    let why = format!("sled panicked: {text}");
    if ["StorageFull", "QuotaExceeded", "No space left"]
        .iter()
        .any(|sign| text.contains(sign))
    {
        EngineError::NoSpace(why)
    } else if text.contains("Os {") {
        EngineError::Failed(why)
    } else {
        EngineError::Damaged(why)
    }
}
