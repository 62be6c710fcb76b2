//! The will of a client: what is published when its connection ends without a DISCONNECT.

use super::ClientSession;
use crate::event::ack::Ack;
use crate::event::arrival::{Arrival, Identity, KeptPayload};

impl ClientSession {
    /// The will as an arrival; one that may not be published is set aside, for the client that
    /// could be told is gone.
    pub fn take_will(&mut self) -> Option<Arrival> {
        let will = self.will.take()?;
        let objection = self.objection(&will, will.payload.len() as u64);
        let at_most_once = will.qos == 0;
        let (event, excess) = self.event(will);
        let objection = objection.or(excess);
        let arrival = match objection.or_else(|| self.posing(&event)) {
            None => Arrival {
                event,
                ack: Ack::none(),
                identity: Identity::None,
                at_most_once,
                set_aside: None,
            },
            Some(objection) => {
                self.tell_of(&objection, &event.topic);
                let payload = KeptPayload::of(&event.data);
                let why = format!("the client's will is not taken: {}", objection.why);
                Arrival::set_aside(event, payload, &why, &self.source, Ack::none())
            }
        };
        Some(arrival)
    }
}
