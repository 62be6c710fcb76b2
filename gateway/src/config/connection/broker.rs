//! Where an MQTT broker is and how to log in there: for every MQTT client of ours.

use std::path::PathBuf;
use std::time::Duration;

use super::client_tls::{self, ClientTls};
use super::tls;
use crate::config::key::{Choice, Key, OneOf, Text, duration, keys, one_of, path, text};
use crate::config::kinds::{Claim, Entry, KeyGroup};
use crate::config::section::Section;
use crate::config::value::address::{self, Url};
use crate::config::value::files;
use crate::config::value::secret::Secret;
use crate::config::value::topics;

/// Schemes of an MQTT url: plain and with TLS.
const SCHEMES: [&str; 2] = ["mqtt", "mqtts"];

keys! {
    /// Keys of every MQTT client.
    pub(crate) BROKER: BrokerKeys {
        url: Option<Text> = text().required("`mqtt://host:1883` or `mqtts://host:8883`, without a password"),
        version: OneOf<MqttVersion> = one_of().default("5", "MQTT version"),
        client_id: Option<Text> = text().optional("`<gateway id>-<name>`", "MQTT client id; one of its own for each connection"),
        user: Option<Text> = text().optional("no login", "user name"),
        password: Option<Text> = text().optional("`password_file` is read", "`\"${VARIABLE}\"` only; a password is never written into the file"),
        password_file: Option<PathBuf> = path().optional("`password` is used", "file with the password; must not be readable by everyone"),
        keep_alive: Duration = duration("1s", "18h").default("30s", "how soon a dead connection is noticed"),
    }
}

/// For the kinds that connect to an MQTT broker: these keys, then those of their certificates.
pub(crate) const GROUPS: &[KeyGroup] = &[
    KeyGroup {
        heading: "source mqtt, upstream mqtt",
        keys: BrokerKeys::ROWS,
    },
    client_tls::GROUP,
];

/// Host, port and credentials of a broker: `mqtt://host:1883` or `mqtts://host:8883`.
#[derive(Debug, Clone, PartialEq)]
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

impl Choice for MqttVersion {
    const CHOICES: &'static [(&'static str, MqttVersion)] =
        &[("5", MqttVersion::V5), ("3.1.1", MqttVersion::V311)];
}

impl Broker {
    /// Reads where a broker is and how to log in there.
    pub(crate) fn read(section: &Section<'_>, entry: &Entry<'_>) -> Option<Broker> {
        let url = address::url(section, &BROKER.url, &SCHEMES);
        let login = login(section);
        let tls = ClientTls::read(section);
        let client_id = text_of_mqtt(section, &BROKER.client_id);
        let version = section.read(&BROKER.version);
        let keep_alive = section.read(&BROKER.keep_alive);
        let url = url?;
        if !url.path.trim_matches('/').is_empty() {
            let message = format!("`{}` has a path, MQTT knows none", url.text);
            section.report(&BROKER.url, message);
        }
        if client_id.as_deref() == Some("") {
            let message =
                "`client_id` is empty; leave it out, and the gateway's id and this name are taken";
            section.report(&BROKER.client_id, message);
        }
        let encrypted = url.scheme == "mqtts";
        match encrypted {
            true => tls.report_unusable(section, &BROKER.url, tls::client::objection),
            false => report_plain(section, &url, login.is_some()),
        }
        let (gateway_id, name) = (entry.gateway_id, entry.name);
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

    /// One connection with this client id at this broker.
    pub(crate) fn claim(&self) -> Claim<'_> {
        Claim::Client {
            host: &self.host,
            port: self.port,
            client_id: &self.client_id,
        }
    }
}

/// Reports what does not go together with a connection in the clear.
fn report_plain(section: &Section<'_>, url: &Url, login: bool) {
    ClientTls::report_unused(section, "mqtt://", "mqtts://");
    if login && !url.is_loopback() {
        let message = format!("the password goes to {} in the clear", url.host);
        let warning = section.context.warning(url.span.clone(), message);
        section
            .context
            .report(warning.with_label("mqtts:// would encrypt it"));
    }
}

/// A text that goes into a CONNECT.
fn text_of_mqtt(section: &Section<'_>, key: &Key<Option<Text>>) -> Option<String> {
    let text = section.read(key)?.value;
    if let Some(why) = topics::objection(&text) {
        section.report(key, format!("`{}` {why}", key.any().name));
    }
    Some(text)
}

fn login(section: &Section<'_>) -> Option<(String, Secret)> {
    let user = text_of_mqtt(section, &BROKER.user);
    let secret = files::secret_or_file(section, &BROKER.password, &BROKER.password_file);
    let longest = topics::TEXT_BYTES_MAX;
    if let Some(bytes) = secret.as_ref().map(|secret| secret.reveal().len())
        && bytes > longest
    {
        let key = match section.has(&BROKER.password) {
            true => BROKER.password.any(),
            false => BROKER.password_file.any(),
        };
        let message = format!("the password has {bytes} bytes; MQTT carries at most {longest}");
        section.report(key, message);
    }
    for key in [BROKER.password.any(), BROKER.password_file.any()] {
        if section.has(key) && !section.has(&BROKER.user) {
            section.report(key, format!("`{}` without a `user`", key.name));
        }
    }
    Some((user?, secret.unwrap_or_else(|| Secret::new(""))))
}
