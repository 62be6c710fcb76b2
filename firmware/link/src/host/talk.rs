//! The conversation with one node: all of the gateway's half but its bytes.

use crate::counters::{Counters, count};
use crate::incoming::{EventId, Mark, ResumeError};
use crate::message::{BootId, DeviceId, Hello, Session, ToDevice, ToGateway};
use crate::schema::FIELD_COUNT_MAX;
use crate::sequence::Sequence;

/// How often the gateway asks who is there, in ms.
pub const DISCOVER_MS: u64 = 1_000;
/// How long a schema request or a welcome waits for its answer, in ms.
pub const ANSWER_MS: u64 = 500;
/// How often the node's clock is read, in ms.
pub const TIME_MS: u64 = 10_000;
/// How long a request to go back waits before it is repeated, in ms.
pub const RESEND_MS: u64 = 100;

/// A node as it introduced itself.
#[derive(Clone, Copy, Debug)]
struct Peer {
    device: DeviceId,
    boot: BootId,
    schema: u32,
    oldest: Sequence,
    next: Sequence,
    lost: u32,
}

impl Peer {
    fn new(hello: &Hello<'_>) -> Self {
        let Hello {
            device,
            boot,
            schema,
            oldest,
            next,
            lost,
            ..
        } = *hello;
        Self {
            device,
            boot,
            schema,
            oldest,
            next,
            lost,
        }
    }

    fn id(&self, sequence: Sequence) -> EventId {
        EventId {
            device: self.device,
            boot: self.boot,
            sequence,
        }
    }
}

#[derive(Clone, Copy, Debug, PartialEq)]
enum State {
    /// Nobody known, or nobody acceptable.
    Searching,
    /// Known; the caller has not resumed.
    Identified,
    /// Fetching this field of the schema before the welcome.
    FetchingSchema(u8),
    /// Welcomed; no event has come yet.
    Welcoming,
    /// Events come.
    Running,
}

/// What to hand on of a message that is still in the decoder.
pub(super) enum Verdict {
    Hello,
    Event(EventId),
    Gap(Gap),
    Time { sent_ms: u64, received_ms: u64 },
    SchemaField,
    Log,
    BootReused(EventId),
}

#[derive(Clone, Copy, Debug)]
pub(super) struct Gap {
    pub(super) last: EventId,
    pub(super) count: u32,
}

/// The conversation with one node: all of the half but its bytes.
#[derive(Debug)]
pub(super) struct Talk {
    state: State,
    peer: Option<Peer>,
    session: Session,
    /// The next record to hand on.
    expected: Sequence,
    /// The first record that is not durable.
    undurable: Sequence,
    /// Found on resuming, to be handed on first.
    pub(super) gap: Option<Gap>,
    /// When the present state asks (again) for what it waits for.
    ask_at_ms: u64,
    ack_due: bool,
    refuse_ms: Option<u32>,
    resend_due: bool,
    /// A request to go back does not leave before.
    resend_from_ms: u64,
    time_token: u16,
    time_sent_ms: Option<u64>,
    time_at_ms: u64,
    pub(super) heard_ms: Option<u64>,
}

impl Talk {
    pub(super) fn new(nonce: u16) -> Self {
        Self {
            state: State::Searching,
            peer: None,
            session: nonce.max(1),
            expected: Sequence(0),
            undurable: Sequence(0),
            gap: None,
            ask_at_ms: 0,
            ack_due: false,
            refuse_ms: None,
            resend_due: false,
            resend_from_ms: 0,
            time_token: nonce,
            time_sent_ms: None,
            time_at_ms: 0,
            heard_ms: None,
        }
    }

