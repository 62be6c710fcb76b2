//! What was answered.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

/// Where MQTT devices are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Listen {
    /// Nowhere.
    None,
    /// They connect here.
    Address(SocketAddr),
    /// They connect to a broker with this url.
    Broker(String),
}

/// What comes over a serial port.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Speech {
    /// Lines of text.
    Text,
    /// Lines of JSON.
    Json,
    /// The framed link of Tidegate's firmware.
    Framed,
}

/// A serial port.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Serial {
    pub(super) port: PathBuf,
    pub(super) speech: Speech,
    pub(super) baud: u32,
}

/// Where events go.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Upstream {
    Mqtt(String),
    Http(String),
    /// A file, where nothing else is said one in the data folder.
    File(Option<PathBuf>),
}

/// Everything that is answered.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Answers {
    pub(super) id: String,
    pub(super) data_dir: PathBuf,
    pub(super) listen: Listen,
    pub(super) serial: Vec<Serial>,
    pub(super) upstream: Upstream,
    pub(super) endurance_bytes: Option<u64>,
    pub(super) commit_delay: Option<Duration>,
}

impl Answers {
    /// Whether devices come over the network, so that they must log in.
    pub(super) fn needs_login(&self) -> bool {
        matches!(&self.listen, Listen::Address(address) if !address.ip().is_loopback())
    }
}
