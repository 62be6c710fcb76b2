//! Recognises what was stored before.
//!
//! Serial devices are remembered for ever by one durable mark per device, written in the same
//! commit as their events. Ids that senders give are remembered, each with what its event says, over a bounded window,
//! which is filled again from the log at start: another event under a known id is no repetition. Both know the difference between *durable* and *under
//! way*: a repetition of an event under way waits for its own group's commit, and a failed
//! commit makes the intake forget.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;

use tidegate_rules::event::Event;
use tidegate_store::{Commit, Sequence};

use crate::event::arrival::{Identity, SENDER_ID};
use crate::event::device_mark::{BootMark, Boots, device_mark_key};

/// Whether an event is new.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Seen {
    /// To be stored.
    New,
    /// Stored, or in a group under way: to be acknowledged with the current group.
    Again,
    /// New, but its id stands for another event: to be stored under an id of ours.
    Reused {
        /// Whether the other event is of the same sender; two senders may well count alike.
        same_sender: bool,
    },
    /// An earlier event of the device was refused, this one must be too: the device's mark says
    /// that everything up to it is stored.
    OutOfTurn,
    /// Of another node than the one whose events are stored under this name and boot.
    OtherNode,
    /// Of a device that nothing is stored of yet, and there are too many devices.
    TooManyDevices,
}

/// Something a group made the dedup remember.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum DedupEntry {
    /// An event with an id of its sender, by its fingerprint.
    Event(Fingerprint),
    /// A device's mark as it was before the group, to go back to.
    Device {
        /// The device.
        device: Arc<str>,
        /// Its boots before the group's first event of it.
        before: Boots,
    },
}

/// An event with an id of its sender, under keys of this process: a sender cannot aim at a collision, and by chance one is
/// out of reach.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Fingerprint {
    /// Source, sender and id, with what the event says.
    event: u128,
    /// Source, sender and id.
    of_sender: u64,
    /// Source and id: what a receiver tells events by.
    id: u64,
}

/// Reads an event of the log, if it is still there.
type ReadEvent = Box<dyn Fn(Sequence) -> Option<Arc<Event>> + Send>;

/// A durable event as the window counts it.
enum Remembered {
    Known(Fingerprint),
    /// One whose data is in the log.
    Unread {
        of_sender: u64,
        id: u64,
        sequence: Sequence,
    },
}

/// Devices remembered. A mark is never forgotten, so a line on which ever new devices appear must not fill the store.
pub const DEVICES_MAX: usize = 10_000;

/// One event's place among those of its device.
struct Place {
    mark: BootMark,
    former: u16,
    after: Option<u64>,
}

/// What was stored before, durable or under way.
pub struct Dedup {
    events: HashSet<u128>,
    /// How many of `events` bear an id: `of_sender` and `id` of their fingerprints.
    ids: HashMap<u64, u32>,
    durable: VecDeque<Remembered>,
    /// Large events recalled by their attributes alone, by `of_sender`: read when that comes again.
    unread: HashMap<u64, Vec<Sequence>>,
    /// Those that were read since.
    read: HashMap<(u64, Sequence), u128>,
    log: Option<ReadEvent>,
    window: usize,
    /// In front of the source of every event whose sender named none.
    own: String,
    devices: HashMap<Arc<str>, Boots>,
    keys: [RandomState; 2],
}

impl Dedup {
    /// A dedup of a gateway with this id that remembers `window` events.
    pub fn new(window: usize, gateway_id: &str) -> Dedup {
        Dedup {
            events: HashSet::new(),
            ids: HashMap::new(),
            own: format!("{gateway_id}/"),
            durable: VecDeque::new(),
            unread: HashMap::new(),
            read: HashMap::new(),
            log: None,
            window,
            devices: HashMap::new(),
            keys: [RandomState::new(), RandomState::new()],
        }
    }

