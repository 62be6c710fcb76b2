//! Reason codes of a broker in words, and what they mean for an event (MQTT 5.0 section 2.4).

use crate::upstream::Outcome;

/// What an acknowledgement with this reason means; `said` is what the broker adds.
///
/// Below 0x80 the broker took the event, though nobody may subscribe to it. Some reasons are about the broker or the moment; the rest is a definite
/// refusal of this event, also where the standard knows no such reason in an acknowledgement.
pub(super) fn outcome(reason: u8, said: Option<&str>) -> Outcome {
    match reason {
        0..0x80 => Outcome::Confirmed,
        0x88 | 0x89 | 0x8b | 0x91 | 0x93 | 0x96 | 0x97 | 0x9f => Outcome::busy(words(reason, said)),
        _ => Outcome::Refused(words(reason, said)),
    }
}

/// A reason in words, with what the broker adds.
pub(super) fn words(reason: u8, said: Option<&str>) -> String {
    let name = match reason {
        0x80 => "unspecified error",
        0x81 => "malformed packet",
        0x82 => "protocol error",
        0x83 => "implementation specific error",
        0x84 => "unsupported protocol version",
        0x85 => "client identifier not valid",
        0x86 => "bad user name or password",
        0x87 => "not authorized",
        0x88 => "server unavailable",
        0x89 => "server busy",
        0x8a => "banned",
        0x8b => "server shutting down",
        0x8c => "bad authentication method",
        0x8d => "keep alive timeout",
        0x8e => "session taken over: another client has this client id",
        0x90 => "topic name invalid",
        0x91 => "packet identifier in use",
        0x93 => "receive maximum exceeded",
        0x94 => "topic alias invalid",
        0x95 => "packet too large",
        0x96 => "message rate too high",
        0x97 => "quota exceeded",
        0x98 => "administrative action",
        0x99 => "payload format invalid",
        0x9a => "retain not supported",
        0x9b => "QoS not supported",
        0x9c => "use another server",
        0x9d => "server moved",
        0x9f => "connection rate exceeded",
        0xa0 => "maximum connect time",
        _ => "unknown reason",
    };
    match said {
        Some(said) => format!("{name} (0x{reason:02x}): {said}"),
        None => format!("{name} (0x{reason:02x})"),
    }
}

/// Why a connection was refused, and what to look at.
pub(super) fn of_connack(reason: u8, said: Option<&str>) -> String {
    let see = match reason {
        0x84 => "; try `version = \"3.1.1\"`",
        0x85 => "; see `client_id`",
        0x86 | 0x87 | 0x8c => "; see `user` and `password_file`",
        _ => "",
    };
    format!(
        "the broker refused the connection: {}{see}",
        words(reason, said)
    )
}

/// The reason code of MQTT 5 for a return code of MQTT 3.1.1 (3.2.2.3 there).
pub(super) fn of_return_code(code: u8) -> u8 {
    match code {
        0 => 0,
        1 => 0x84,
        2 => 0x85,
        3 => 0x88,
        4 => 0x86,
        5 => 0x87,
        _ => 0x80,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_reason_settles_the_event_that_it_is_about() {
        for reason in 0..=u8::MAX {
            let outcome = outcome(reason, Some("because"));
            match reason {
                0..0x80 => assert_eq!(outcome, Outcome::Confirmed),
                0x88 | 0x89 | 0x8b | 0x91 | 0x93 | 0x96 | 0x97 | 0x9f => {
                    assert!(matches!(outcome, Outcome::Busy { .. }), "{reason:#x}");
                }
                _ => {
                    let Outcome::Refused(why) = outcome else {
                        panic!("{reason:#x}: {outcome:?}");
                    };
                    let number = format!("(0x{reason:02x}): because");
                    assert!(why.ends_with(&number), "{why}");
                }
            }
        }
    }
}