    pub(super) fn judge(
        &mut self,
        message: &ToGateway<'_>,
        now_ms: u64,
        counters: &mut Counters,
    ) -> Option<Verdict> {
        match *message {
            ToGateway::Hello(ref hello) => self.meet(hello, now_ms, counters),
            ToGateway::Event {
                session, sequence, ..
            } => self.take_event(session, sequence, now_ms, counters),
            ToGateway::TimeReply { token, .. } if token == self.time_token => {
                let sent_ms = self.time_sent_ms.take()?;
                Some(Verdict::Time {
                    sent_ms,
                    received_ms: now_ms,
                })
            }
            ToGateway::TimeReply { .. } => None,
            ToGateway::SchemaField {
                key, index, count, ..
            } => self.take_field(key, index, count, now_ms),
            ToGateway::Log { .. } => Some(Verdict::Log),
        }
    }

    fn meet(&mut self, hello: &Hello<'_>, now_ms: u64, counters: &mut Counters) -> Option<Verdict> {
        let known = self
            .peer
            .is_some_and(|peer| peer.device == hello.device && peer.boot == hello.boot);
        self.peer = Some(Peer::new(hello));
        if !known || matches!(self.state, State::Searching) {
            self.state = State::Identified;
            self.session = self.session.checked_add(1).unwrap_or(1);
            (self.gap, self.refuse_ms, self.ack_due, self.resend_due) = (None, None, false, false);
            self.time_at_ms = now_ms;
            return Some(Verdict::Hello);
        }
        if !self.is_running() {
            return None;
        }
        if hello.next.is_before(self.expected) {
            return Some(self.turn_away(hello));
        }
        if hello.session != self.session {
            (self.state, self.ask_at_ms) = (State::Welcoming, now_ms);
        }
        self.skip_to(hello.oldest, counters).map(Verdict::Gap)
    }

    fn turn_away(&mut self, hello: &Hello<'_>) -> Verdict {
        self.state = State::Searching;
        Verdict::BootReused(EventId {
            device: hello.device,
            boot: hello.boot,
            sequence: hello.next,
        })
    }

    /// The node holds nothing before `oldest`.
    fn skip_to(&mut self, oldest: Sequence, counters: &mut Counters) -> Option<Gap> {
        if !self.expected.is_before(oldest) {
            return None;
        }
        let missing = oldest.since(self.expected);
        self.expected = oldest;
        counters.lost = counters.lost.saturating_add(missing);
        Some(Gap {
            last: self.peer?.id(oldest.minus(1)),
            count: missing,
        })
    }

    pub(super) fn resume(
        &mut self,
        mark: Option<Mark>,
        schema_known: bool,
        now_ms: u64,
        counters: &mut Counters,
    ) -> Result<(), ResumeError> {
        let peer = match self.peer {
            Some(peer) if self.state == State::Identified => peer,
            _ => return Err(ResumeError::NobodyThere),
        };
        // Without a mark, what the node says it lost lay just before the oldest it holds.
        let first = mark.map_or(peer.oldest.minus(peer.lost), |mark| mark.0.sequence.next());
        if peer.next.is_before(first) {
            self.state = State::Searching;
            return Err(ResumeError::BootReused);
        }
        (self.expected, self.undurable) = (first, first);
        self.gap = self.skip_to(peer.oldest, counters);
        self.state = if schema_known {
            State::Welcoming
        } else {
            State::FetchingSchema(0)
        };
        self.ask_at_ms = now_ms;
        Ok(())
    }

    fn take_event(
        &mut self,
        session: Session,
        sequence: Sequence,
        now_ms: u64,
        counters: &mut Counters,
    ) -> Option<Verdict> {
        if session != self.session || !self.is_running() {
            count(&mut counters.foreign_session);
            return None;
        }
        self.state = State::Running;
        if self.refuse_ms.is_some() {
            return None;
        }
        if sequence == self.expected {
            self.expected = sequence.next();
            (self.resend_due, self.resend_from_ms) = (false, now_ms);
            return Some(Verdict::Event(self.peer?.id(sequence)));
        }
        if sequence.is_before(self.expected) {
            count(&mut counters.duplicates);
            self.ack_due = true;
        } else {
            count(&mut counters.out_of_order);
            self.resend_due = true;
        }
        None
    }

