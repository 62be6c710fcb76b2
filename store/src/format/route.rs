//! A route as one byte, and the routes of many records as one mask of lanes for each class.

use crate::LaneId;
use crate::api::limits::CLASSES;

/// The lanes that records are routed to, per class.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct RouteMasks(pub(crate) [u64; CLASSES]);

impl RouteMasks {
    pub(crate) fn add(&mut self, route: u8) {
        let (lane, class) = route_parts(route);
        self.0[usize::from(class)] |= 1 << lane;
    }

    pub(crate) fn contains(&self, lane: LaneId, class: u8) -> bool {
        self.0
            .get(usize::from(class))
            .is_some_and(|mask| mask >> lane & 1 == 1)
    }
}

/// One byte for a route: class in the upper two bits, lane in the lower six.
pub(crate) fn route_byte(lane: LaneId, class: u8) -> u8 {
    class << 6 | (lane as u8 & 0x3f)
}

/// The lane and class of a route byte.
pub(crate) fn route_parts(route: u8) -> (LaneId, u8) {
    (LaneId::from(route & 0x3f), route >> 6)
}
