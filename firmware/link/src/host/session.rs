//! The session with one node as a state machine: all of the gateway's half but its bytes.

mod sending;

use super::node::Node;
use crate::counters::{Counters, count};
use crate::incoming::{DurableMark, EventId, ResumeError};
use crate::message::{Hello, SessionId, ToGateway};
use crate::schema::FIELD_COUNT_MAX;
use crate::sequence::Sequence;

/// How often the gateway asks who is there, in ms.
pub const DISCOVER_MS: u64 = 1_000;
/// How long a schema request or a welcome waits for its answer, in ms.
pub const ANSWER_MS: u64 = 500;
/// How long it waits at most between two questions whether a welcome arrived, in ms.
pub const ANSWER_MS_MAX: u64 = 2_000;
/// How often the node's clock is read, in ms.
pub const TIME_MS: u64 = 10_000;
/// How long a welcome is on its way at most, there and back, where no clock says that it is over, in ms.
pub const WELCOME_MS_MAX: u64 = 4_500;
/// How long a request to go back waits before it is repeated, in ms.
pub const RESEND_MS: u64 = 100;

/// A node that gets no acknowledgement sends again sooner than this, in ms.
const REPEAT_MS_MAX: u64 = 10_000;

#[derive(Clone, Copy, Debug, PartialEq)]
enum Phase {
    /// Nobody known, or nobody acceptable.
    Searching,
    /// Known; the caller has not resumed.
    Identified,
    /// The same, and the caller wants to know the node's present boot first.
    AskingClock,
    /// Fetching this field of the schema before the welcome.
    FetchingSchema(u8),
    /// Welcomed; neither an event nor a hello of the session has come yet.
    Welcoming,
    /// The node is in the session.
    Running,
}

/// What to hand on of a message that is still in the decoder.
pub(super) enum Received {
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

/// The session with one node, and the search for it before.
#[derive(Debug)]
pub(super) struct Session {
    phase: Phase,
    node: Option<Node>,
    session: SessionId,
    /// The next record to hand on.
    expected: Sequence,
    /// The first record that is not durable.
    undurable: Sequence,
    /// Found on resuming, to be handed on first once the node is in the session: what is stored belongs to who is in it.
    gap: Option<Gap>,
    /// When the present phase asks (again) for what it waits for.
    ask_at_ms: u64,
    welcome_due: bool,
    welcome_sent_ms: u64,
    /// A question that left behind the welcome is answered: what comes now left after the welcome came, if it did.
    welcome_is_over: bool,
    /// How long the last question whether the welcome arrived waits for its answer.
    answer_ms: u64,
    /// Somebody sends in another session: who is there?
    discover_due: bool,
    /// That question does not leave before.
    discover_from_ms: u64,
    /// The number of the last session that this side made up.
    minted: SessionId,
    ack_due: bool,
    refuse_ms: Option<u32>,
    resend_due: bool,
    /// A request to go back does not leave before.
    resend_from_ms: u64,
    time_token: u16,
    time_sent_ms: Option<u64>,
    time_at_ms: u64,
    pub(super) heard_ms: Option<u64>,
    /// Since when somebody says hello and is not in a session.
    joining_ms: Option<u64>,
    /// Since when, and until when, the node sends what it was told is stored, and nothing else.
    repeats_ms: Option<(u64, u64)>,
}

impl Session {
    pub(super) fn new(nonce: u16) -> Self {
        Self {
            phase: Phase::Searching,
            node: None,
            session: nonce.max(1),
            expected: Sequence(0),
            undurable: Sequence(0),
            gap: None,
            ask_at_ms: 0,
            welcome_due: false,
            welcome_sent_ms: 0,
            welcome_is_over: false,
            answer_ms: ANSWER_MS,
            discover_due: false,
            discover_from_ms: 0,
            minted: nonce,
            ack_due: false,
            refuse_ms: None,
            resend_due: false,
            resend_from_ms: 0,
            time_token: nonce,
            time_sent_ms: None,
            time_at_ms: 0,
            heard_ms: None,
            joining_ms: None,
            repeats_ms: None,
        }
    }

    pub(super) fn receive(
        &mut self,
        message: &ToGateway<'_>,
        now_ms: u64,
        counters: &mut Counters,
    ) -> Option<Received> {
        match *message {
            ToGateway::Hello(ref hello) => self.take_hello(hello, now_ms, counters),
            ToGateway::Event {
                session, sequence, ..
            } => self.take_event(session, sequence, now_ms, counters),
            ToGateway::TimeReply { token, .. } if token == self.time_token => {
                let sent_ms = self.time_sent_ms.take()?;
                self.time_at_ms = now_ms.saturating_add(TIME_MS);
                self.welcome_is_over = true;
                Some(Received::Time {
                    sent_ms,
                    received_ms: now_ms,
                })
            }
            ToGateway::TimeReply { .. } => None,
            ToGateway::SchemaField {
                key, index, count, ..
            } => self.take_field(key, index, count, now_ms),
            ToGateway::Log { .. } => Some(Received::Log),
        }
    }

