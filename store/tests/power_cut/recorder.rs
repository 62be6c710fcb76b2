//! The log of file calls below one directory, with what the driver was promised in between.

use crate::disk::Op;
use std::path::{Path, PathBuf};
use std::sync::{Mutex, MutexGuard, PoisonError};

static RECORDED: Mutex<Option<PathBuf>> = Mutex::new(None);
static LOG: Mutex<Vec<Op>> = Mutex::new(Vec::new());

fn locked<T>(mutex: &'static Mutex<T>) -> MutexGuard<'static, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}

/// True for what lies below the recorded directory, and for itself.
pub(crate) fn is_recorded(path: &Path) -> bool {
    locked(&RECORDED)
        .as_ref()
        .is_some_and(|dir| path.starts_with(dir))
}

/// Does a call and logs it, one at a time, so that the log has them in the order in which they took effect.
pub(crate) fn record<T>(call: impl FnOnce(&mut Vec<Op>) -> T) -> T {
    call(&mut locked(&LOG))
}

/// Records what `work` does below `dir`.
pub(crate) fn recorded(dir: &Path, work: impl FnOnce()) -> Vec<Op> {
    locked(&LOG).clear();
    *locked(&RECORDED) = Some(dir.to_path_buf());
    work();
    *locked(&RECORDED) = None;
    std::mem::take(&mut locked(&LOG))
}

/// Notes that the driver knows of something from here on.
pub(crate) fn note(number: usize) {
    locked(&LOG).push(Op::Note(number));
}