    fn take_field(&mut self, key: u32, index: u8, count: u8, now_ms: u64) -> Option<Verdict> {
        let wanted = self.peer.is_some_and(|peer| peer.schema == key);
        if !wanted
            || self.state != State::FetchingSchema(index)
            || usize::from(count) > FIELD_COUNT_MAX
        {
            return None;
        }
        let done = index + 1 >= count;
        self.state = if done {
            State::Welcoming
        } else {
            State::FetchingSchema(index + 1)
        };
        self.ask_at_ms = now_ms;
        Some(Verdict::SchemaField)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.state, State::Welcoming | State::Running)
    }

    pub(super) fn refuse(&mut self, retry_ms: u32) {
        // A gap not handed on yet is found anew when the node offers its records again.
        (self.refuse_ms, self.gap) = (Some(retry_ms), None);
        self.expected = self.undurable;
    }

    pub(super) fn acknowledge(&mut self, id: EventId) {
        let ours = self
            .peer
            .is_some_and(|peer| peer.device == id.device && peer.boot == id.boot);
        let handed_on =
            id.sequence.is_before(self.expected) && !id.sequence.is_before(self.undurable);
        if ours && handed_on {
            self.undurable = id.sequence.next();
            self.ack_due = true;
        }
    }

    pub(super) fn next_message(&mut self, now_ms: u64) -> Option<ToDevice> {
        let (session, next) = (self.session, self.undurable);
        if now_ms >= self.ask_at_ms
            && let Some(question) = self.question(now_ms)
        {
            return Some(question);
        }
        if !self.is_running() {
            return None;
        }
        if let Some(retry_ms) = self.refuse_ms.take() {
            (self.ack_due, self.resend_due) = (false, false);
            return Some(ToDevice::Refuse {
                session,
                next,
                retry_ms,
            });
        }
        if core::mem::take(&mut self.ack_due) {
            return Some(ToDevice::Ack { session, next });
        }
        if self.resend_due && now_ms >= self.resend_from_ms {
            (self.resend_due, self.resend_from_ms) = (false, now_ms + RESEND_MS);
            return Some(ToDevice::Resend {
                session,
                next: self.expected,
            });
        }
        if now_ms >= self.time_at_ms {
            self.time_at_ms = now_ms + TIME_MS;
            self.time_token = self.time_token.wrapping_add(1);
            self.time_sent_ms = Some(now_ms);
            return Some(ToDevice::TimeRequest {
                token: self.time_token,
            });
        }
        None
    }

    /// What the present state wants to know.
    fn question(&mut self, now_ms: u64) -> Option<ToDevice> {
        let peer = self.peer;
        let (question, again_ms) = match self.state {
            State::Searching => (ToDevice::Discover, DISCOVER_MS),
            State::FetchingSchema(index) => (
                ToDevice::SchemaRequest {
                    key: peer?.schema,
                    index,
                },
                ANSWER_MS,
            ),
            State::Welcoming => {
                let Peer { device, boot, .. } = peer?;
                (
                    ToDevice::Welcome {
                        device,
                        boot,
                        session: self.session,
                        next: self.undurable,
                    },
                    u64::MAX,
                )
            }
            State::Identified | State::Running => return None,
        };
        self.ask_at_ms = now_ms.saturating_add(again_ms);
        Some(question)
    }

    pub(super) fn next_deadline(&self) -> u64 {
        let asks = matches!(
            self.state,
            State::Searching | State::FetchingSchema(_) | State::Welcoming
        );
        let ask = if asks { self.ask_at_ms } else { u64::MAX };
        if !self.is_running() {
            return ask;
        }
        if self.ack_due || self.refuse_ms.is_some() {
            return 0;
        }
        let resend = if self.resend_due {
            self.resend_from_ms
        } else {
            u64::MAX
        };
        ask.min(resend).min(self.time_at_ms)
    }
}
