//! Answers: JSON with a status code, or a mistake with what to do about it.

use hyper::{Response, StatusCode, header};
use serde::Serialize;

use super::body::AnswerBody;

/// An answer of the API.
pub(super) type Answer = Response<AnswerBody>;

/// 200 with a JSON document.
pub(super) fn json(value: &impl Serialize) -> Answer {
    json_with(StatusCode::OK, value)
}

/// A JSON document with a status code.
pub(super) fn json_with(code: StatusCode, value: &impl Serialize) -> Answer {
    let mut bytes = serde_json::to_vec(value).unwrap_or_default();
    bytes.push(b'\n');
    with(code, "application/json", bytes.into())
}

/// A mistake, as `{"error": "…"}`.
pub(super) fn mistake(code: StatusCode, message: impl Into<String>) -> Answer {
    json_with(code, &serde_json::json!({ "error": message.into() }))
}

/// Any body of any type.
pub(super) fn with(code: StatusCode, content_type: &'static str, body: AnswerBody) -> Answer {
    let mut answer = Response::new(body);
    *answer.status_mut() = code;
    let headers = answer.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    answer
}
