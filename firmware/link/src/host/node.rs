//! The node at the other end, as it introduced itself.

use crate::incoming::EventId;
use crate::message::{BootId, DeviceId, Hello, SessionId};
use crate::sequence::Sequence;

/// A node as it introduced itself.
#[derive(Clone, Copy, Debug)]
pub(super) struct Node {
    pub(super) device: DeviceId,
    pub(super) boot: BootId,
    /// The session it says it is in; 0 for none.
    pub(super) session: SessionId,
    pub(super) schema: u32,
    pub(super) oldest: Sequence,
    pub(super) next: Sequence,
    pub(super) lost: u32,
}

impl Node {
    pub(super) fn new(hello: &Hello<'_>) -> Self {
        let Hello {
            device,
            boot,
            session,
            schema,
            oldest,
            next,
            lost,
            ..
        } = *hello;
        Self {
            device,
            boot,
            session,
            schema,
            oldest,
            next,
            lost,
        }
    }

    /// Whether a later hello may be of the same node in the same state, with more records made and let go.
    pub(super) fn goes_on_as(&self, later: &Hello<'_>) -> bool {
        self.is_of(later)
            && self.session == later.session
            && !later.oldest.is_before(self.oldest)
            && !later.next.is_before(self.next)
    }

    pub(super) fn is_of(&self, hello: &Hello<'_>) -> bool {
        (self.device, self.boot) == (hello.device, hello.boot)
    }

    pub(super) fn id(&self, sequence: Sequence) -> EventId {
        EventId {
            device: self.device,
            boot: self.boot,
            sequence,
        }
    }
}