    /// Remembers a durable event of the log; called for its last events at start, oldest first.
    /// One that is stored under an id of ours is known by its sender's id too.
    pub fn recall(&mut self, event: &Event) {
        for id in event.extension(SENDER_ID).into_iter().chain([&*event.id]) {
            let print = self.fingerprint(event, id);
            if self.insert(print) {
                self.keep_event(print);
            }
        }
    }

    /// Where events are read that were recalled by their attributes alone.
    #[must_use]
    pub fn with_log(
        mut self,
        read: impl Fn(Sequence) -> Option<Arc<Event>> + Send + 'static,
    ) -> Dedup {
        self.log = Some(Box::new(read));
        self
    }

    /// As [`Dedup::recall`], for a large event of which only the attributes are at hand.
    pub fn recall_unread(&mut self, event: &Event, sequence: Sequence) {
        for id in event.extension(SENDER_ID).into_iter().chain([&*event.id]) {
            let Fingerprint { of_sender, id, .. } = self.fingerprint(event, id);
            self.count_id(of_sender, id);
            self.unread.entry(of_sender).or_default().push(sequence);
            self.keep_remembered(Remembered::Unread {
                of_sender,
                id,
                sequence,
            });
        }
    }

    /// Reads what was recalled unread of this sender and id. What is not there any more cannot be compared: the event that
    /// asks is stored.
    fn read_alike(&mut self, of_sender: u64) {
        let alike = self.unread.remove(&of_sender).unwrap_or_default();
        for sequence in alike {
            let Some(event) = self.log.as_ref().and_then(|read| read(sequence)) else {
                continue;
            };
            for id in event.extension(SENDER_ID).into_iter().chain([&*event.id]) {
                let print = self.fingerprint(&event, id);
                if print.of_sender == of_sender && self.events.insert(print.event) {
                    self.read.insert((of_sender, sequence), print.event);
                }
            }
        }
    }

    /// Remembers a device's durable mark; called for each at start.
    pub fn recall_device(&mut self, device: &str, mark: &[u8]) {
        self.devices.insert(device.into(), Boots::from_bytes(mark));
    }

    /// Looks an event up. If it is new, it is remembered from now on: `entries` say so, to go back
    /// to where `commit`, which gets the device's mark, fails.
    pub fn seen(
        &mut self,
        event: &Event,
        identity: &Identity,
        entries: &mut Vec<DedupEntry>,
        commit: &mut Commit,
    ) -> Seen {
        match identity {
            Identity::None => Seen::New,
            Identity::Id { .. } => self.seen_id(event, entries),
            Identity::Device {
                device,
                boot,
                session,
                former,
                sequence,
                after,
                digest,
            } => {
                let place = Place {
                    mark: BootMark {
                        boot: *boot,
                        sequence: *sequence,
                        session: *session,
                        digest: *digest,
                    },
                    former: *former,
                    after: *after,
                };
                self.seen_device(device, &place, entries, commit)
            }
        }
    }

    fn seen_id(&mut self, event: &Event, entries: &mut Vec<DedupEntry>) -> Seen {
        let print = self.fingerprint(event, &event.id);
        self.read_alike(print.of_sender);
        let known = self.ids.contains_key(&print.id);
        let same_sender = self.ids.contains_key(&print.of_sender);
        if !self.insert(print) {
            return Seen::Again;
        }
        entries.push(DedupEntry::Event(print));
        match known {
            true => Seen::Reused { same_sender },
            false => Seen::New,
        }
    }

    /// Whether it was not there.
    fn insert(&mut self, print: Fingerprint) -> bool {
        let new = self.events.insert(print.event);
        if new {
            self.count_id(print.of_sender, print.id);
        }
        new
    }

    fn count_id(&mut self, of_sender: u64, id: u64) {
        for id in [of_sender, id] {
            *self.ids.entry(id).or_default() += 1;
        }
    }

    fn remove(&mut self, print: Fingerprint) {
        if self.events.remove(&print.event) {
            self.uncount_id(print.of_sender, print.id);
        }
    }

