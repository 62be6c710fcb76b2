//! Why a request is not taken, and how that is answered.

use hyper::StatusCode;
use hyper::header::HeaderName;

use crate::event::cloudevents::Wrong;

/// Why a request is not taken.
pub(super) struct Rejection {
    pub(super) status: StatusCode,
    pub(super) what: String,
    /// Headers that belong to the status.
    pub(super) headers: Vec<(HeaderName, &'static str)>,
}

impl Rejection {
    pub(super) fn new(status: StatusCode, what: impl Into<String>) -> Rejection {
        Rejection {
            status,
            what: what.into(),
            headers: Vec::new(),
        }
    }

    pub(super) fn with(mut self, name: HeaderName, value: &'static str) -> Rejection {
        self.headers.push((name, value));
        self
    }
}

impl From<Wrong> for Rejection {
    fn from(wrong: Wrong) -> Rejection {
        match wrong {
            Wrong::Bad(what) => Rejection::new(StatusCode::BAD_REQUEST, what),
            Wrong::TooLarge(what) => Rejection::new(StatusCode::PAYLOAD_TOO_LARGE, what),
        }
    }
}
