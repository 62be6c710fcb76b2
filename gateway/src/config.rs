//! The configuration, checked: what `gateway.toml` says with every default filled in.
//!
//! Reading and checking the file lives in `config/`; everything else takes these types.

use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

mod address;
mod between;
mod broker;
mod files;
pub mod key;
pub mod keys;
mod load;
mod mask;
mod reading;
pub mod secret;
mod section;
mod sources;
mod topics;
pub mod unit;
mod upstreams;
mod users;

pub use load::{load, parse, render};

use secret::Secret;
use tidegate_rules::diagnostic::Diagnostic;

/// One `gateway.toml`.
#[derive(Debug, Clone)]
pub struct Config {
    /// The file it was read from, for messages.
    pub path: PathBuf,
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[store]`
    pub store: Store,
    /// `[api]`
    pub api: Api,
    /// `[sources.NAME]`, in the order of the file.
    pub sources: Vec<Source>,
    /// `[upstreams.NAME]`, in the order of the file.
    pub upstreams: Vec<Upstream>,
    /// What is probably not meant, though it can be run.
    pub warnings: Vec<Diagnostic>,
}

/// `[gateway]`
#[derive(Debug, Clone)]
pub struct Gateway {
    /// `id`: prefix of every CloudEvents source.
    pub id: String,
    /// `data_dir`
    pub data_dir: PathBuf,
    /// `rules`: folder of `*.rules` files; `None` sends every event to every upstream.
    pub rules: Option<PathBuf>,
    /// `shutdown_max` (10s): how long forwarders may finish what is in flight.
    pub shutdown_max: Duration,
    /// `dedup_window` (65536): ids remembered for senders that give their own.
    pub dedup_window: usize,
}

impl Gateway {
    /// The folder of the event store.
    pub fn store_dir(&self) -> PathBuf {
        self.data_dir.join("store")
    }
}

/// What to do when the store is at `max_size`.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum WhenFull {
    /// Stop acknowledging; keep forwarding.
    Refuse,
    /// Give up the least urgent events, the oldest first, with gap records.
    Shed,
}

/// `[store]`
#[derive(Debug, Clone)]
pub struct Store {
    /// `max_size` (2GiB): bytes on disk of all generations together.
    pub max_size_bytes: u64,
    /// `commit_delay` (0ms): how long an ack waits for company where some is to come.
    pub commit_delay: Duration,
    /// `commit_delay_max` (5ms): how long an ack may wait for company.
    pub commit_delay_max: Duration,
    /// `when_full` ("refuse")
    pub when_full: WhenFull,
    /// `keep_for` (24h): delivered events kept for replay.
    pub keep_for: Duration,
    /// `expire_after` (never): undelivered events older than that are given up, with gap records.
    pub expire_after: Option<Duration>,
    /// `endurance` (unknown): what may be written to the disk in all, for an estimate of its lifetime.
    pub endurance_bytes: Option<u64>,
    /// `free_min` (64MiB): below this much free disk nothing is acknowledged.
    pub free_min_bytes: u64,
    /// `generation_size` (8MiB)
    pub generation_bytes: u64,
}

/// `[api]`
#[derive(Debug, Clone, Default)]
pub struct Api {
    /// `listen` ("127.0.0.1:9884"): metrics and health over HTTP; other than loopback only with
    /// `anonymous = true`. `None` without an `[api]` section.
    pub listen: Option<SocketAddr>,
    /// `hosts`: host names it answers to beside `localhost` and addresses, in lower case.
    pub hosts: Vec<String>,
}

/// `[sources.NAME]`
#[derive(Debug, Clone)]
pub struct Source {
    /// `NAME`
    pub name: String,
    /// What the keys `type` and following say.
    pub kind: SourceKind,
}

/// The kinds of sources.
#[derive(Debug, Clone)]
pub enum SourceKind {
    /// `type = "mqtt-listener"`
    MqttListener(MqttListener),
    /// `type = "mqtt"`
    Mqtt(MqttSource),
    /// `type = "serial"`
    Serial(Serial),
    /// `type = "lines"`
    Lines(Lines),
    /// `type = "http"`
    Http(HttpSource),
}

/// A listener that devices connect to.
#[derive(Debug, Clone)]
pub struct MqttListener {
    /// `listen`
    pub listen: SocketAddr,
    /// `tls = { cert, key, client_ca }`
    pub tls: Option<ServerTls>,
    /// `users = { NAME = { password_hash | password_hash_file, publish = [filters], subscribe = [filters] } }`;
    /// empty means: anonymous, allowed on loopback only unless `anonymous = true`.
    pub users: Vec<User>,
    /// `anonymous` (true on loopback when no users are given)
    pub anonymous: bool,
    /// `max_payload` (256KiB)
    pub payload_bytes_max: usize,
    /// `max_connections` (1000)
    pub connections_max: usize,
    /// `max_connections_per_ip` (0: no limit of its own)
    pub connections_per_ip_max: usize,
    /// `connect_timeout` (10s): from accept to CONNECT
    pub connect_timeout: Duration,
    /// `keep_alive_max` (1h): longer or absent keep-alives are capped (MQTT 5: Server Keep Alive)
    pub keep_alive_max: Duration,
    /// `receive_max` (256): QoS 1 and 2 publishes under way per connection
    pub receive_max: u16,
    /// `max_subscriptions` (64) per connection
    pub subscriptions_max: usize,
    /// `max_topic_levels` (32), `max_topic` (1024 bytes)
    pub topic_levels_max: usize,
    /// See `topic_levels_max`.
    pub topic_bytes_max: usize,
}

/// A user of a listener or of the HTTP source.
#[derive(Debug, Clone)]
pub struct User {
    /// Its name.
    pub name: String,
    /// An argon2 hash in PHC form (`tidegate hash-password`); empty for a user who logs in with
    /// a client certificate only.
    pub password_hash: Secret,
    /// Topic filters it may publish to; `{user}` and `{client}` stand for its own names.
    pub publish: Vec<String>,
    /// Topic filters it may subscribe to.
    pub subscribe: Vec<String>,
}

/// Certificates of a listener.
#[derive(Debug, Clone)]
pub struct ServerTls {
    /// PEM certificate chain.
    pub cert: PathBuf,
    /// PEM private key; a world-readable file is refused.
    pub key: PathBuf,
    /// PEM roots that client certificates must come from; `None` asks for none.
    pub client_ca: Option<PathBuf>,
}

/// Certificates towards an upstream or a source broker.
#[derive(Debug, Clone, Default)]
pub struct ClientTls {
    /// `ca`: PEM roots; `None` uses the system's.
    pub ca: Option<PathBuf>,
    /// `cert` and `key`: the client's own certificate.
    pub identity: Option<(PathBuf, PathBuf)>,
}

/// Host, port and credentials of a broker: `mqtt://host:1883` or `mqtts://host:8883`.
#[derive(Debug, Clone)]
pub struct Broker {
    /// As written, for messages; never holds a password.
    pub url: String,
    /// Host name or address.
    pub host: String,
    /// Port; 1883 or 8883 by default.
    pub port: u16,
    /// Present for `mqtts`.
    pub tls: Option<ClientTls>,
    /// `version` (5): 4 stands for MQTT 3.1.1.
    pub version: MqttVersion,
    /// `client_id`; default `<gateway id>-<name>`.
    pub client_id: String,
    /// `user` and `password_file` or `password = "${VAR}"`
    pub login: Option<(String, Secret)>,
    /// `keep_alive` (30s)
    pub keep_alive: Duration,
}

/// Protocol levels of MQTT.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum MqttVersion {
    /// MQTT 3.1.1 (`version = "3.1.1"`)
    V311,
    /// MQTT 5 (`version = "5"`)
    V5,
}

