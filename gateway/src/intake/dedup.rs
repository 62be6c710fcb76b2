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
use tidegate_store::Commit;

use crate::event::arrival::{Identity, SENDER_ID};
use crate::event::device_mark::{Boots, device_mark_key};

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

/// Devices remembered. A mark is never forgotten, so a line on which ever new devices appear must not fill the store.
pub const DEVICES_MAX: usize = 10_000;

/// One event's place among those of its device.
struct Place {
    boot: u64,
    session: u16,
    sequence: u64,
    after: Option<u64>,
}

/// What was stored before, durable or under way.
pub struct Dedup {
    events: HashSet<u128>,
    /// How many of `events` bear an id: `of_sender` and `id` of their fingerprints.
    ids: HashMap<u64, u32>,
    durable: VecDeque<Fingerprint>,
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
                sequence,
                after,
            } => {
                let place = Place {
                    boot: *boot,
                    session: *session,
                    sequence: *sequence,
                    after: *after,
                };
                self.seen_device(device, &place, entries, commit)
            }
        }
    }

    fn seen_id(&mut self, event: &Event, entries: &mut Vec<DedupEntry>) -> Seen {
        let print = self.fingerprint(event, &event.id);
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
            for id in [print.of_sender, print.id] {
                *self.ids.entry(id).or_default() += 1;
            }
        }
        new
    }

    fn remove(&mut self, print: Fingerprint) {
        if !self.events.remove(&print.event) {
            return;
        }
        for id in [print.of_sender, print.id] {
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
        let known = boots.mark(place.boot);
        if known.is_some_and(|known| known.session != 0 && known.session != place.session) {
            return Seen::OtherNode;
        }
        let highest = known.map(|known| known.sequence);
        if highest.is_some_and(|highest| place.sequence <= highest) {
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
        boots.advance(place.boot, place.sequence, place.session);
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
        self.durable.push_back(print);
        while self.durable.len() > self.window {
            if let Some(oldest) = self.durable.pop_front() {
                self.remove(oldest);
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
mod tests {
    use super::*;
    use crate::event::device_mark::BOOTS_PER_DEVICE_MAX;
    use crate::intake::group::CommitGroup;

    /// What the dedup says of event `sequence` of boot 1, which follows on `after`.
    fn offer(
        dedup: &mut Dedup,
        after: Option<u64>,
        sequence: u64,
        group: &mut CommitGroup,
    ) -> Seen {
        let place = Place {
            boot: 1,
            session: 5,
            sequence,
            after,
        };
        let (seen, commit) = (&mut group.seen, &mut group.commit);
        dedup.seen_device(&"node".into(), &place, seen, commit)
    }

    /// The first event of a boot.
    fn first_of(boot: u64, sequence: u64) -> Place {
        Place {
            boot,
            session: 5,
            sequence,
            after: None,
        }
    }

    #[test]
    fn after_a_refused_event_of_a_device_the_ones_behind_it_are_out_of_turn() {
        let (mut dedup, mut group) = (Dedup::new(8, "plant"), CommitGroup::default());
        assert_eq!(offer(&mut dedup, None, 0, &mut group), Seen::New);
        dedup.keep(&group.seen);
        let mut refused = CommitGroup::default();
        assert_eq!(offer(&mut dedup, Some(0), 1, &mut refused), Seen::New);
        dedup.forget_undurable(&refused.seen);
        let mut group = CommitGroup::default();
        assert_eq!(offer(&mut dedup, Some(1), 2, &mut group), Seen::OutOfTurn);
        assert!(group.seen.is_empty(), "nothing of it is remembered");
        assert_eq!(offer(&mut dedup, Some(0), 1, &mut group), Seen::New);
        assert_eq!(offer(&mut dedup, Some(1), 2, &mut group), Seen::New);
        assert_eq!(offer(&mut dedup, Some(0), 1, &mut group), Seen::Again);
    }

    #[test]
    fn the_first_event_of_a_boot_refused_leaves_nothing_to_follow_on() {
        let (mut dedup, mut group) = (Dedup::new(8, "plant"), CommitGroup::default());
        assert_eq!(offer(&mut dedup, None, 0, &mut group), Seen::New);
        dedup.forget_undurable(&group.seen);
        assert_eq!(offer(&mut dedup, Some(0), 1, &mut group), Seen::OutOfTurn);
        assert_eq!(offer(&mut dedup, None, 0, &mut group), Seen::New);
    }

    #[test]
    fn a_gap_may_be_followed_on() {
        let (mut dedup, mut group) = (Dedup::new(8, "plant"), CommitGroup::default());
        assert_eq!(offer(&mut dedup, None, 0, &mut group), Seen::New);
        assert_eq!(offer(&mut dedup, Some(0), 20, &mut group), Seen::New);
        assert_eq!(offer(&mut dedup, Some(20), 21, &mut group), Seen::New);
    }

    #[test]
    fn two_failed_groups_leave_the_marks_from_before_the_first() {
        let (mut dedup, device) = (Dedup::new(8, "plant"), Arc::from("node"));
        let mut durable = CommitGroup::default();
        for boot in 0..BOOTS_PER_DEVICE_MAX as u64 {
            let (seen, commit) = (&mut durable.seen, &mut durable.commit);
            dedup.seen_device(&device, &first_of(boot, 7), seen, commit);
        }
        let before = dedup.devices[&device].clone();
        let (mut first, mut second) = (CommitGroup::default(), CommitGroup::default());
        dedup.seen_device(&device, &first_of(8, 0), &mut first.seen, &mut first.commit);
        dedup.seen_device(
            &device,
            &first_of(9, 0),
            &mut second.seen,
            &mut second.commit,
        );
        dedup.forget_undurable(&second.seen);
        dedup.forget_undurable(&first.seen);
        assert_eq!(dedup.devices[&device], before);
    }

    #[test]
    fn another_node_under_the_same_name_and_boot_is_no_repetition() {
        let (mut dedup, mut group) = (Dedup::new(8, "plant"), CommitGroup::default());
        assert_eq!(offer(&mut dedup, None, 0, &mut group), Seen::New);
        for (sequence, after) in [(0, None), (1, Some(0)), (1, None)] {
            let place = Place {
                boot: 1,
                session: 6,
                sequence,
                after,
            };
            let (seen, commit) = (&mut group.seen, &mut group.commit);
            let found = dedup.seen_device(&"node".into(), &place, seen, commit);
            assert_eq!(found, Seen::OtherNode);
        }
        assert_eq!(offer(&mut dedup, Some(0), 1, &mut group), Seen::New);
        // A mark of a version that kept no sessions: whoever comes first is the node.
        let old: Vec<u8> = [1u64, 7].iter().flat_map(|n| n.to_be_bytes()).collect();
        dedup.recall_device("node", &old);
        assert_eq!(offer(&mut dedup, Some(6), 7, &mut group), Seen::Again);
        assert_eq!(offer(&mut dedup, Some(7), 8, &mut group), Seen::New);
        let place = Place {
            session: 6,
            ..first_of(1, 9)
        };
        let found = dedup.seen_device(&"node".into(), &place, &mut group.seen, &mut group.commit);
        assert_eq!(found, Seen::OtherNode);
    }

    #[test]
    fn devices_are_bounded_and_those_that_are_known_go_on() {
        let (mut dedup, mut group) = (Dedup::new(8, "plant"), CommitGroup::default());
        let name = |number: usize| Arc::from(format!("node-{number}"));
        for number in 0..2 * DEVICES_MAX {
            let (seen, commit) = (&mut group.seen, &mut group.commit);
            let found = dedup.seen_device(&name(number), &first_of(1, 0), seen, commit);
            let expected = match number < DEVICES_MAX {
                true => Seen::New,
                false => Seen::TooManyDevices,
            };
            assert_eq!(found, expected);
            group.clear();
        }
        let (seen, commit) = (&mut group.seen, &mut group.commit);
        let found = dedup.seen_device(&name(0), &first_of(1, 1), seen, commit);
        assert_eq!((found, dedup.devices.len()), (Seen::New, DEVICES_MAX));
    }
}
