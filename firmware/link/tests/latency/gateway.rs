//! A gateway that keeps a mark of each boot with the session that it came in, as the real one does, and turns away who
//! may be another node.

use std::collections::VecDeque;

use tidegate_link::frame::FRAME_SIZE_MAX;
use tidegate_link::message::{Hello, WINDOW};
use tidegate_link::schema::read_value;
use tidegate_link::{Body, DurableMark, EventId, HostLink, Incoming, Kind, Sequence, Value};

const COMMIT_MS: u64 = 10;

/// A boot of which something is stored.
#[derive(Clone, Copy, Debug)]
struct BootMark {
    last: EventId,
    session: u16,
}

/// What is handed on and not yet stored.
#[derive(Clone, Copy, Debug)]
enum Pending {
    Record(EventId, i64),
    Gap(EventId, u32),
}

/// What outlives a gateway.
#[derive(Default)]
pub(super) struct Store {
    /// The boot that began to be stored last comes first.
    marks: Vec<BootMark>,
    /// Number, value of each record and, without a value, the missing ones.
    pub(super) stored: Vec<(EventId, u32, Option<i64>)>,
}

pub(super) struct Gateway {
    link: HostLink,
    pending: VecDeque<(u64, Pending)>,
    /// The node that was asked for its clock.
    asked: Option<u32>,
    schema_known: bool,
    /// How often a node was taken for another one.
    pub(super) turned_away: u32,
}

impl Gateway {
    pub(super) fn new(nonce: u16) -> Self {
        Self {
            link: HostLink::new(nonce),
            pending: VecDeque::new(),
            asked: None,
            schema_known: false,
            turned_away: 0,
        }
    }

    pub(super) fn receive(&mut self, mut bytes: &[u8], store: &mut Store, now_ms: u64) {
        while let Some(incoming) = self.link.receive(&mut bytes, now_ms) {
            let pending = match incoming {
                Incoming::Hello(hello) => {
                    // Everything that was handed on is settled before.
                    self.pending
                        .iter_mut()
                        .for_each(|(due_ms, _)| *due_ms = now_ms);
                    let hello = Hello {
                        firmware: "",
                        ..hello
                    };
                    self.greet(hello, store, now_ms);
                    continue;
                }
                Incoming::Time { boot, .. } => {
                    self.clock_told(boot, store, now_ms);
                    continue;
                }
                Incoming::Event {
                    id,
                    body: Body::Readings { mut values, .. },
                    ..
                } => match read_value(Kind::Integer { exponent: 0 }, &mut values) {
                    Some(Value::Integer(value)) => Pending::Record(id, value),
                    other => panic!("not a reading: {other:?}"),
                },
                Incoming::SchemaField { .. } => {
                    self.schema_known = true;
                    continue;
                }
                Incoming::Gap { last, count } => Pending::Gap(last, count),
                _ => continue,
            };
            self.pending.push_back((now_ms + COMMIT_MS, pending));
        }
    }

    fn greet(&mut self, hello: Hello<'static>, store: &mut Store, now_ms: u64) {
        self.commit(store, now_ms);
        self.asked = None;
        let Some(mark) = store.marks.iter().find(|mark| mark.last.boot == hello.boot) else {
            return self.resume(None, None, now_ms);
        };
        let first = mark.last.sequence.next();
        let is_latest = store.marks[0].last.boot == hello.boot;
        if hello.session == mark.session && is_latest {
            return self.resume(Some(mark.session), Some(DurableMark(mark.last)), now_ms);
        }
        let again = match hello.oldest.is_before(first) {
            true => first.since(hello.oldest),
            false => 0,
        };
        if hello.next.is_before(first) || again >= WINDOW.into() || !is_latest {
            self.turned_away += 1;
            return self.link.turn_away(now_ms);
        }
        self.link.ask_clock(now_ms);
        self.asked = Some(hello.boot);
    }

    /// Only a node that runs in a later boot has records of this one from its flash. These here have none.
    fn clock_told(&mut self, boot: u32, store: &mut Store, now_ms: u64) {
        let Some(asked) = self.asked.take() else {
            return;
        };
        if boot == asked {
            self.turned_away += 1;
            return self.link.turn_away(now_ms);
        }
        let mark = store.marks.iter().find(|mark| mark.last.boot == asked);
        let mark = mark.map(|mark| DurableMark(mark.last));
        let session = self.link.mint();
        self.resume(Some(session), mark, now_ms);
    }

    fn resume(&mut self, session: Option<u16>, mark: Option<DurableMark>, now_ms: u64) {
        let known = self.schema_known;
        let resumed = match session {
            Some(session) => self.link.resume_in(session, mark, known, now_ms),
            None => self.link.resume(mark, known, now_ms),
        };
        if resumed.is_err() {
            self.turned_away += 1;
            self.link.turn_away(now_ms);
        }
    }

    /// Stores what is due.
    pub(super) fn commit(&mut self, store: &mut Store, now_ms: u64) {
        while let Some((_, pending)) = self.pending.pop_front_if(|(due_ms, _)| *due_ms <= now_ms) {
            let (id, count, value) = match pending {
                Pending::Record(id, value) => (id, 1, Some(value)),
                Pending::Gap(id, count) => (id, count, None),
            };
            store.stored.push((id, count, value));
            let mark = BootMark {
                last: id,
                session: self.link.session(),
            };
            match store.marks.iter_mut().find(|m| m.last.boot == id.boot) {
                Some(known) => *known = mark,
                None => store.marks.insert(0, mark),
            }
            self.link.acknowledge(id);
        }
    }

    /// The frames that it sends now.
    pub(super) fn transmit(&mut self, now_ms: u64) -> Vec<Vec<u8>> {
        let (mut buffer, mut frames) = ([0; FRAME_SIZE_MAX], Vec::new());
        while let Some(frame) = self.link.transmit(now_ms, &mut buffer) {
            frames.push(frame.to_vec());
        }
        frames
    }

    pub(super) fn is_running(&self) -> bool {
        self.link.is_running()
    }
}

impl Store {
    /// What is wrong with what is stored of a boot that let go of so many records, if anything.
    pub(super) fn fault_of(&self, boot: u32, released: u32) -> Option<String> {
        let mut next = Sequence(0);
        for (id, count, value) in self.stored.iter().filter(|(id, ..)| id.boot == boot) {
            if value.is_some_and(|value| value != super::content(boot, id.sequence.0)) {
                return Some(format!("invented {id:?}"));
            }
            let begins = id.sequence.minus(count - 1);
            if begins != next {
                return Some(format!("{begins:?} instead of {next:?} of boot {boot}"));
            }
            next = id.sequence.next();
        }
        (next.0 < released).then(|| format!("{} of {released} of boot {boot} are stored", next.0))
    }
}