/// Subscribes at an existing broker.
#[derive(Debug, Clone)]
pub struct MqttSource {
    /// Where.
    pub broker: Broker,
    /// `topics`
    pub topics: Vec<String>,
    /// `qos` (1)
    pub qos: u8,
    /// `max_payload` (256KiB)
    pub payload_bytes_max: usize,
}

/// How a serial port is found.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum PortMatch {
    /// `port = "/dev/ttyACM0"`
    Path(PathBuf),
    /// `match = { vid = "2e8a", pid = "000a", serial = "E661…" }`; absent parts match all.
    Usb {
        /// USB vendor id.
        vid: Option<u16>,
        /// USB product id.
        pid: Option<u16>,
        /// USB serial number.
        serial: Option<String>,
    },
}

/// The framed link over a serial port.
#[derive(Debug, Clone)]
pub struct Serial {
    /// Which port.
    pub port: PortMatch,
    /// `baud` (115200)
    pub baud: u32,
    /// `topic` ("devices/{device}"): of the device's readings.
    pub topic: String,
    /// `reopen_max` (5s): the longest pause between attempts to open the port again.
    pub reopen_max: Duration,
}

/// How lines are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineFormat {
    /// `format = "json"`: one JSON document a line.
    Json,
    /// `format = "csv"` with `columns = ["time", "temperature"]`
    Csv {
        /// Names of the columns, in order.
        columns: Vec<String>,
        /// `delimiter` (",")
        delimiter: char,
    },
    /// `format = "text"`: the line as it is.
    Text,
}