    fn uncount_id(&mut self, of_sender: u64, id: u64) {
        for id in [of_sender, id] {
            if let Some(count) = self.ids.get_mut(&id) {
                *count -= 1;
                if *count == 0 {
                    self.ids.remove(&id);
                }
            }
        }
    }

    fn seen_device(
        &mut self,
        device: &Arc<str>,
        place: &Place,
        entries: &mut Vec<DedupEntry>,
        commit: &mut Commit,
    ) -> Seen {
        if self.devices.len() >= DEVICES_MAX && !self.devices.contains_key(device) {
            return Seen::TooManyDevices;
        }
        let boots = self.devices.entry(Arc::clone(device)).or_default();
        let known = boots.mark(place.mark.boot);
        let of_former = |known: &BootMark| known.session != place.mark.session;
        if known.is_some_and(|known| of_former(&known) && known.session != place.former) {
            return Seen::OtherNode;
        }
        let mut highest = known.map(|known| known.sequence);
        if known.as_ref().is_some_and(of_former) {
            highest = highest.min(place.after);
        }
        if highest.is_some_and(|highest| place.mark.sequence <= highest) {
            return Seen::Again;
        }
        // `None` is less than any sequence.
        if highest < place.after {
            return Seen::OutOfTurn;
        }
        entries.push(DedupEntry::Device {
            device: Arc::clone(device),
            before: boots.clone(),
        });
        boots.advance(place.mark);
        if crate::intake::null_control::stores_device_marks() {
            let key = device_mark_key(device);
            commit.mark(&key, &boots.to_bytes());
        }
        Seen::New
    }

    /// The group is durable: its ids count towards the window from now on.
    pub fn keep(&mut self, marks: &[DedupEntry]) {
        for mark in marks {
            if let DedupEntry::Event(print) = mark {
                self.keep_event(*print);
            }
        }
    }

    /// The group is not durable: forgets it. Of several groups the latest is forgotten first, so
    /// that devices end up with their marks from before the oldest.
    pub fn forget_undurable(&mut self, marks: &[DedupEntry]) {
        for mark in marks.iter().rev() {
            match mark {
                DedupEntry::Event(print) => self.remove(*print),
                DedupEntry::Device { device, before } => {
                    self.devices.insert(Arc::clone(device), before.clone());
                }
            }
        }
    }

    fn keep_event(&mut self, print: Fingerprint) {
        self.keep_remembered(Remembered::Known(print));
    }

    fn keep_remembered(&mut self, event: Remembered) {
        self.durable.push_back(event);
        while self.durable.len() > self.window {
            match self.durable.pop_front() {
                Some(Remembered::Known(print)) => self.remove(print),
                Some(Remembered::Unread {
                    of_sender,
                    id,
                    sequence,
                }) => self.forget_unread(of_sender, id, sequence),
                None => {}
            }
        }
    }

    fn forget_unread(&mut self, of_sender: u64, id: u64, sequence: Sequence) {
        self.uncount_id(of_sender, id);
        if let Some(event) = self.read.remove(&(of_sender, sequence)) {
            self.events.remove(&event);
        }
        if let Some(alike) = self.unread.get_mut(&of_sender) {
            alike.retain(|unread| *unread != sequence);
            if alike.is_empty() {
                self.unread.remove(&of_sender);
            }
        }
    }

    /// That of an event under `id`. A source that is ours is shared by its publishers, who may count alike; a source
    /// that the sender names is the sender.
    fn fingerprint(&self, event: &Event, id: &str) -> Fingerprint {
        let sender = match event.source.starts_with(&self.own) {
            true => &*event.publisher,
            false => "",
        };
        let [high, low] = &self.keys;
        let identity = (&*event.source, sender, id);
        let said = (&*event.topic, &*event.kind, &event.subject, &event.data[..]);
        let of_sender = low.hash_one(identity);
        Fingerprint {
            event: u128::from(high.hash_one((identity, said))) << 64 | u128::from(of_sender),
            of_sender,
            id: low.hash_one((&*event.source, id)),
        }
    }
}

#[cfg(test)]
mod tests;
