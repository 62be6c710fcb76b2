//! Deliberate breaches of the promises, so that the tests that guard them can be seen to fail.
//!
//! Compiled in only with the cargo feature `null-controls`, which no other feature enables; in
//! every other build nothing can be asked for.

/// What `TIDEGATE_NULL_CONTROL` asks for.
#[cfg(feature = "null-controls")]
fn asks_for(breach: &str) -> bool {
    std::env::var("TIDEGATE_NULL_CONTROL").as_deref() == Ok(breach)
}

/// Nothing can be asked for.
#[cfg(not(feature = "null-controls"))]
fn asks_for(_breach: &str) -> bool {
    false
}

/// Long enough for a kill to fall into it.
fn pause() {
    std::thread::sleep(std::time::Duration::from_millis(20));
}

/// Lets acknowledge before the commit, if asked for `ack-before-commit`.
pub(crate) fn before_commit(acknowledge: impl FnOnce()) {
    if asks_for("ack-before-commit") {
        acknowledge();
        pause();
    }
}

/// Whether the marks of devices are stored: not if asked for `no-device-marks`.
pub(crate) fn stores_device_marks() -> bool {
    !asks_for("no-device-marks")
}

/// Waits between a commit and its acks, where that does harm.
pub(crate) fn after_commit() {
    if !stores_device_marks() {
        pause();
    }
}
