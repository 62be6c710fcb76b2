//! Every key of `gateway.toml`, section by section.
//!
//! The reader refuses what is not listed here, and the README's table is made from it.

mod connection;
mod source;
mod upstream;

pub use connection::*;
pub use source::*;
pub use upstream::*;

use super::key::{Key, Takes};
use Takes::{Address, Choice, Count, Duration, Flag, Path, Size, Table, Tables, Text, Texts};

/// Keys that one kind of section takes, under the heading the README gives them.
#[derive(Debug, Clone, Copy)]
pub struct Group {
    /// The section, and the `type` where it depends on it.
    pub heading: &'static str,
    /// Its keys.
    pub keys: &'static [Key],
}

/// All groups, in the order of the README.
pub const GROUPS: &[Group] = &[
    Group {
        heading: "[gateway]",
        keys: GATEWAY,
    },
    Group {
        heading: "[store]",
        keys: STORE,
    },
    Group {
        heading: "[api]",
        keys: API,
    },
    Group {
        heading: "[sources.NAME]",
        keys: SOURCE,
    },
    Group {
        heading: "source mqtt-listener",
        keys: MQTT_LISTENER,
    },
    Group {
        heading: "source http",
        keys: HTTP_SOURCE,
    },
    Group {
        heading: "users.NAME of a listener",
        keys: USER,
    },
    Group {
        heading: "tls of a listener",
        keys: SERVER_TLS,
    },
    Group {
        heading: "source mqtt",
        keys: MQTT_SOURCE,
    },
    Group {
        heading: "source serial",
        keys: SERIAL,
    },
    Group {
        heading: "source lines",
        keys: LINES,
    },
    Group {
        heading: "source serial, lines",
        keys: PORT,
    },
    Group {
        heading: "match of a port",
        keys: USB_MATCH,
    },
    Group {
        heading: "[upstreams.NAME]",
        keys: LANE,
    },
    Group {
        heading: "upstream mqtt",
        keys: MQTT_UPSTREAM,
    },
    Group {
        heading: "source mqtt, upstream mqtt",
        keys: BROKER,
    },
    Group {
        heading: "source mqtt, upstreams mqtt and http",
        keys: CLIENT_TLS,
    },
    Group {
        heading: "upstream http",
        keys: HTTP_UPSTREAM,
    },
    Group {
        heading: "upstream file",
        keys: FILE_UPSTREAM,
    },
];

/// The sections themselves.
pub const ROOT: &[Key] = &[
    Key::required("gateway", Table(GATEWAY), "who this gateway is"),
    Key::optional("store", Table(STORE), "all defaults", "the event store"),
    Key::optional("api", Table(API), "no API", "metrics and health over HTTP"),
    Key::optional("sources", Tables(SOURCE), "none", "where events come from"),
    Key::optional("upstreams", Tables(LANE), "none", "where events go to"),
];

/// `[gateway]`
pub const GATEWAY: &[Key] = &[
    Key::required(
        "id",
        Text,
        "prefix of every event's CloudEvents `source`; letters, digits, `.`, `_`, `-`",
    ),
    Key::required(
        "data_dir",
        Path,
        "folder of the event store and the control socket",
    ),
    Key::optional(
        "rules",
        Path,
        "every event goes to every upstream",
        "folder of `*.rules` files",
    ),
    Key::default(
        "shutdown_max",
        Duration("0s", "10m"),
        "10s",
        "how long forwarders may finish what is in flight",
    ),
    Key::default(
        "dedup_window",
        Count(0, 16_777_216),
        "65536",
        "ids remembered for senders that give their own",
    ),
];

/// `[store]`
pub const STORE: &[Key] = &[
    Key::default(
        "max_size",
        Size("1MiB", "16TiB"),
        "2GiB",
        "bytes on disk of all generations together",
    ),
    Key::default(
        "commit_delay",
        Duration("0ms", "1s"),
        "0ms",
        "how long an acknowledgement waits for company where some is to come: fewer, larger commits, less wear",
    ),
    Key::default(
        "commit_delay_max",
        Duration("0ms", "1s"),
        "5ms",
        "how long an acknowledgement may wait for company",
    ),
    Key::default(
        "when_full",
        Choice(&["refuse", "shed"]),
        "refuse",
        "at the cap stop acknowledging, or give up the least urgent events",
    ),
    Key::optional(
        "expire_after",
        Duration("1s", "3650d"),
        "never",
        "give up events that wait for longer; only the gateway's running time counts",
    ),
    Key::default(
        "keep_for",
        Duration("0s", "3650d"),
        "24h",
        "how long delivered events are kept for replay",
    ),
    Key::optional(
        "endurance",
        Size("1GiB", "16384TiB"),
        "unknown",
        "what may be written to the disk in all, as its maker says: `store status` and the metrics then tell its lifetime",
    ),
    Key::default(
        "free_min",
        Size("0B", "1TiB"),
        "64MiB",
        "below this much free disk nothing is acknowledged",
    ),
    Key::default(
        "generation_size",
        Size("16KiB", "1GiB"),
        "8MiB",
        "disk space is given back in pieces of this size; at most an eighth of `max_size`, to which the default gives way",
    ),
];

/// `[api]`
pub const API: &[Key] = &[
    Key::default(
        "listen",
        Address,
        "127.0.0.1:9884",
        "`/metrics`, `/healthz`, `/readyz`, `/status` over HTTP",
    ),
    Key::default(
        "anonymous",
        Flag,
        "false",
        "must be `true` for an address other than loopback: the API asks for no login",
    ),
    Key::optional(
        "hosts",
        Texts,
        "none",
        "host names it answers to, beside `localhost` and addresses",
    ),
];