    fn take_hello(
        &mut self,
        hello: &Hello<'_>,
        now_ms: u64,
        counters: &mut Counters,
    ) -> Option<Received> {
        if self.left_before_welcome(hello, now_ms) {
            return None;
        }
        let before = self.node.replace(Node::new(hello));
        let waiting = matches!(self.phase, Phase::FetchingSchema(_) | Phase::AskingClock);
        if waiting && before.is_some_and(|node| node.goes_on_as(hello)) {
            return None;
        }
        let same = before.is_some_and(|node| node.is_of(hello));
        // Another session is another node, or the same one after its welcome got lost: the caller knows which.
        if !same || !self.is_running() || hello.session != self.session {
            self.phase = Phase::Identified;
            self.joining_ms.get_or_insert(now_ms);
            self.leave(now_ms);
            return Some(Received::Hello);
        }
        self.is_there();
        self.discover_due = false;
        if hello.next.is_before(self.expected) || hello.next.is_before(hello.oldest) {
            return Some(self.boot_reused(hello));
        }
        self.skip_to(hello.oldest, counters).map(Received::Gap)
    }

    /// Whether the welcome may still be on its way to who says hello. Another one would only cross it: the node may have
    /// taken the first by then, and would be in a session that nothing is expected of.
    fn left_before_welcome(&self, hello: &Hello<'_>, now_ms: u64) -> bool {
        let is_on_its_way = self.phase == Phase::Welcoming
            && !self.welcome_is_over
            && now_ms.saturating_sub(self.welcome_sent_ms) < WELCOME_MS_MAX;
        let same = self.node.is_some_and(|node| node.is_of(hello));
        is_on_its_way && same && hello.session != self.session
    }

    /// The node is in the session.
    fn is_there(&mut self) {
        (self.phase, self.joining_ms) = (Phase::Running, None);
    }

    /// Nothing of the session before is due any more.
    fn leave(&mut self, now_ms: u64) {
        (self.gap, self.refuse_ms, self.ack_due, self.resend_due) = (None, None, false, false);
        (self.welcome_due, self.discover_due) = (false, false);
        (self.time_at_ms, self.discover_from_ms) = (now_ms, now_ms);
        (self.time_sent_ms, self.repeats_ms) = (None, None);
    }

    /// The node that said hello is not acceptable: whoever says hello next is handed on.
    pub(super) fn turn_away(&mut self, now_ms: u64) {
        self.phase = Phase::Searching;
        self.joining_ms = None;
        self.leave(now_ms);
        self.ask_at_ms = now_ms.saturating_add(DISCOVER_MS);
    }

    pub(super) fn ask_clock(&mut self, now_ms: u64) {
        if self.phase == Phase::Identified {
            (self.phase, self.ask_at_ms) = (Phase::AskingClock, now_ms);
        }
    }

    /// Asks who is there, unless that was asked just now.
    pub(super) fn discover(&mut self) {
        self.discover_due = true;
    }

    /// A session that this side has not used lately.
    pub(super) fn mint(&mut self) -> SessionId {
        self.minted = self.minted.checked_add(1).unwrap_or(1);
        self.minted
    }

    /// The session that the node says it is in; 0 for none.
    pub(super) fn claimed(&self) -> SessionId {
        self.node.map_or(0, |node| node.session)
    }

    pub(super) fn session(&self) -> SessionId {
        self.session
    }

    /// The gap that is to be handed on now.
    pub(super) fn take_gap(&mut self) -> Option<Gap> {
        match self.phase {
            Phase::Running => self.gap.take(),
            _ => None,
        }
    }

    /// The gap that is to be handed on before this message, which shows that the node is in the session.
    pub(super) fn gap_before(&mut self, message: &ToGateway<'_>) -> Option<Gap> {
        let is_of_session = match message {
            ToGateway::Event { session, .. } => *session == self.session,
            ToGateway::Hello(hello) => {
                hello.session == self.session && self.node.is_some_and(|node| node.is_of(hello))
            }
            _ => false,
        };
        if !is_of_session || self.phase != Phase::Welcoming {
            return None;
        }
        let gap = self.gap.take()?;
        self.is_there();
        Some(gap)
    }

    fn boot_reused(&mut self, hello: &Hello<'_>) -> Received {
        self.phase = Phase::Searching;
        Received::BootReused(EventId {
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
            last: self.node?.id(oldest.minus(1)),
            count: missing,
        })
    }

