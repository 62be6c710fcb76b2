//! `type = "http"` of `[sources.NAME]`.

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
    /// Keys of an HTTP source.
    KEYS: HttpSourceKeys {
        listen: Option<SocketAddr> = address().required("where events are posted"),
        tls: Option<Table> = table(ServerTlsKeys::ROWS).optional("plain HTTP", "certificate of the listener"),
        users: Option<Entries> = tables().optional("nobody logs in", "who may post (HTTP basic or a bearer token), and to which topics"),
        anonymous: Option<bool> = flag().optional("`true` on loopback without `users`", "post without a login; every topic is open"),
        max_payload: MemorySize = memory_size("1B", "16MiB").default("256KiB", "largest payload of one event; a batch may hold 4 MiB"),
        max_connections: Count<usize> = count(1, 100_000).default("256", "connections at once"),
        max_connections_per_ip: Count<usize> = count(0, 100_000).default("64", "connections at once of one address; 0 for no limit of its own"),
        head_timeout: Duration = duration("100ms", "10m").default("5s", "from the first byte of a request's head to its last"),
        id_field: Option<Text> = text().optional("none", id_field::HELP),
    }
}

/// `POST /events` with one or many CloudEvents, or `POST /topics/<topic>` with any body.
#[derive(Debug, Clone, PartialEq)]
pub struct HttpSource {
    /// `listen`
    pub listen: SocketAddr,
    /// `tls`
    pub tls: Option<ServerTls>,
    /// `users` as for the listener (HTTP basic or a bearer token); empty means anonymous on loopback only.
    pub users: Vec<User>,
    /// `anonymous` (true on loopback when no users are given)
    pub anonymous: bool,
    /// `max_payload` (256KiB) of one event; a batch may hold 4 MiB.
    pub payload_bytes_max: usize,
    /// `max_connections` (256)
    pub connections_max: usize,
    /// `max_connections_per_ip` (64; 0: no limit of its own)
    pub connections_per_ip_max: usize,
    /// `head_timeout` (5s): a request's head, once it has begun
    pub head_max: Duration,
    /// `id_field`
    pub id_field: Option<String>,
}

impl Kind for HttpSource {
    const NAME: &'static str = "http";
    const KEYS: Rows = HttpSourceKeys::ROWS;
    const TABLES: &'static [KeyGroup] = listener::HTTP_TABLES;

    fn read(section: &Section<'_>, _: &Entry<'_>) -> Option<HttpSource> {
        let keys = AccessKeys {
            listen: &KEYS.listen,
            tls: &KEYS.tls,
            users: &KEYS.users,
            anonymous: &KEYS.anonymous,
        };
        let access = access(section, &keys, Beside::Bearer);
        let payload_bytes_max = section.read(&KEYS.max_payload);
        let connections_max = section.read(&KEYS.max_connections);
        let connections_per_ip_max = section.read(&KEYS.max_connections_per_ip);
        let head_max = section.read(&KEYS.head_timeout);
        let id_field = id_field::of_section(section, &KEYS.id_field);
        let access = access?;
        Some(HttpSource {
            listen: access.listen,
            tls: access.tls,
            users: access.users,
            anonymous: access.anonymous,
            payload_bytes_max,
            connections_max,
            connections_per_ip_max,
            head_max,
            id_field,
        })
    }

    fn payload_bytes_max(&self) -> Option<usize> {
        Some(self.payload_bytes_max)
    }

    fn claim(&self) -> Option<Claim<'_>> {
        Some(Claim::Address(self.listen))
    }
}
