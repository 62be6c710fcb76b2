//! Reason codes of MQTT 5 (2.4) that this listener uses.

#![allow(missing_docs)]

pub const SUCCESS: u8 = 0x00;
pub const UNSPECIFIED: u8 = 0x80;
pub const MALFORMED: u8 = 0x81;
pub const PROTOCOL_ERROR: u8 = 0x82;
pub const UNSUPPORTED_VERSION: u8 = 0x84;
pub const CLIENT_ID_NOT_VALID: u8 = 0x85;
pub const BAD_LOGIN: u8 = 0x86;
pub const NOT_AUTHORIZED: u8 = 0x87;
pub const SERVER_BUSY: u8 = 0x89;
pub const SERVER_SHUTTING_DOWN: u8 = 0x8b;
pub const BAD_AUTHENTICATION_METHOD: u8 = 0x8c;
pub const KEEP_ALIVE_TIMEOUT: u8 = 0x8d;
pub const TAKEN_OVER: u8 = 0x8e;
pub const TOPIC_FILTER_INVALID: u8 = 0x8f;
pub const TOPIC_NAME_INVALID: u8 = 0x90;
pub const NO_SUBSCRIPTION: u8 = 0x11;
pub const RECEIVE_MAX_EXCEEDED: u8 = 0x93;
pub const ALIAS_INVALID: u8 = 0x94;
pub const PACKET_TOO_LARGE: u8 = 0x95;
pub const QUOTA_EXCEEDED: u8 = 0x97;
pub const SHARED_NOT_SUPPORTED: u8 = 0x9e;
pub const MAXIMUM_CONNECT_TIME: u8 = 0xa0;
pub const SUBSCRIPTION_ID_NOT_SUPPORTED: u8 = 0xa1;

/// A few words for a reason code, as metrics label refused input.
pub(in crate::source::mqtt_listener) fn label(code: u8) -> &'static str {
    match code {
        MALFORMED => "malformed packet",
        PROTOCOL_ERROR => "protocol error",
        UNSUPPORTED_VERSION => "unsupported version",
        CLIENT_ID_NOT_VALID => "client id",
        BAD_LOGIN => "bad login",
        NOT_AUTHORIZED => "not authorized",
        KEEP_ALIVE_TIMEOUT => "keep-alive timeout",
        TAKEN_OVER => "taken over",
        TOPIC_NAME_INVALID => "topic name",
        RECEIVE_MAX_EXCEEDED => "receive maximum",
        ALIAS_INVALID => "topic alias",
        PACKET_TOO_LARGE => "packet too large",
        QUOTA_EXCEEDED => "store full",
        MAXIMUM_CONNECT_TIME => "connect timeout",
        SUBSCRIPTION_ID_NOT_SUPPORTED => "subscription id",
        _ => "other",
    }
}
