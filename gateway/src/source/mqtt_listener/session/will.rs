//! The will of a client: what is published when its connection ends without a DISCONNECT.

use tidegate_rules::event::Event;

use super::ClientSession;

impl ClientSession {
    /// The will as an event, if the client may publish there.
    pub fn take_will(&mut self) -> Option<Event> {
        let will = self.will.take()?;
        let allowed =
            self.check_publish(&will).is_ok() && self.access.may_publish(will.topic.as_str());
        allowed.then(|| self.event(will))
    }
}
