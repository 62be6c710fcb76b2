//! The proof at every start that sled's flush reaches the write barrier.

use super::failure::EngineError;
use super::shim;
use super::sled::flush_once;
use std::path::Path;
use std::sync::OnceLock;

/// Proves once per process that sled's flush reaches the barrier of `shim.rs` and not the C library's function: how the final
/// binary was linked decides that, so no compile-time check could. `scratch` is created and removed again; where there is
/// no room for it, the function is called without sled.
pub(crate) fn self_test(scratch: &Path) -> Result<(), String> {
    static RESULT: OnceLock<Result<(), String>> = OnceLock::new();
    RESULT.get_or_init(|| run(scratch)).clone()
}

fn run(scratch: &Path) -> Result<(), String> {
    let _ = std::fs::remove_dir_all(scratch);
    let before = shim::calls();
    let flushed = flush_once(scratch);
    let _ = std::fs::remove_dir_all(scratch);
    let reached = match flushed {
        Ok(()) => shim::calls() > before,
        // A full disk has no room for the scratch database.
        Err(EngineError::NoSpace(_)) => shim::is_linked(),
        Err(error) => {
            let scratch = scratch.display();
            return Err(format!(
                "the self-test database in {scratch} failed: {error}"
            ));
        }
    };
    if !reached {
        return Err(
            "flush() did not reach fdatasync: this binary was linked without the write barrier"
                .into(),
        );
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_function_that_sled_calls_is_the_barrier() {
        assert!(shim::is_linked());
    }

    #[test]
    fn a_flush_reaches_fdatasync() {
        let dir = tempfile::tempdir().unwrap();
        assert_eq!(run(&dir.path().join("scratch")), Ok(()));
        assert!(!dir.path().join("scratch").exists());
    }
}
