//! Keys of `[upstreams.NAME]`, type by type.

use crate::config::key::{Key, Takes};
use Takes::{Choice, Count, Duration, Flag, Pairs, Path, Size, Text};

/// What every `[upstreams.NAME]` has.
pub const LANE: &[Key] = &[
    Key::required(
        "type",
        Choice(&["mqtt", "http", "file"]),
        "kind of upstream",
    ),
    Key::default(
        "backfill",
        Choice(&["in_order", "live_first"]),
        "in_order",
        "whether live events wait for the backlog; `live_first` gives up order",
    ),
    Key::default(
        "live_weight",
        Count(1, 1_000),
        "4",
        "live events for each backlog event under `live_first`",
    ),
    Key::default(
        "inflight",
        Count(1, 65_535),
        "256",
        "deliveries under way at once; as many may arrive twice after a cut",
    ),
    Key::default(
        "inflight_size",
        Size("1KiB", "1GiB"),
        "4MiB",
        "bytes under way at once",
    ),
    Key::optional(
        "max_rate",
        Count(1, 1_000_000),
        "no limit",
        "events per second",
    ),
    Key::optional(
        "max_bandwidth",
        Size("1B", "16GiB"),
        "no limit",
        "bytes per second",
    ),
    Key::default(
        "retry_min",
        Duration("1ms", "1h"),
        "250ms",
        "shortest pause before a new attempt",
    ),
    Key::default(
        "retry_max",
        Duration("1ms", "24h"),
        "30s",
        "longest pause before a new attempt",
    ),
    Key::default(
        "refusals_max",
        Count(1, 1_000),
        "5",
        "definite refusals of one event before it becomes a dead letter",
    ),
    Key::default(
        "ack_timeout",
        Duration("100ms", "1h"),
        "30s",
        "a delivery unsettled for longer means that the connection is dead",
    ),
];

/// `type = "mqtt"` of an upstream
pub const MQTT_UPSTREAM: &[Key] = &[
    Key::default(
        "topic",
        Text,
        "{topic}",
        "topic to publish under; `{topic}` `{source}` `{publisher}` `{type}` `{id}` `{key}` `{gateway}`",
    ),
    Key::default(
        "qos",
        Count(1, 2),
        "1",
        "QoS of the publishes; 0 is never acknowledged, hence refused",
    ),
    Key::default("retain", Flag, "false", "publish as retained messages"),
    Key::default(
        "format",
        Choice(&["binary", "structured"]),
        "binary",
        "payload as it is with the envelope beside it, or one JSON document",
    ),
];

/// `type = "http"` of an upstream
pub const HTTP_UPSTREAM: &[Key] = &[
    Key::required(
        "url",
        Text,
        "where events are posted: `https://…` or `http://…`, without a password",
    ),
    Key::optional(
        "headers",
        Pairs,
        "none",
        "further headers; values may hold `${VARIABLE}`",
    ),
    Key::optional(
        "bearer",
        Text,
        "`bearer_file` is read",
        "token, as `\"${VARIABLE}\"` only",
    ),
    Key::optional(
        "bearer_file",
        Path,
        "no token",
        "file with the token; must not be readable by everyone",
    ),
    Key::default(
        "batch_max",
        Count(1, 1_000),
        "1",
        "events in one request; more than 1 posts `application/cloudevents-batch+json`",
    ),
    Key::default(
        "timeout",
        Duration("100ms", "10m"),
        "10s",
        "how long one request may take",
    ),
    Key::default(
        "format",
        Choice(&["binary", "structured"]),
        "binary",
        "envelope in headers, or one JSON document",
    ),
    Key::default(
        "requests_max",
        Count(1, 64),
        "1",
        "requests under way at once; more than 1 gives up order",
    ),
];

/// `type = "file"`
pub const FILE_UPSTREAM: &[Key] = &[
    Key::required(
        "path",
        Path,
        "file of JSON lines; `events.jsonl` rotates to `events.jsonl.1` …",
    ),
    Key::default(
        "rotate_size",
        Size("4KiB", "16TiB"),
        "64MiB",
        "size at which a new file is begun",
    ),
    Key::default(
        "keep_files",
        Count(0, 100_000),
        "8",
        "rotated files kept; 0 keeps all",
    ),
];
