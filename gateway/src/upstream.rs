//! What an upstream is to the forwarder: a place that takes deliveries and settles each one.
//!
//! A folder has everything about one kind of upstream. The kinds stand in the list at the end of
//! this file and nowhere else.

pub mod file;
pub mod format;
pub mod http;
pub mod mqtt;
pub mod open;
pub mod topic_template;

use std::future::Future;
use std::time::Duration;

use crate::config::kinds::{List, kinds};
use open::{OpenUpstream, Opening};

pub use crate::event::delivery::{Delivery, Token};

/// What an upstream said of one delivery.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The upstream's own acknowledgement came.
    Confirmed,
    /// A definite refusal of this event: reason code, returned message, 4xx. Tried five times,
    /// then dead-lettered with this reason.
    Refused(String),
    /// What the upstream's protocol cannot carry, so that it was never sent: dead-lettered at once
    /// with this reason.
    Undeliverable(String),
    /// Its sender said for how long it is worth sending, and that was over before it left.
    Expired,
    /// Only of the dead letters themselves: it would have been one too many, and is let go.
    Dropped,
    /// Not now (quota, 429, 503): the lane pauses and tries again, never dead-lettered.
    Busy {
        /// What the upstream said.
        reason: String,
        /// The pause it asked for, in milliseconds.
        retry_ms: Option<u64>,
    },
    /// Not now either, but it may be this event that the upstream fails over. Where that goes on and others are taken, they
    /// go first, and it is tried again alone.
    Failed {
        /// What the upstream said.
        reason: String,
        /// It broke the connection instead of an answer, which counts as other broken connections do: an event that alone
        /// breaks connections that work for others is dead-lettered. One that is answered never is.
        broke: bool,
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
    /// Whether the upstream said it: the connection works.
    pub fn has_come_back(&self) -> bool {
        !matches!(self, Outcome::Undeliverable(_) | Outcome::Expired)
    }

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

/// Where upstreams stand in the configuration.
const LIST: List = List {
    key: "upstreams",
    one: "upstream",
    a_one: "an upstream",
    type_help: "kind of upstream",
    reserved: Some(("dead_letter", "the destination of dead letters")),
    later: &["kafka", "amqp", "redis", "pulsar", "nats", "eventbridge"],
};

/// Makes [`UpstreamKind`], and [`AnyUpstream`] for what each kind opens.
macro_rules! registry {
    ($($Variant:ident($Config:ty)),* $(,)?) => {
        kinds! {
            /// The kinds of upstreams, each with its configuration.
            pub enum UpstreamKind in LIST => { $($Variant($Config)),* }
        }

        impl UpstreamKind {
            /// See [`OpenUpstream::open`].
            pub(crate) fn open(&self, opening: Opening<'_>) -> Result<AnyUpstream, String> {
                match self {
                    $(UpstreamKind::$Variant(config) => {
                        config.open(opening).map(Box::new).map(AnyUpstream::$Variant)
                    })*
                }
            }

            /// See [`OpenUpstream::KEEPS_CONNECTION`].
            pub(crate) fn keeps_connection(&self) -> bool {
                match self {
                    $(UpstreamKind::$Variant(_) => <$Config as OpenUpstream>::KEEPS_CONNECTION),*
                }
            }

            /// See [`OpenUpstream::ack_timeout_min`].
            pub(crate) fn ack_timeout_min(&self) -> Duration {
                match self {
                    $(UpstreamKind::$Variant(config) => config.ack_timeout_min()),*
                }
            }
        }

        /// An open upstream of any kind.
        pub(crate) enum AnyUpstream {
            $($Variant(Box<<$Config as OpenUpstream>::Upstream>)),*
        }

        impl Upstream for AnyUpstream {
            async fn connect(&mut self) -> Result<(), Trouble> {
                match self {
                    $(AnyUpstream::$Variant(upstream) => upstream.connect().await),*
                }
            }

            fn room(&self) -> usize {
                match self {
                    $(AnyUpstream::$Variant(upstream) => upstream.room()),*
                }
            }

            fn offer(&mut self, batch: Vec<Delivery>) {
                match self {
                    $(AnyUpstream::$Variant(upstream) => upstream.offer(batch)),*
                }
            }

            async fn settled(&mut self) -> Result<Vec<(Token, Outcome)>, Trouble> {
                match self {
                    $(AnyUpstream::$Variant(upstream) => upstream.settled().await),*
                }
            }

            async fn close(&mut self) {
                match self {
                    $(AnyUpstream::$Variant(upstream) => upstream.close().await),*
                }
            }
        }
    };
}

registry! {
    Mqtt(mqtt::config::MqttUpstream),
    Http(http::config::HttpUpstream),
    File(file::config::FileUpstream),
}