/// Text lines over a serial port.
#[derive(Debug, Clone)]
pub struct Lines {
    /// Which port.
    pub port: PortMatch,
    /// `baud` (115200)
    pub baud: u32,
    /// `format`
    pub format: LineFormat,
    /// `topic` (the source's name)
    pub topic: String,
    /// `max_line` (4096 bytes)
    pub line_bytes_max: usize,
    /// See [`Serial::reopen_max`].
    pub reopen_max: Duration,
}

/// `POST /events` with one or many CloudEvents, or `POST /topics/<topic>` with any body.
#[derive(Debug, Clone)]
pub struct HttpSource {
    /// `listen`
    pub listen: SocketAddr,
    /// `tls`
    pub tls: Option<ServerTls>,
    /// `users` as for the listener (HTTP basic); empty means anonymous on loopback only.
    pub users: Vec<User>,
    /// See [`MqttListener::anonymous`].
    pub anonymous: bool,
    /// `max_payload` (256KiB) of one event; a batch may hold 4 MiB.
    pub payload_bytes_max: usize,
    /// `max_connections` (256)
    pub connections_max: usize,
}

/// `[upstreams.NAME]`
#[derive(Debug, Clone)]
pub struct Upstream {
    /// `NAME`
    pub name: String,
    /// What all kinds have in common.
    pub lane: Lane,
    /// What the keys `type` and following say.
    pub kind: UpstreamKind,
}

/// Whether live events wait for the backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backfill {
    /// `"in_order"`: first in, first out within a priority.
    InOrder,
    /// `"live_first"`: live events share the link with the backlog by weight.
    LiveFirst,
}

/// How an upstream's lane is driven.
#[derive(Debug, Clone)]
pub struct Lane {
    /// `backfill` ("in_order")
    pub backfill: Backfill,
    /// `live_weight` (4): live events for each backlog event under `live_first`.
    pub live_weight: u32,
    /// `inflight` (256): deliveries under way at once. The README promises duplicates ≤ this after a cut.
    pub inflight_max: usize,
    /// `inflight_size` (4MiB)
    pub inflight_bytes_max: usize,
    /// `max_rate` (none): events per second
    pub rate_max: Option<u64>,
    /// `max_bandwidth` (none): bytes per second
    pub bandwidth_bytes_max: Option<u64>,
    /// `retry_min` (250ms)
    pub retry_min: Duration,
    /// `retry_max` (30s)
    pub retry_max: Duration,
    /// `refusals_max` (5): definite refusals of one event before it is dead-lettered
    pub refusals_max: u32,
    /// `ack_timeout` (30s): an unsettled delivery older than this means the connection is dead
    pub ack_timeout: Duration,
}

/// The kinds of upstreams.
#[derive(Debug, Clone)]
pub enum UpstreamKind {
    /// `type = "mqtt"`
    Mqtt(MqttUpstream),
    /// `type = "http"`
    Http(HttpUpstream),
    /// `type = "file"`
    File(FileUpstream),
}

/// How the envelope leaves.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    /// `"binary"`: the payload as it is, the envelope in the protocol's metadata.
    Binary,
    /// `"structured"`: one JSON document.
    Structured,
}

/// Publishes to a broker.
#[derive(Debug, Clone)]
pub struct MqttUpstream {
    /// Where.
    pub broker: Broker,
    /// `topic` ("{topic}"): `{topic}`, `{source}`, `{publisher}`, `{type}`, `{id}`, `{key}`, `{gateway}`
    pub topic: String,
    /// `qos` (1): 0 is refused
    pub qos: u8,
    /// `retain` (false)
    pub retain: bool,
    /// `format` ("binary")
    pub format: Format,
}

/// Posts to a webhook.
#[derive(Debug, Clone)]
pub struct HttpUpstream {
    /// `url`: https, or http
    pub url: String,
    /// `method` is always POST; `headers = { … }`, values may hold `${VAR}`
    pub headers: Vec<(String, Secret)>,
    /// `bearer_file` or `bearer = "${VAR}"`
    pub bearer: Option<Secret>,
    /// `batch_max` (1): more than 1 posts `application/cloudevents-batch+json`
    pub batch_max: usize,
    /// `timeout` (10s)
    pub timeout: Duration,
    /// `format` ("binary")
    pub format: Format,
    /// `ca`, `cert`, `key`
    pub tls: ClientTls,
    /// `requests_max` (1): requests under way at once; more than 1 gives up order
    pub requests_max: usize,
}

/// Appends JSON lines to a file: one structured CloudEvent a line.
#[derive(Debug, Clone)]
pub struct FileUpstream {
    /// `path`: `events.jsonl` rotates to `events.jsonl.1` …
    pub path: PathBuf,
    /// `rotate_size` (64MiB)
    pub rotate_bytes: u64,
    /// `keep_files` (8); 0 keeps all
    pub files_max: usize,
}
