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
                sequence,
                after,
            } => self.seen_device(device, *boot, (*after, *sequence), entries, commit),
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
        boot: u64,
        (after, sequence): (Option<u64>, u64),
        entries: &mut Vec<DedupEntry>,
        commit: &mut Commit,
    ) -> Seen {
        let boots = self.devices.entry(Arc::clone(device)).or_default();
        let highest = boots.sequence(boot);
        if highest.is_some_and(|highest| sequence <= highest) {
            return Seen::Again;
        }
        // `None` is less than any sequence.
        if highest < after {
            return Seen::OutOfTurn;
        }
        entries.push(DedupEntry::Device {
            device: Arc::clone(device),
            before: boots.clone(),
        });
        boots.advance(boot, sequence);
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
        dedup.seen_device(
            &"node".into(),
            1,
            (after, sequence),
            &mut group.seen,
            &mut group.commit,
        )
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

    fn event(id: &str, data: &str) -> Event {
        Event {
            id: id.into(),
            source: "camera".into(),
            kind: "picture".into(),
            subject: None,
            topic: "yard".into(),
            publisher: "".into(),
            time: None,
            received: 1,
            content_type: None,
            schema: None,
            extensions: Vec::new(),
            data: bytes::Bytes::copy_from_slice(data.as_bytes()),
        }
    }

    /// A dedup that knows some events of the log unread: sequence n has the n-th id of `log` and its data.
    fn recalled(window: usize, log: &'static [(&str, Option<&str>)]) -> Dedup {
        let read = |sequence: Sequence| {
            let (id, data) = log[sequence as usize];
            data.map(|data| Arc::new(event(id, data)))
        };
        let mut dedup = Dedup::new(window, "plant").with_log(read);
        for (sequence, (id, _)) in (0..).zip(log) {
            dedup.recall_unread(&event(id, ""), sequence);
        }
        dedup
    }

    #[test]
    fn what_was_recalled_unread_is_read_when_its_id_comes_again() {
        let same_sender = true;
        let reused = Seen::Reused { same_sender };
        let log = &[
            ("a", Some("one")),
            ("b", Some("two")),
            ("a", Some("three")),
            ("gone", None),
        ];
        let cases = [
            ("a", "one", Seen::Again),
            ("a", "three", Seen::Again),
            ("a", "four", reused),
            ("b", "two", Seen::Again),
            ("b", "one", reused),
            // It cannot be compared any more: stored rather than lost.
            ("gone", "one", reused),
            ("new", "one", Seen::New),
        ];
        for (id, data, expected) in cases {
            let (mut dedup, mut entries) = (recalled(8, log), Vec::new());
            assert_eq!(
                dedup.seen_id(&event(id, data), &mut entries),
                expected,
                "{id} {data}"
            );
            assert_eq!(dedup.seen_id(&event(id, data), &mut entries), Seen::Again);
        }
        // Those that the window has no room for are forgotten, read or not.
        for read_before in [false, true] {
            let (mut dedup, mut entries) = (recalled(4, log), Vec::new());
            if read_before {
                assert_eq!(dedup.seen_id(&event("a", "one"), &mut entries), Seen::Again);
            }
            for number in 0..4 {
                dedup.recall(&event(&format!("later {number}"), ""));
            }
            for (id, data) in [("a", "one"), ("b", "two"), ("gone", "one")] {
                assert_eq!(
                    dedup.seen_id(&event(id, data), &mut entries),
                    Seen::New,
                    "{id}"
                );
            }
            assert!(dedup.unread.is_empty() && dedup.read.is_empty());
        }
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
            dedup.seen_device(
                &device,
                boot,
                (None, 7),
                &mut durable.seen,
                &mut durable.commit,
            );
        }
        let before = dedup.devices[&device].clone();
        let (mut first, mut second) = (CommitGroup::default(), CommitGroup::default());
        dedup.seen_device(&device, 8, (None, 0), &mut first.seen, &mut first.commit);
        dedup.seen_device(&device, 9, (None, 0), &mut second.seen, &mut second.commit);
        dedup.forget_undurable(&second.seen);
        dedup.forget_undurable(&first.seen);
        assert_eq!(dedup.devices[&device], before);
    }
}
