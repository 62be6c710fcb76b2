//! What the status code of a webhook means for the events it was asked to take: pure.
//!
//! | status | means |
//! |---|---|
//! | 2xx | it took them |
//! | 401, 404, 405, 407, 408, 421, 425, 429 | about the address, the login or the moment: try again |
//! | 403 | about the login, or a filter in front of the server that dislikes this content: try again |
//! | other 4xx | a definite refusal of this content |
//! | 3xx | not followed: events go where the configuration says, nowhere else |
//! | 5xx | the server's own trouble, perhaps over this content: try again |
//! | 1xx | the server's own trouble: try again |
//!
//! Where the server may have failed over the content, other events may go first; see `forward::poison_detector`. A server
//! that asks for a pause with `Retry-After` has not.
//!
//! A token that ran out must not turn a backlog into dead letters; that is why the first group
//! of 4xx is no refusal (RFC 9110, section 15; RFC 6585, section 4).

use std::time::Duration;

use reqwest::StatusCode;

/// The longest pause that a `Retry-After` is granted.
pub(super) const RETRY_AFTER_MAX: Duration = Duration::from_secs(300);

/// What an answer means.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestOutcome {
    /// The server took all events of the request.
    Taken,
    /// The content was refused; in words.
    Refused(String),
    /// Not now; in words, and for how many milliseconds the server wants to be left alone.
    Busy(String, Option<u64>),
    /// It failed, and that may be over this content; in words, and whether it answered at all.
    Failed {
        /// What happened.
        why: String,
        /// The connection broke instead of an answer.
        broke: bool,
    },
    /// The server cannot be reached any more.
    Gone(String),
}

/// Statuses of 400 to 499 that say nothing about the content.
const PASSING: [u16; 9] = [401, 403, 404, 405, 407, 408, 421, 425, 429];

/// The meaning of a status; `text` is the beginning of the body.
pub(super) fn of_status(status: StatusCode, text: &str, retry_ms: Option<u64>) -> RequestOutcome {
    let text = text.trim();
    let said = match text.is_empty() {
        true => format!("the webhook answered {status}"),
        false => format!("the webhook answered {status}: {text}"),
    };
    match status.as_u16() {
        200..300 => RequestOutcome::Taken,
        300..400 => RequestOutcome::Busy(
            format!("{said}; redirections are not followed, correct `url`"),
            retry_ms,
        ),
        401 | 407 => RequestOutcome::Busy(with_login(&said), retry_ms),
        403 => failed(with_login(&said), retry_ms),
        404 | 405 => RequestOutcome::Busy(format!("{said}; look at the path in `url`"), retry_ms),
        code if PASSING.contains(&code) => RequestOutcome::Busy(said, retry_ms),
        400..500 => RequestOutcome::Refused(said),
        500.. => failed(said, retry_ms),
        _ => RequestOutcome::Busy(said, retry_ms),
    }
}

fn with_login(said: &str) -> String {
    format!("{said}; look at `bearer`, `headers` and the rights behind them")
}

/// It may be this content, unless the server asks for a pause.
fn failed(why: String, retry_ms: Option<u64>) -> RequestOutcome {
    match retry_ms {
        Some(_) => RequestOutcome::Busy(why, retry_ms),
        None => RequestOutcome::Failed { why, broke: false },
    }
}

/// Milliseconds of a `Retry-After`: seconds or an HTTP date (RFC 9110, section 10.2.3), at most
/// [`RETRY_AFTER_MAX`].
pub(super) fn retry_after_ms(value: &str, now_ms: i64) -> Option<u64> {
    let value = value.trim();
    let asked = match value.parse::<u64>() {
        Ok(seconds) => seconds.saturating_mul(1000),
        Err(_) => {
            let date = jiff::fmt::rfc2822::parse(value).ok()?;
            let wait = date.timestamp().as_millisecond().saturating_sub(now_ms);
            u64::try_from(wait).unwrap_or(0)
        }
    };
    Some(asked.min(RETRY_AFTER_MAX.as_millis() as u64))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_4xx_about_the_content_is_a_refusal() {
        let refused = [400, 406, 409, 410, 411, 413, 414, 415, 422, 431, 451];
        for code in 100..600 {
            let status = StatusCode::from_u16(code).expect("a status");
            let answer = of_status(status, " no ", None);
            match code {
                200..300 => assert_eq!(answer, RequestOutcome::Taken, "{code}"),
                403 | 500.. => {
                    let failed = matches!(answer, RequestOutcome::Failed { broke: false, .. });
                    assert!(failed, "{code}");
                    let asked = of_status(status, " no ", Some(7));
                    assert!(matches!(asked, RequestOutcome::Busy(_, Some(7))), "{code}");
                }
                _ if PASSING.contains(&code) => {
                    assert!(matches!(answer, RequestOutcome::Busy(..)), "{code}");
                }
                400..500 => assert!(matches!(answer, RequestOutcome::Refused(_)), "{code}"),
                _ => assert!(matches!(answer, RequestOutcome::Busy(..)), "{code}"),
            }
            let is_refused = matches!(answer, RequestOutcome::Refused(_));
            assert!(!refused.contains(&code) || is_refused, "{code}");
        }
    }

    #[test]
    fn a_refusal_holds_the_status_and_what_the_server_said() {
        let answer = of_status(StatusCode::BAD_REQUEST, " no unit\n", None);
        let expected = "the webhook answered 400 Bad Request: no unit";
        assert_eq!(answer, RequestOutcome::Refused(expected.into()));
    }

    #[test]
    fn retry_after_is_seconds_or_a_date_and_has_a_bound() {
        let now_ms = 784_111_777_000;
        for (value, expected) in [
            ("0", Some(0)),
            (" 7 ", Some(7_000)),
            ("86400", Some(300_000)),
            ("99999999999999999999", None),
            ("Sun, 06 Nov 1994 08:49:47 GMT", Some(10_000)),
            ("Sun, 06 Nov 1994 08:49:00 GMT", Some(0)),
            ("Mon, 06 Nov 2034 08:49:00 GMT", Some(300_000)),
            ("Tue, 06 Nov 2034 08:49:00 GMT", None),
            ("soon", None),
            ("-5", None),
            ("", None),
        ] {
            assert_eq!(retry_after_ms(value, now_ms), expected, "{value}");
        }
    }
}
