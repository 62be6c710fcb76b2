//! How an upstream is opened.

use std::time::Duration;

use super::{Delivery, Outcome, Token, Trouble, Upstream};
use crate::event::way::Way;

/// What an upstream is given; each takes what it needs.
#[derive(Clone, Copy)]
pub struct Opening<'a> {
    /// `NAME` of `[upstreams.NAME]`.
    pub name: &'a str,
    /// `[gateway] id`.
    pub gateway_id: &'a str,
    /// What is known of the way of events.
    pub way: &'a Way,
}

/// A kind of upstream, as its configuration has it.
pub trait OpenUpstream {
    /// What the forwarder drives.
    type Upstream: Upstream;

    /// Makes the upstream; it connects when the forwarder asks it to.
    ///
    /// # Errors
    /// Which file or setting cannot be used, and why.
    fn open(&self, opening: Opening<'_>) -> Result<Self::Upstream, String>;

    /// Whether one connection stands for long. It is left as it is when a certificate or a secret
    /// changes, and the next one is made with the new.
    const KEEPS_CONNECTION: bool = false;

    /// A delivery may be unsettled for so long although the connection is fine; `ack_timeout` is
    /// raised to it.
    fn ack_timeout_min(&self) -> Duration {
        Duration::ZERO
    }
}

/// The upstream of a kind that this program was built without: there is none.
pub enum NotBuilt {}

impl Upstream for NotBuilt {
    async fn connect(&mut self) -> Result<(), Trouble> {
        match *self {}
    }

    fn room(&self) -> usize {
        match *self {}
    }

    fn offer(&mut self, _: Vec<Delivery>) {
        match *self {}
    }

    async fn settled(&mut self) -> Result<Vec<(Token, Outcome)>, Trouble> {
        match *self {}
    }

    async fn close(&mut self) {
        match *self {}
    }
}
