//! Locking.

use std::sync::{Mutex, MutexGuard, PoisonError};

/// Locks; a thread that panicked while holding it left nothing half done that the next one could not go on with.
pub(crate) fn locked<T>(mutex: &Mutex<T>) -> MutexGuard<'_, T> {
    mutex.lock().unwrap_or_else(PoisonError::into_inner)
}
