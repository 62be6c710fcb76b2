//! What an upstream is to the forwarder: a place that takes deliveries and settles each one.

pub mod envelope;
pub mod file;
#[cfg(feature = "http")]
pub mod http;
pub mod mqtt;

use std::borrow::Cow;
use std::future::Future;
use std::sync::Arc;

use bytes::Bytes;
use tidegate_rules::decision::Output;
use tidegate_rules::event::Event;
use tidegate_store::Sequence;

/// Names one delivery of a lane: the record, and which of its outputs to this lane.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Hash, PartialOrd, Ord)]
pub struct Token {
    /// The record's place in the log.
    pub sequence: Sequence,
    /// Counts the record's outputs.
    pub output: u16,
}

/// One thing to send, ready for any protocol.
#[derive(Debug, Clone)]
pub struct Delivery {
    /// What the upstream settles it by.
    pub token: Token,
    /// The event's envelope; `event.data` is the payload as it arrived.
    pub event: Arc<Event>,
    /// What the rules say of it.
    pub output: Output,
    /// Part of a backlog that live traffic overtook (`backfill = "live_first"`).
    pub historical: bool,
    /// How often this delivery was handed to the upstream before (0 the first time).
    pub attempts: u32,
}

impl Delivery {
    /// The id it leaves under: the event's own if it leaves as it came, else the event's with
    /// the rule's name and the number of the output. What a rule derives is another event, and
    /// a receiver that drops repetitions by id must not take one for the other. A repetition
    /// has the same id.
    pub fn id(&self) -> Cow<'_, str> {
        match (&self.output.rule, self.is_derived()) {
            (Some(rule), true) => {
                Cow::Owned(format!("{}/{rule}/{}", self.event.id, self.token.output))
            }
            _ => Cow::Borrowed(&self.event.id),
        }
    }

    /// Whether a rule gave it a topic or a payload of its own.
    pub fn is_derived(&self) -> bool {
        self.output.topic.is_some() || self.output.data.is_some()
    }

    /// The topic it leaves under: a rule's, else the event's own.
    pub fn topic(&self) -> &str {
        self.output.topic.as_deref().unwrap_or(&self.event.topic)
    }

    /// The payload to send.
    pub fn payload(&self) -> &Bytes {
        self.output.data.as_ref().unwrap_or(&self.event.data)
    }

    /// Bytes it counts for in windows and budgets: payload and a flat share for the envelope.
    pub fn size_bytes(&self) -> usize {
        self.payload().len() + self.event.topic.len() + 128
    }
}

/// What an upstream said of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream's own acknowledgement came.
    Confirmed,
    /// A definite refusal of this event: reason code, returned message, 4xx. Tried five times,
    /// then dead-lettered with this reason.
    Refused(String),
    /// Not now (quota, 429, 503): the lane pauses and tries again, never dead-lettered.
    Busy {
        /// What the upstream said.
        reason: String,
        /// The pause it asked for, in milliseconds.
        retry_ms: Option<u64>,
    },
}

/// The connection is gone or never came: everything not settled is sent again after a pause.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Trouble {
    /// What happened, where, and what to do next, in lower case.
    pub message: String,
    /// The pause the peer asked for, in milliseconds.
    pub retry_ms: Option<u64>,
}

impl Outcome {
    /// Busy without a wish for a pause.
    pub fn busy(reason: impl Into<String>) -> Outcome {
        Outcome::Busy {
            reason: reason.into(),
            retry_ms: None,
        }
    }
}

impl Trouble {
    /// Trouble without a wish for a pause.
    pub fn new(message: impl Into<String>) -> Trouble {
        Trouble {
            message: message.into(),
            retry_ms: None,
        }
    }
}

/// A place events are forwarded to. One task owns it; see `forward.rs` for the loop.
///
/// The store is the only queue: an upstream keeps nothing that it could not be told again.
pub trait Upstream: Send + 'static {
    /// Connects from scratch, forgetting everything offered before. Called first and after
    /// every [`Trouble`].
    ///
    /// # Errors
    /// [`Trouble`] with what was tried and why it failed.
    fn connect(&mut self) -> impl Future<Output = Result<(), Trouble>> + Send;

    /// How many more deliveries it wants right now; at most the window set for the lane.
    fn room(&self) -> usize;

    /// Takes deliveries to send, in order. Never waits: it queues within `room()`.
    fn offer(&mut self, batch: Vec<Delivery>);

    /// Drives the connection and returns what was settled meanwhile. Cancel-safe: the
    /// forwarder drops this future whenever there is more to offer. Comes back, if need be with
    /// nothing, when there is room that no settled delivery made.
    ///
    /// # Errors
    /// [`Trouble`] when the connection broke; nothing unsettled counts as sent.
    fn settled(&mut self) -> impl Future<Output = Result<Vec<(Token, Outcome)>, Trouble>> + Send;

    /// Says goodbye within the deadline of the shutdown.
    fn close(&mut self) -> impl Future<Output = ()> + Send;
}
