//! `type = "mqtt-listener"` of `[sources.NAME]`.

use std::net::SocketAddr;
use std::time::Duration;

use crate::config::connection::listener::{self, AccessKeys, Beside, access};
use crate::config::connection::server_tls::ServerTlsKeys;
use crate::config::key::{
    Count, Entries, MemorySize, Rows, Table, Text, address, count, duration, flag, keys,
    memory_size, table, tables, text,
};
use crate::config::kinds::{Claim, Entry, KeyGroup, Kind};
use crate::config::section::Section;
use crate::config::{ServerTls, User};
use crate::source::id_field;

keys! {
    /// Keys of an MQTT listener.
    KEYS: MqttListenerKeys {
        listen: Option<SocketAddr> = address().required("where devices connect"),
        tls: Option<Table> = table(ServerTlsKeys::ROWS).optional("plain TCP", "certificate of the listener"),
        users: Option<Entries> = tables().optional("nobody logs in", "who may connect, and which topics they may use"),
        anonymous: Option<bool> = flag().optional("`true` on loopback without `users`", "connect without a login; every topic is open"),
        max_payload: MemorySize = memory_size("1B", "16MiB").default("256KiB", "largest payload; a larger one is refused"),
        max_connections: Count<usize> = count(1, 100_000).default("1000", "connections at once"),
        max_connections_per_ip: Count<usize> = count(0, 100_000).default("0", "connections at once of one address; 0 for no limit of its own"),
        connect_timeout: Duration = duration("100ms", "10m").default("10s", "from the connection to its CONNECT"),
        keep_alive_max: Duration = duration("1s", "18h").default("1h", "longest keep-alive of MQTT 5: a longer one, or none, is answered with this; MQTT 3 clients keep their own"),
        tcp_keepalive: Duration = duration("1s", "2h").default("1m", "silence after which a client is asked whether it is still there (TCP keepalive); without an answer for as long again its connection ends"),
        receive_max: Count<u16> = count(1, 65_535).default("256", "QoS 1 and 2 publishes under way per connection"),
        max_subscriptions: Count<usize> = count(0, 65_535).default("64", "subscriptions per connection"),
        max_topic_levels: Count<usize> = count(1, 200).default("32", "levels of a topic"),
        max_topic: MemorySize = memory_size("1B", "65535B").default("1024B", "bytes of a topic"),
        id_field: Option<Text> = text().optional("none", id_field::HELP),
    }
}

/// A listener that devices connect to.
#[derive(Debug, Clone, PartialEq)]
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
    /// `keep_alive_max` (1h): longer or absent keep-alives of MQTT 5 are answered with it (Server Keep Alive)
    pub keep_alive_max: Duration,
    /// `tcp_keepalive` (1m)
    pub tcp_keepalive: Duration,
    /// `receive_max` (256): QoS 1 and 2 publishes under way per connection
    pub receive_max: u16,
    /// `max_subscriptions` (64) per connection
    pub subscriptions_max: usize,
    /// `max_topic_levels` (32), `max_topic` (1024 bytes)
    pub topic_levels_max: usize,
    /// See `topic_levels_max`.
    pub topic_bytes_max: usize,
    /// `id_field`
    pub id_field: Option<String>,
}

impl Kind for MqttListener {
    const NAME: &'static str = "mqtt-listener";
    const KEYS: Rows = MqttListenerKeys::ROWS;
    const TABLES: &'static [KeyGroup] = listener::TABLES;

    fn read(section: &Section<'_>, _: &Entry<'_>) -> Option<MqttListener> {
        let keys = AccessKeys {
            listen: &KEYS.listen,
            tls: &KEYS.tls,
            users: &KEYS.users,
            anonymous: &KEYS.anonymous,
        };
        let access = access(section, &keys, Beside::Certificate);
        let payload_bytes_max = section.read(&KEYS.max_payload);
        let connections_max = section.read(&KEYS.max_connections);
        let connections_per_ip_max = section.read(&KEYS.max_connections_per_ip);
        let connect_timeout = section.read(&KEYS.connect_timeout);
        let keep_alive_max = section.read(&KEYS.keep_alive_max);
        let tcp_keepalive = section.read(&KEYS.tcp_keepalive);
        let receive_max = section.read(&KEYS.receive_max);
        let subscriptions_max = section.read(&KEYS.max_subscriptions);
        let topic_levels_max = section.read(&KEYS.max_topic_levels);
        let topic_bytes_max = section.read(&KEYS.max_topic);
        let id_field = id_field::of_section(section, &KEYS.id_field);
        let access = access?;
        Some(MqttListener {
            listen: access.listen,
            tls: access.tls,
            users: access.users,
            anonymous: access.anonymous,
            payload_bytes_max,
            connections_max,
            connections_per_ip_max,
            connect_timeout,
            keep_alive_max,
            tcp_keepalive,
            receive_max,
            subscriptions_max,
            topic_levels_max,
            topic_bytes_max,
            id_field,
        })
    }

    fn claim(&self) -> Option<Claim<'_>> {
        Some(Claim::Address(self.listen))
    }
}
