//! Responses: JSON with a status code, lines as they happen, or a mistake with what to do about it.

pub(super) mod body;

use bytes::Bytes;
use hyper::{Response, StatusCode, header};
use serde::Serialize;
use tokio::sync::mpsc;

use super::history::HistoryError;
use crate::event::cloudevents::json::on_one_line;
use body::ResponseBody;

/// The type of a response of one JSON document a line.
const LINES_TYPE: &str = "application/x-ndjson";

/// Seconds after which it is worth asking again what could not be answered.
const AGAIN_S: &str = "2";

/// A response of the API.
pub(super) type ApiResponse = Response<ResponseBody>;

/// 200 with a JSON document.
pub(super) fn json(value: &impl Serialize) -> ApiResponse {
    json_with(StatusCode::OK, value)
}

/// A JSON document with a status code.
pub(super) fn json_with(code: StatusCode, value: &impl Serialize) -> ApiResponse {
    with(code, "application/json", document(value).into())
}

/// 200 with lines as they come out of `lines`.
pub(super) fn lines(lines: mpsc::Receiver<Bytes>) -> ApiResponse {
    with(StatusCode::OK, LINES_TYPE, ResponseBody::Lines(lines))
}

fn document(value: &impl Serialize) -> Bytes {
    let mut document = serde_json::to_vec(value).unwrap_or_default();
    document.push(b'\n');
    document.into()
}

/// A JSON document on a line of its own.
pub(super) fn line(value: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    on_one_line(&mut line);
    line.push(b'\n');
    line.into()
}

/// A mistake, as `{"error": "…"}`.
pub(super) fn error(code: StatusCode, message: impl Into<String>) -> ApiResponse {
    json_with(code, &serde_json::json!({ "error": message.into() }))
}

/// What the history says, or why it does not.
pub(super) fn of_history<T: Serialize>(result: Result<T, HistoryError>) -> ApiResponse {
    match result {
        Ok(value) => json(&value),
        Err(error) => of_history_error(&error),
    }
}

/// Why the history says nothing.
pub(super) fn of_history_error(why: &HistoryError) -> ApiResponse {
    let code = match why {
        HistoryError::InvalidQuery(_) => StatusCode::BAD_REQUEST,
        HistoryError::NotFound(_) => StatusCode::NOT_FOUND,
        HistoryError::Read(_) | HistoryError::Unusable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    error(code, why.to_string())
}

/// Any body of any type.
pub(super) fn with(
    code: StatusCode,
    content_type: &'static str,
    body: ResponseBody,
) -> ApiResponse {
    let mut response = Response::new(body);
    *response.status_mut() = code;
    let headers = response.headers_mut();
    headers.insert(
        header::CONTENT_TYPE,
        header::HeaderValue::from_static(content_type),
    );
    headers.insert(
        header::CACHE_CONTROL,
        header::HeaderValue::from_static("no-store"),
    );
    if code == StatusCode::SERVICE_UNAVAILABLE {
        let again = header::HeaderValue::from_static(AGAIN_S);
        headers.insert(header::RETRY_AFTER, again);
    }
    response
}
