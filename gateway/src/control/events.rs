//! `/events`: stored events, and those that are committed from now on.

use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::mpsc;

use super::ApiContext;
use super::history::event::EventView;
use super::history::search::{self, EventFilter};
use super::request::query::QueryString;
use super::response::{self, ApiResponse};
use crate::event::committed_log::{CommittedLog, FollowError, Follower, Note};
use crate::time::task;

/// Events waiting for a reader.
const LINES_MAX: usize = 256;

/// `GET /events`
pub(super) fn list(context: &ApiContext, query: &QueryString) -> ApiResponse {
    let found = || search::list(context.store()?, &query.event_filter()?, query.limit()?);
    response::of_history(found())
}

/// `GET /events/ID`
pub(super) fn show(context: &ApiContext, id: &str) -> ApiResponse {
    let found = || search::find(context.store()?, id);
    response::of_history(found())
}

/// `GET /events/follow`: every committed event that is asked for, as it happens.
pub(super) fn follow(context: &ApiContext, query: &QueryString) -> ApiResponse {
    let filter = match query.event_filter() {
        Ok(filter) => filter,
        Err(error) => return response::of_history_error(&error),
    };
    let Some(follower) = context.log.as_ref().map(CommittedLog::follow) else {
        return response::error(StatusCode::SERVICE_UNAVAILABLE, "there is no log to follow");
    };
    let (lines, body) = mpsc::channel(LINES_MAX);
    // Ends with the connection, which drops the body.
    task::spawn("a follower", forward_live(follower, filter, lines));
    response::lines(body)
}

async fn forward_live(mut follower: Follower, filter: EventFilter, lines: mpsc::Sender<Bytes>) {
    loop {
        let records = tokio::select! {
            () = lines.closed() => return,
            records = follower.next() => records,
        };
        match records {
            Ok(records) => {
                let news = records.iter();
                let news = news.filter(|found| found.note != Some(Note::Hidden));
                let events = news.map(|found| &found.record.event);
                for event in events.filter(|event| filter.accepts(event)) {
                    let line = response::line(&EventView::live(event));
                    if lines.send(line).await.is_err() {
                        return;
                    }
                }
            }
            Err(FollowError::Missed(count)) => {
                let missed = serde_json::json!({ "missed": count });
                if lines.send(response::line(&missed)).await.is_err() {
                    return;
                }
            }
            Err(unreadable) => {
                let why = serde_json::json!({ "error": unreadable.to_string() });
                let _ = lines.send(response::line(&why)).await;
                return;
            }
        }
    }
}
