//! What goes wrong beneath the store, in three kinds: no room, damaged, failed. A panic inside sled becomes one of them.

use crate::api::error::is_no_space;
use std::cell::Cell;
use std::io;
use std::panic::{AssertUnwindSafe, catch_unwind, set_hook, take_hook};

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

thread_local! {
    /// Whether a panic of this thread becomes an error.
    static IS_FENCED: Cell<bool> = const { Cell::new(false) };
}

/// Has panics that become errors of the store, which are told, write no message of their own. For a whole program.
pub fn tell_no_fenced_panics() {
    let before = take_hook();
    set_hook(Box::new(move |panic| {
        if !IS_FENCED.get() {
            before(panic);
        }
    }));
}

/// Runs `work` and turns a panic inside sled into an error.
pub(crate) fn fenced<T>(work: impl FnOnce() -> Result<T, EngineError>) -> Result<T, EngineError> {
    let outer = IS_FENCED.replace(true);
    let ended = catch_unwind(AssertUnwindSafe(work));
    IS_FENCED.set(outer);
    ended.unwrap_or_else(|panic| {
        let text = panic.downcast_ref::<String>().map(String::as_str);
        let text = text
            .or_else(|| panic.downcast_ref::<&str>().copied())
            .unwrap_or("no message");
        Err(panicked(text))
    })
}

/// What the system said, where a panic quotes it: `Os { code: 5, kind: Other, message: "Input/output error" }`.
fn of_system(text: &str) -> Option<String> {
    let (_, rest) = text.split_once("Os { code: ")?;
    let code: i32 = rest.split(',').next()?.trim().parse().ok()?;
    Some(io::Error::from_raw_os_error(code).to_string())
}

/// sled unwraps some I/O errors: those say so in the panic's text, all others speak of the files' content.
fn panicked(text: &str) -> EngineError {
    let why = of_system(text).unwrap_or_else(|| format!("sled panicked: {text}"));
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_panic_that_quotes_the_system_is_told_in_its_words() {
        let of = |error: &str| format!("called `Result::unwrap()` on an `Err` value: {error}");
        let eio = of("Os { code: 5, kind: Uncategorized, message: \"Input/output error\" }");
        let failed = "Input/output error (os error 5)".to_owned();
        assert_eq!(panicked(&eio), EngineError::Failed(failed));
        let full = of("Os { code: 28, kind: StorageFull, message: \"No space left on device\" }");
        let no_space = "No space left on device (os error 28)".to_owned();
        assert_eq!(panicked(&full), EngineError::NoSpace(no_space));
        for other in ["index out of bounds", "Os { code: x }"] {
            let error = panicked(other);
            let said = format!("sled panicked: {other}");
            assert!(error.to_string().contains(&said), "{error}");
        }
    }
}
