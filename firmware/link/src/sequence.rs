//! Sequence numbers of one boot: 32 bits, compared so that the wrap from the highest to zero is a step like any other.

use serde::{Deserialize, Serialize};

/// The number of a record within one boot of one node.
///
/// Two numbers are comparable as long as they are less than 2^31 apart (RFC 1982); a ring holds far fewer records.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, Default, Serialize, Deserialize)]
pub struct Sequence(pub u32);

impl Sequence {
    /// The number after this one.
    pub const fn next(self) -> Self {
        self.plus(1)
    }

    /// The number `count` steps later.
    pub const fn plus(self, count: u32) -> Self {
        Self(self.0.wrapping_add(count))
    }

    /// The number `count` steps earlier.
    pub const fn minus(self, count: u32) -> Self {
        Self(self.0.wrapping_sub(count))
    }

    /// Steps from `earlier` to this one.
    pub const fn since(self, earlier: Self) -> u32 {
        self.0.wrapping_sub(earlier.0)
    }

    /// Whether this one comes before `other`.
    pub const fn is_before(self, other: Self) -> bool {
        let ahead = other.since(self);
        ahead != 0 && ahead < 1 << 31
    }
}

#[cfg(test)]
mod tests {
    use super::Sequence;

    #[test]
    fn the_wrap_is_a_step_like_any_other() {
        let last = Sequence(u32::MAX);
        assert_eq!(last.next(), Sequence(0));
        assert!(last.is_before(Sequence(0)));
        assert!(!Sequence(0).is_before(last));
        assert_eq!(Sequence(2).since(last), 3);
        assert_eq!(Sequence(2).minus(3), last);
    }

    #[test]
    fn a_number_is_not_before_itself() {
        assert!(!Sequence(7).is_before(Sequence(7)));
    }
}
