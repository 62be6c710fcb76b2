//! Deliberate breaches of the promises, so that the tests that guard them can be seen to fail.
//!
//! Compiled in only with the cargo feature `null-controls`, which no other feature enables; in
//! every other build these functions are empty.

use crate::intake::group::Group;

/// Acknowledges before the commit, if `TIDEGATE_NULL_CONTROL=ack-before-commit`.
#[cfg(feature = "null-controls")]
pub(crate) fn before_commit(group: &mut Group) {
    if std::env::var("TIDEGATE_NULL_CONTROL").as_deref() == Ok("ack-before-commit") {
        group.accept_all();
        // Long enough for a kill to fall between the ack and the commit.
        std::thread::sleep(std::time::Duration::from_millis(20));
    }
}

/// Does nothing: the promises are kept.
#[cfg(not(feature = "null-controls"))]
pub(crate) fn before_commit(_group: &mut Group) {}
