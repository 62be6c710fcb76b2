//! How a source is opened: what it is given, and what the gateway gets to run.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tidegate_store::Store;
use tokio::sync::watch;

use super::credentials::Credentials;
use super::device_claims::DeviceClaims;
use crate::event::committed_log::CommittedLog;
use crate::event::inlet::{Closed, Inlet};
use crate::observe::Observe;
use crate::observe::source::SourceMetrics;

/// What a source is given; each takes what it needs.
pub struct Opening<'a> {
    /// `NAME` of `[sources.NAME]`.
    pub name: &'a str,
    /// `[gateway] id`.
    pub gateway_id: &'a str,
    /// Where its events go.
    pub inlet: Inlet,
    /// Events as they are committed.
    pub log: CommittedLog,
    /// Where marks of devices are.
    pub store: Store,
    /// Which source each device is at.
    pub devices: Arc<DeviceClaims>,
    /// Log lines and system events.
    pub observe: Arc<Observe>,
    /// Its counts.
    pub metrics: SourceMetrics,
    /// Its certificates and secrets, others as soon as they change.
    pub credentials: watch::Receiver<Credentials>,
    /// Whether it counts as open where its address is another program's yet, and waits for it.
    pub may_wait: bool,
    /// Turns true at shutdown.
    pub stop: watch::Receiver<bool>,
}

impl Opening<'_> {
    /// The error of a kind that this program was built without.
    pub fn not_built(&self) -> String {
        format!("source {}: this type is not part of this build", self.name)
    }
}

/// An open source, to be polled until it ends.
pub type Running = Pin<Box<dyn Future<Output = Result<(), Closed>> + Send>>;

/// A kind of source, as its configuration has it.
pub trait OpenSource {
    /// Whether it is open already while nobody is there, so that it counts as connected only
    /// once a device has joined.
    const WAITS_FOR_DEVICE: bool = false;
    /// Whether bytes come to it from a serial port.
    const HAS_PORT: bool = false;

    /// What it does not do that its clients may expect, a line each.
    const NOTES: &'static [&'static str] = &[];

    /// How many connections it takes at once.
    fn connections_max(&self) -> usize {
        0
    }

    /// Its certificates and secrets, read from their files.
    ///
    /// # Errors
    /// Which file cannot be used, and why.
    fn credentials(&self) -> Result<Credentials, String> {
        Ok(Credentials::default())
    }

    /// Opens it: what can fail at once, such as listening, has failed or succeeded when this
    /// returns.
    ///
    /// # Errors
    /// Which source cannot be opened, and why.
    fn open(&self, opening: Opening<'_>) -> impl Future<Output = Result<Running, String>> + Send;
}
