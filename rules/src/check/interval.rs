//! Ranges of numbers that conditions leave.

use std::collections::BTreeMap;

use crate::event::json::FieldId;
use crate::syntax::ast::Compare;

/// What is left of each field below the conditions so far.
pub(super) type Intervals = BTreeMap<FieldId, Interval>;

/// Numbers from `low` to `high`; an open end is not in it.
#[derive(Debug, Clone, Copy)]
pub(super) struct Interval {
    low: f64,
    low_open: bool,
    high: f64,
    high_open: bool,
}

impl Interval {
    pub(super) const ALL: Interval = Interval {
        low: f64::NEG_INFINITY,
        low_open: false,
        high: f64::INFINITY,
        high_open: false,
    };

    pub(super) fn is_empty(&self) -> bool {
        self.low > self.high || (self.low == self.high && (self.low_open || self.high_open))
    }

    pub(super) fn above(&mut self, low: f64, open: bool) {
        if low > self.low || (low == self.low && open) {
            (self.low, self.low_open) = (low, open);
        }
    }

    pub(super) fn below(&mut self, high: f64, open: bool) {
        if high < self.high || (high == self.high && open) {
            (self.high, self.high_open) = (high, open);
        }
    }

    pub(super) fn narrow(&mut self, operator: Compare, value: f64) {
        match operator {
            Compare::Equal => {
                self.above(value, false);
                self.below(value, false);
            }
            Compare::NotEqual => {}
            Compare::Less => self.below(value, true),
            Compare::LessEqual => self.below(value, false),
            Compare::Greater => self.above(value, true),
            Compare::GreaterEqual => self.above(value, false),
        }
    }
}
