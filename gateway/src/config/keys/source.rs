//! Keys of `[sources.NAME]`, type by type.

use crate::config::key::{Key, Takes};
use Takes::{Address, Choice, Count, Duration, Flag, Path, Size, Table, Tables, Text, Texts};

/// What every `[sources.NAME]` has.
pub const SOURCE: &[Key] = &[Key::required(
    "type",
    Choice(&["mqtt-listener", "mqtt", "serial", "lines", "http"]),
    "kind of source",
)];

/// `type = "mqtt-listener"`
pub const MQTT_LISTENER: &[Key] = &[
    Key::required("listen", Address, "where devices connect"),
    Key::optional(
        "tls",
        Table(SERVER_TLS),
        "plain TCP",
        "certificate of the listener",
    ),
    Key::optional(
        "users",
        Tables(USER),
        "nobody logs in",
        "who may connect, and which topics they may use",
    ),
    Key::optional(
        "anonymous",
        Flag,
        "`true` on loopback without `users`",
        "connect without a login; every topic is open",
    ),
    Key::default(
        "max_payload",
        Size("1B", "16MiB"),
        "256KiB",
        "largest payload; a larger one is refused",
    ),
    Key::default(
        "max_connections",
        Count(1, 100_000),
        "1000",
        "connections at once",
    ),
    Key::default(
        "max_connections_per_ip",
        Count(0, 100_000),
        "0",
        "connections at once of one address; 0 for no limit of its own",
    ),
    Key::default(
        "connect_timeout",
        Duration("100ms", "10m"),
        "10s",
        "from the connection to its CONNECT",
    ),
    Key::default(
        "keep_alive_max",
        Duration("1s", "18h"),
        "1h",
        "longest keep-alive; longer or absent ones are capped",
    ),
    Key::default(
        "receive_max",
        Count(1, 65_535),
        "256",
        "QoS 1 and 2 publishes under way per connection",
    ),
    Key::default(
        "max_subscriptions",
        Count(0, 65_535),
        "64",
        "subscriptions per connection",
    ),
    Key::default("max_topic_levels", Count(1, 200), "32", "levels of a topic"),
    Key::default(
        "max_topic",
        Size("1B", "65535B"),
        "1024B",
        "bytes of a topic",
    ),
];

/// `users.NAME`
pub const USER: &[Key] = &[
    Key::optional(
        "password_hash",
        Text,
        "`password_hash_file` is read",
        "what `tidegate hash-password` printed",
    ),
    Key::optional(
        "password_hash_file",
        Path,
        "`password_hash` is used",
        "file with the hash; must not be readable by everyone",
    ),
    Key::optional(
        "publish",
        Texts,
        "nothing",
        "topic filters it may publish to; `{user}` and `{client}` stand for its own names",
    ),
    Key::optional(
        "subscribe",
        Texts,
        "nothing",
        "topic filters it may subscribe to",
    ),
];

/// `tls`
pub const SERVER_TLS: &[Key] = &[
    Key::required("cert", Path, "PEM certificate chain"),
    Key::required(
        "key",
        Path,
        "PEM private key; must not be readable by everyone",
    ),
    Key::optional(
        "client_ca",
        Path,
        "no client certificates",
        "PEM roots that every client's certificate must come from",
    ),
];

/// `type = "mqtt"` of a source
pub const MQTT_SOURCE: &[Key] = &[
    Key::required("topics", Texts, "topic filters to subscribe to"),
    Key::default(
        "qos",
        Count(0, 2),
        "1",
        "QoS of the subscriptions; 0 may lose events on the way here, 2 is asked for as 1",
    ),
    Key::default(
        "max_payload",
        Size("1B", "16MiB"),
        "256KiB",
        "largest payload; a larger one is not acknowledged and stays with the broker",
    ),
];

/// Which serial port.
pub const PORT: &[Key] = &[
    Key::optional(
        "port",
        Path,
        "`match` finds it",
        "device file, such as `/dev/ttyACM0`",
    ),
    Key::optional(
        "match",
        Table(USB_MATCH),
        "`port` names it",
        "finds a USB port wherever it is plugged in",
    ),
    Key::default("baud", Count(300, 12_000_000), "115200", "bits per second"),
    Key::default(
        "reopen_max",
        Duration("10ms", "10m"),
        "5s",
        "longest pause between attempts to open the port again",
    ),
];

/// `match`
pub const USB_MATCH: &[Key] = &[
    Key::optional("vid", Text, "any", "USB vendor id, four hexadecimal digits"),
    Key::optional(
        "pid",
        Text,
        "any",
        "USB product id, four hexadecimal digits",
    ),
    Key::optional("serial", Text, "any", "USB serial number"),
];

/// `type = "serial"`
pub const SERIAL: &[Key] = &[Key::default(
    "topic",
    Text,
    "devices/{device}",
    "topic of the device's readings",
)];

/// `type = "lines"`
pub const LINES: &[Key] = &[
    Key::required("format", Choice(&["json", "csv", "text"]), "what a line is"),
    Key::optional(
        "columns",
        Texts,
        "refused for `csv`",
        "names of the columns, in order",
    ),
    Key::optional("delimiter", Text, "`\",\"`", "character between columns"),
    Key::optional("topic", Text, "the source's name", "topic of every line"),
    Key::default(
        "max_line",
        Size("1B", "1MiB"),
        "4096B",
        "longest line; a longer one is refused",
    ),
];

/// `type = "http"` of a source
pub const HTTP_SOURCE: &[Key] = &[
    Key::required("listen", Address, "where events are posted"),
    Key::optional(
        "tls",
        Table(SERVER_TLS),
        "plain HTTP",
        "certificate of the listener",
    ),
    Key::optional(
        "users",
        Tables(USER),
        "nobody logs in",
        "who may post (HTTP basic), and to which topics",
    ),
    Key::optional(
        "anonymous",
        Flag,
        "`true` on loopback without `users`",
        "post without a login; every topic is open",
    ),
    Key::default(
        "max_payload",
        Size("1B", "16MiB"),
        "256KiB",
        "largest payload of one event; a batch may hold 4 MiB",
    ),
    Key::default(
        "max_connections",
        Count(1, 100_000),
        "256",
        "connections at once",
    ),
];
