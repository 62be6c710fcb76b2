//! Dead letters, told by what they are of: a rule, a source, an upstream. A trouble as long as some are held, and another as
//! long as there are more than are kept.

use crate::observe::Observe;

/// What is reached where no more are kept.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Bound {
    /// `[dead_letters] max`
    Letters(u64),
    /// `[dead_letters] max_size`, or the share of the store that is theirs altogether.
    Bytes(u64),
    /// One that waits is larger by itself than those bytes.
    TooLarge {
        /// Its bytes.
        bytes: u64,
        /// The bound.
        max_bytes: u64,
    },
}

/// Where the bound of bytes comes from.
const BYTES_BOUND: &str =
    "[dead_letters] max_size; all together have an eighth of [store] max_size";

impl Observe {
    /// Tells how many are held of `owner`, and where more came than are kept, which bound that is and whether the others
    /// are dropped or wait.
    pub fn dead_letters_of(&self, owner: &str, held: u64, full: Option<(Bound, bool)>) {
        match held {
            0 => self.clear(owner, "dead letters"),
            _ => self.raise(
                owner,
                "dead letters",
                "some events are held as dead letters: `tidegate dead-letters list` shows why; retry or drop them",
            ),
        }
        let Some((bound, drops)) = full else {
            return self.clear(owner, "dead letters full");
        };
        let kib = |bytes: u64| bytes.div_ceil(1 << 10);
        let bound = match bound {
            Bound::Letters(letters) => format!("{letters} of them ([dead_letters] max)"),
            Bound::Bytes(bytes) => format!("{} KiB of them ({BYTES_BOUND})", kib(bytes)),
            Bound::TooLarge { bytes, max_bytes } => {
                let what = format!(
                    "one of {} KiB is to become a dead letter, and all of them may have {} KiB ({BYTES_BOUND}): however many \
                     you drop, it waits for ever, and what is behind it; raise the bound and start the gateway again",
                    kib(bytes),
                    kib(max_bytes)
                );
                return self.raise(owner, "dead letters full", &what);
            }
        };
        let others = match drops {
            true => "newer ones are dropped, and counted in gap records",
            false => "what would become one more waits, and what is behind it",
        };
        let what = format!(
            "it has as many dead letters as are kept, {bound}: {others}; retry or drop some"
        );
        self.raise(owner, "dead letters full", &what);
    }
}
