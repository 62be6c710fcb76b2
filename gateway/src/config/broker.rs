//! The keys that every MQTT client of ours has, and certificates on either side.

use super::address::{self, Url};
use super::secret::Secret;
use super::section::Section;
use super::{Broker, ClientTls, MqttVersion, ServerTls, files};

/// Schemes of an MQTT url: plain and with TLS.
const SCHEMES: [&str; 2] = ["mqtt", "mqtts"];

/// Reads where a broker is and how to log in there.
pub(super) fn broker(section: &Section<'_>, gateway_id: &str, name: &str) -> Option<Broker> {
    let url = address::url(section, &SCHEMES);
    let login = login(section);
    let tls = client_tls(section);
    let client_id = section.text("client_id").map(|found| found.value);
    let version = match section.choice("version") {
        "3.1.1" => MqttVersion::V311,
        _ => MqttVersion::V5,
    };
    let keep_alive = section.duration("keep_alive");
    let url = url?;
    if !url.path.trim_matches('/').is_empty() {
        section.refuse("url", format!("`{}` has a path, MQTT knows none", url.text));
    }
    let encrypted = url.scheme == "mqtts";
    if !encrypted {
        note_plain(section, &url, login.is_some());
    }
    Some(Broker {
        port: url.port.unwrap_or(if encrypted { 8883 } else { 1883 }),
        url: url.text,
        host: url.host,
        tls: encrypted.then_some(tls),
        version,
        client_id: client_id.unwrap_or_else(|| format!("{gateway_id}-{name}")),
        login,
        keep_alive,
    })
}

/// What does not go together with a connection in the clear.
fn note_plain(section: &Section<'_>, url: &Url, login: bool) {
    for key in ["ca", "cert", "key"] {
        if section.has(key) {
            let error = section.error(key, format!("`{key}` has no use with mqtt://"));
            section
                .reading
                .note(error.with_label("write mqtts:// in `url`"));
        }
    }
    if login && !url.is_loopback() {
        let message = format!("the password goes to {} in the clear", url.host);
        let warning = section.reading.warning(url.span.clone(), message);
        section
            .reading
            .note(warning.with_label("mqtts:// would encrypt it"));
    }
}

fn login(section: &Section<'_>) -> Option<(String, Secret)> {
    let user = section.text("user").map(|found| found.value);
    let secret = files::secret_or_file(section, "password", "password_file");
    for key in ["password", "password_file"] {
        if section.has(key) && !section.has("user") {
            section.refuse(key, format!("`{key}` without a `user`"));
        }
    }
    Some((user?, secret.unwrap_or_else(|| Secret::new(""))))
}

/// Reads `ca`, `cert` and `key`.
pub(super) fn client_tls(section: &Section<'_>) -> ClientTls {
    let ca = files::certificates(section, "ca");
    let cert = files::certificates(section, "cert");
    let key = files::private_key(section, "key");
    for (one, other) in [("cert", "key"), ("key", "cert")] {
        if section.has(one) && !section.has(other) {
            section.refuse(
                one,
                format!("`{one}` goes with `{other}`, which is missing"),
            );
        }
    }
    ClientTls {
        ca,
        identity: cert.zip(key),
    }
}

/// Reads `tls = { cert, key, client_ca }`.
pub(super) fn server_tls(section: &Section<'_>) -> Option<ServerTls> {
    let tls = section.table("tls")?;
    let cert = files::certificates(&tls, "cert");
    let key = files::private_key(&tls, "key");
    let client_ca = files::certificates(&tls, "client_ca");
    Some(ServerTls {
        cert: cert?,
        key: key?,
        client_ca,
    })
}