    pub(super) fn resume(
        &mut self,
        session: SessionId,
        mark: Option<DurableMark>,
        schema_known: bool,
        now_ms: u64,
        counters: &mut Counters,
    ) -> Result<(), ResumeError> {
        let node = match self.node {
            Some(node) if matches!(self.phase, Phase::Identified | Phase::AskingClock) => node,
            _ => return Err(ResumeError::NobodyThere),
        };
        // Without a mark, what the node says it lost lay just before the oldest it holds.
        let first = mark.map_or(node.oldest.minus(node.lost), |mark| mark.0.sequence.next());
        if node.next.is_before(first) || node.next.is_before(node.oldest) {
            self.phase = Phase::Searching;
            return Err(ResumeError::BootReused);
        }
        (self.expected, self.undurable) = (first, first);
        self.gap = self.skip_to(node.oldest, counters);
        self.session = session;
        self.ask_at_ms = now_ms;
        if schema_known {
            self.open(now_ms);
        } else {
            self.phase = Phase::FetchingSchema(0);
        }
        Ok(())
    }

    /// Events are wanted from now on. A node that is in the session already is told where to go on, any other is
    /// welcomed: only after a hello of its own, so that no session is ever given to two nodes.
    pub(super) fn open(&mut self, now_ms: u64) {
        (self.ask_at_ms, self.answer_ms) = (now_ms, ANSWER_MS);
        let there = self.claimed() == self.session;
        self.welcome_due = !there;
        (self.welcome_sent_ms, self.welcome_is_over) = (now_ms, there);
        (self.time_at_ms, self.time_sent_ms) = (now_ms, None);
        (self.ack_due, self.resend_due, self.resend_from_ms) = (there, there, now_ms);
        match there {
            true => self.is_there(),
            false => self.phase = Phase::Welcoming,
        }
    }

    fn take_event(
        &mut self,
        session: SessionId,
        sequence: Sequence,
        now_ms: u64,
        counters: &mut Counters,
    ) -> Option<Received> {
        if session != self.session || !self.is_running() {
            count(&mut counters.foreign_session);
            self.discover_due = self.is_running();
            return None;
        }
        self.is_there();
        self.discover_due = false;
        if self.refuse_ms.is_some() {
            return None;
        }
        if sequence == self.expected {
            self.expected = sequence.next();
            (self.resend_due, self.resend_from_ms) = (false, now_ms);
            self.repeats_ms = None;
            return Some(Received::Event(self.node?.id(sequence)));
        }
        if sequence.is_before(self.expected) {
            count(&mut counters.duplicates);
            self.ack_due = true;
            self.note_repeat(now_ms);
        } else {
            count(&mut counters.out_of_order);
            self.resend_due = true;
        }
        None
    }

    fn note_repeat(&mut self, now_ms: u64) {
        let goes_on = self
            .repeats_ms
            .filter(|(_, last_ms)| now_ms.saturating_sub(*last_ms) < REPEAT_MS_MAX);
        let since_ms = goes_on.map_or(now_ms, |(since_ms, _)| since_ms);
        // What is not stored yet is rightly sent again.
        self.repeats_ms = (self.expected == self.undurable).then_some((since_ms, now_ms));
    }

    /// Since when the node does what it would not do if it heard what it is told.
    pub(super) fn unheard_ms(&self, now_ms: u64) -> Option<u64> {
        let repeats = self
            .repeats_ms
            .filter(|(_, last_ms)| now_ms.saturating_sub(*last_ms) < REPEAT_MS_MAX);
        self.joining_ms.or(repeats.map(|(since_ms, _)| since_ms))
    }

    /// Whether this is the field of the schema that is asked for.
    pub(super) fn lacks(&self, key: u32, index: u8) -> bool {
        self.phase == Phase::FetchingSchema(index)
            && self.node.is_some_and(|node| node.schema == key)
    }

    fn take_field(&mut self, key: u32, index: u8, count: u8, now_ms: u64) -> Option<Received> {
        if !self.lacks(key, index) {
            return None;
        }
        self.ask_at_ms = now_ms;
        self.joining_ms = Some(now_ms);
        // Readings of a schema that is too long to be fetched are taken without it.
        if index + 1 >= count || usize::from(count) > FIELD_COUNT_MAX {
            self.open(now_ms);
        } else {
            self.phase = Phase::FetchingSchema(index + 1);
        }
        Some(Received::SchemaField)
    }

    pub(super) fn is_running(&self) -> bool {
        matches!(self.phase, Phase::Welcoming | Phase::Running)
    }

    pub(super) fn refuse(&mut self, retry_ms: u32) {
        // A gap not handed on yet is found anew when the node offers its records again.
        (self.refuse_ms, self.gap) = (Some(retry_ms), None);
        self.expected = self.undurable;
    }

    pub(super) fn acknowledge(&mut self, id: EventId) {
        let ours = self
            .node
            .is_some_and(|node| node.device == id.device && node.boot == id.boot);
        let handed_on =
            id.sequence.is_before(self.expected) && !id.sequence.is_before(self.undurable);
        if ours && handed_on {
            self.undurable = id.sequence.next();
            self.ack_due = true;
        }
    }
}
