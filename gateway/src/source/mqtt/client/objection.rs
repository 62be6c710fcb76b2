//! Why a connection to a broker is over, in words that say what to do: what the client library says of it is for its
//! developers.

use std::error::Error;
use std::fmt::Debug;

use rumqttc::v5::mqttbytes::v5::DisconnectReasonCode;
use rumqttc::{ConnectionError, StateError, mqttbytes, v5};

use crate::config::ClientTls;
use crate::config::connection::tls::objection;

const CLOSED: &str = "the broker closed the connection";
const NOT_MQTT: &str =
    "the other end does not speak MQTT; see the port in `url`, and mqtts:// if it speaks TLS";

/// Of a connection with MQTT 3.1.1.
pub(super) fn told(error: &ConnectionError, tls: Option<&ClientTls>, connected: bool) -> String {
    let known = match error {
        ConnectionError::ConnectionRefused(why) => Some(refused(why)),
        ConnectionError::MqttState(StateError::ConnectionAborted) => Some(match connected {
            true => CLOSED.to_owned(),
            false => format!("{CLOSED} before CONNACK"),
        }),
        ConnectionError::MqttState(StateError::AwaitPingResp) => Some(unanswered()),
        ConnectionError::MqttState(StateError::Deserialization(mqttbytes::Error::Io(error))) => {
            Some(of_bytes(error, tls, connected))
        }
        ConnectionError::MqttState(StateError::Deserialization(_)) if !connected => {
            Some(NOT_MQTT.to_owned())
        }
        _ => None,
    };
    known.unwrap_or_else(|| below(error, tls))
}

/// Of a connection with MQTT 5.
pub(super) fn told_v5(
    error: &v5::ConnectionError,
    tls: Option<&ClientTls>,
    connected: bool,
) -> String {
    use v5::StateError;
    let known = match error {
        v5::ConnectionError::ConnectionRefused(why) => Some(refused(why)),
        v5::ConnectionError::MqttState(StateError::ConnFail { reason }) => Some(refused(reason)),
        v5::ConnectionError::MqttState(StateError::ServerDisconnect {
            reason_code,
            reason_string,
        }) => Some(disconnected(*reason_code, reason_string.as_deref())),
        v5::ConnectionError::NotConnAck(packet) => match &**packet {
            v5::mqttbytes::v5::Packet::Disconnect(said) => {
                let words = said.properties.as_ref();
                let words = words.and_then(|said| said.reason_string.as_deref());
                Some(disconnected(said.reason_code, words))
            }
            _ => Some("the broker sends something else before CONNACK".to_owned()),
        },
        // A broker that knows 3.1.1 only answers so, or with an answer in the form of 3.1.1.
        v5::ConnectionError::MqttState(StateError::ConnectionAborted) if !connected => {
            Some(format!("{CLOSED} before CONNACK{OLDER}"))
        }
        v5::ConnectionError::MqttState(StateError::Deserialization(v5::mqttbytes::Error::Io(
            error,
        ))) => Some(of_bytes(error, tls, connected)),
        v5::ConnectionError::MqttState(StateError::Deserialization(_)) if !connected => {
            Some(format!("{NOT_MQTT}{OLDER}"))
        }
        v5::ConnectionError::MqttState(StateError::ConnectionAborted) => Some(CLOSED.to_owned()),
        v5::ConnectionError::MqttState(StateError::AwaitPingResp) => Some(unanswered()),
        _ => None,
    };
    known.unwrap_or_else(|| below(error, tls))
}

const OLDER: &str = "; if it knows MQTT 3.1.1 only, set `version = \"3.1.1\"`";

/// The broker said goodbye, with this reason and perhaps words of its own.
pub(super) fn disconnected(reason: DisconnectReasonCode, said: Option<&str>) -> String {
    let name = spaced(&reason);
    let code = reason as u8;
    let see = match reason {
        DisconnectReasonCode::SessionTakenOver => {
            "; another client has this client id: set `client_id`"
        }
        DisconnectReasonCode::NotAuthorized => "; see `user` and `password_file`",
        _ => "",
    };
    let said = said.map_or(String::new(), |said| format!(": {said}"));
    format!("the broker disconnected: {name} (0x{code:02x}){said}{see}")
}

/// CONNACK said no.
fn refused(reason: &impl Debug) -> String {
    let name = spaced(reason);
    let see = match &*name {
        name if name.contains("version") => "; try `version = \"3.1.1\"`",
        name if name.contains("client id") => "; see `client_id`",
        name if name.contains("password") || name.contains("authorized") => {
            "; see `user` and `password_file`"
        }
        _ => "",
    };
    format!("the broker refused the connection: {name}{see}")
}

fn unanswered() -> String {
    "the broker does not answer a ping within `keep_alive`".to_owned()
}

/// What the system says of bytes; what is left at the end of a connection before CONNACK was none of MQTT.
fn of_bytes(error: &std::io::Error, tls: Option<&ClientTls>, connected: bool) -> String {
    let told = below(error, tls);
    match connected || !told.contains("bytes remaining") {
        true => told,
        false => NOT_MQTT.to_owned(),
    }
}

/// What the TLS layer or the system said, without what wraps it.
fn below(error: &(dyn Error + 'static), tls: Option<&ClientTls>) -> String {
    if let Some(told) = tls.and_then(|tls| objection::of_server(error, tls, "mqtt://")) {
        return told;
    }
    let mut cause = error;
    while let Some(deeper) = cause.source() {
        cause = deeper;
    }
    cause.to_string()
}

/// `ServerShuttingDown` → `server shutting down`
fn spaced(name: &impl Debug) -> String {
    let mut words = String::new();
    for letter in format!("{name:?}").replace("QoS", "Qos").chars() {
        if letter.is_ascii_uppercase() && !words.is_empty() {
            words.push(' ');
        }
        words.push(letter.to_ascii_lowercase());
    }
    words
}

#[cfg(test)]
mod tests {
    use super::*;
    use v5::mqttbytes::v5::ConnectReturnCode;

    #[test]
    fn a_reason_is_told_in_words_and_with_what_to_do() {
        let cases = [
            (
                disconnected(DisconnectReasonCode::ServerShuttingDown, None),
                "the broker disconnected: server shutting down (0x8b)",
            ),
            (
                disconnected(DisconnectReasonCode::QuotaExceeded, Some("10 a day")),
                "the broker disconnected: quota exceeded (0x97): 10 a day",
            ),
            (
                disconnected(DisconnectReasonCode::SessionTakenOver, None),
                "the broker disconnected: session taken over (0x8e); another client has this client id: set `client_id`",
            ),
            (
                refused(&ConnectReturnCode::UnsupportedProtocolVersion),
                "the broker refused the connection: unsupported protocol version; try `version = \"3.1.1\"`",
            ),
            (
                refused(&ConnectReturnCode::BadUserNamePassword),
                "the broker refused the connection: bad user name password; see `user` and `password_file`",
            ),
            (
                refused(&ConnectReturnCode::BadClientId),
                "the broker refused the connection: bad client id; see `client_id`",
            ),
        ];
        for (told, expected) in cases {
            assert_eq!(told, expected);
        }
    }
}
