//! Why a connection ends.

use super::codec::fields::DecodeError;
use super::codec::reason;

/// Why a connection ends: the MQTT 5 reason code, and words for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Disconnect {
    /// Sent in the DISCONNECT where the client knows MQTT 5.
    pub reason: u8,
    /// For the log; empty when the client said goodbye.
    pub why: String,
}

impl Disconnect {
    pub(super) fn new(reason: u8, why: impl Into<String>) -> Disconnect {
        Disconnect {
            reason,
            why: why.into(),
        }
    }

    /// The same with the user in its words.
    pub(super) fn of_user(self, user: &str) -> Disconnect {
        match user {
            "" => self,
            user => Disconnect::new(self.reason, format!("user {user}: {}", self.why)),
        }
    }
}

impl From<DecodeError> for Disconnect {
    fn from(error: DecodeError) -> Disconnect {
        match error {
            DecodeError::Malformed(why) => Disconnect::new(reason::MALFORMED, why),
            DecodeError::ProtocolError(why) => Disconnect::new(reason::PROTOCOL_ERROR, why),
        }
    }
}
