//! Keys of every connection that the gateway opens to a broker or server.

use crate::config::key::{Key, Takes};
use Takes::{Choice, Duration, Path, Text};

/// `type = "mqtt"` of a source and an upstream
pub const BROKER: &[Key] = &[
    Key::required(
        "url",
        Text,
        "`mqtt://host:1883` or `mqtts://host:8883`, without a password",
    ),
    Key::default("version", Choice(&["5", "3.1.1"]), "5", "MQTT version"),
    Key::optional(
        "client_id",
        Text,
        "`<gateway id>-<name>`",
        "MQTT client id; one of its own for each connection",
    ),
    Key::optional("user", Text, "no login", "user name"),
    Key::optional(
        "password",
        Text,
        "`password_file` is read",
        "`\"${VARIABLE}\"` only; a password is never written into the file",
    ),
    Key::optional(
        "password_file",
        Path,
        "`password` is used",
        "file with the password; must not be readable by everyone",
    ),
    Key::default(
        "keep_alive",
        Duration("1s", "18h"),
        "30s",
        "how soon a dead connection is noticed",
    ),
];

/// Certificates of a client.
pub const CLIENT_TLS: &[Key] = &[
    Key::optional(
        "ca",
        Path,
        "the system's roots",
        "PEM roots that the server's certificate must come from",
    ),
    Key::optional(
        "cert",
        Path,
        "no client certificate",
        "PEM certificate chain; goes with `key`",
    ),
    Key::optional(
        "key",
        Path,
        "no client certificate",
        "PEM private key; must not be readable by everyone",
    ),
];
