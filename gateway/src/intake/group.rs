//! One group of events on its way to the disk.

use std::sync::Arc;

use tidegate_rules::event::{Event, UnixMs};
use tidegate_store::{Append, Commit, LaneId, Route};
use tokio::sync::OwnedSemaphorePermit;

use super::dedup::DedupEntry;
use crate::event::ack::{Ack, Refusal, Verdict};
use crate::event::committed_log::Note;
use crate::event::record::{self, NOBODY, Routed, tags};

/// Events a group takes before it waits for the disk.
pub const GROUP_EVENTS_MAX: usize = 1024;
/// Bytes a group takes before it waits for the disk.
pub const GROUP_BYTES_MAX: usize = 512 * 1024;

/// Counts failed commits. A group evaluated before a failure it did not know of must not be
/// committed: it may hold repetitions of events that were never stored.
pub type Epoch = u64;

/// Events, their consequences, and everything to be settled with them.
#[derive(Default)]
pub struct CommitGroup {
    /// The failures known when this group was begun.
    pub epoch: Epoch,
    /// Records and marks for the store.
    pub commit: Commit,
    /// Settled after the commit, in the order of arrival.
    pub acks: Vec<Ack>,
    /// Shares of the inlet's byte budget, given back with the group.
    pub shares: Vec<OwnedSemaphorePermit>,
    /// What the dedup remembered for this group.
    pub seen: Vec<DedupEntry>,
    /// What subscribers must know of single records, by their number.
    pub notes: Vec<(usize, Note)>,
    /// Events of sources; the gateway's own and dead letters sent again are not among them.
    pub taken: u64,
    /// Of these, how many no rule sends anywhere.
    pub dropped: u64,
    /// Records routed, by lane.
    pub routed: Vec<(LaneId, u64)>,
    /// Whether one of its messages has an interval after which it expires.
    pub has_interval: bool,
    /// Payload bytes taken.
    pub payload_bytes: u64,
    buffer: Vec<u8>,
    routes: Vec<Route>,
    tags: Vec<u64>,
    /// Topic, source and type that `tags` are of: those of a sender's next event are mostly the same.
    tagged: Option<[Arc<str>; 3]>,
}

impl CommitGroup {
    /// Whether there is nothing to store and nobody to answer.
    pub fn is_empty(&self) -> bool {
        self.acks.is_empty() && self.commit.is_empty()
    }

    /// Whether the group may grow.
    pub fn has_room(&self) -> bool {
        self.acks.len() < GROUP_EVENTS_MAX && self.commit.bytes() < GROUP_BYTES_MAX
    }

    /// Notes what subscribers must know of the record that is added next.
    pub fn note(&mut self, note: Note) {
        self.notes.push((self.commit.len(), note));
    }

    /// Adds an event with its outputs.
    pub fn push(&mut self, event: &Event, outputs: &[Routed], now: UnixMs) {
        self.buffer.clear();
        record::encode(event, outputs, &mut self.buffer);
        self.routes.clear();
        for routed in outputs.iter().filter(|routed| routed.lane != NOBODY) {
            let route = Route {
                lane: routed.lane,
                class: routed.output.priority as u8,
            };
            if !self.routes.contains(&route) {
                self.routes.push(route);
            }
        }
        for route in &self.routes {
            match self.routed.iter_mut().find(|(lane, _)| *lane == route.lane) {
                Some((_, count)) => *count += 1,
                None => self.routed.push((route.lane, 1)),
            }
        }
        self.payload_bytes += event.data.len() as u64;
        self.has_interval |= event
            .mqtt
            .as_ref()
            .is_some_and(|mqtt| mqtt.expiry.is_some());
        self.tag(event);
        let append = Append {
            routes: &self.routes,
            time_ms: now.max(0) as u64,
            bytes: &self.buffer,
        };
        self.commit.push_tagged(append, &self.tags);
    }

    fn tag(&mut self, event: &Event) {
        let of = [&event.topic, &event.source, &event.kind];
        let same = |known: &[Arc<str>; 3]| {
            let mut both = known.iter().zip(of);
            both.all(|(known, of)| Arc::ptr_eq(known, of))
        };
        if !self.tagged.as_ref().is_some_and(same) {
            self.tags.clear();
            tags::of_event(event, &mut self.tags);
            self.tagged = Some(of.map(Arc::clone));
        }
    }

    /// Settles every ack: all of the group is on disk.
    pub fn accept_all(&mut self) {
        Ack::settle_all(self.acks.drain(..), Verdict::Stored);
    }

    /// Settles every ack: nothing of the group is on disk.
    pub fn refuse_all(&mut self, refusal: Refusal) {
        Ack::settle_all(self.acks.drain(..), Verdict::Refused(refusal));
    }

    /// Empties the group for its next use; acks still held are refused.
    pub fn clear(&mut self) {
        self.commit.clear();
        self.acks.clear();
        self.shares.clear();
        self.seen.clear();
        self.notes.clear();
        self.routed.clear();
        self.taken = 0;
        self.dropped = 0;
        self.payload_bytes = 0;
        self.has_interval = false;
    }
}

/// A group that comes back from the commit thread.
pub struct Done {
    /// To be cleared and used again.
    pub group: CommitGroup,
    /// Whether nothing of it was stored.
    pub failed: bool,
    /// Why, where it failed.
    pub refusal: Refusal,
    /// The failures so far, this one included.
    pub epoch: Epoch,
}
