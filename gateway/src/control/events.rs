//! `/events`: stored events, and those that are committed from now on.

use bytes::Bytes;
use hyper::StatusCode;
use tokio::sync::mpsc;

use super::ApiContext;
use super::history::event::EventView;
use super::history::search::{self, EventFilter};
use super::query::QueryString;
use super::response::{self, ApiResponse};
use crate::event::live_feed::{LiveEvents, LiveFeed, Missed};

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
    let Some(feed) = context.feed.as_ref().map(LiveFeed::subscribe) else {
        return response::error(StatusCode::SERVICE_UNAVAILABLE, "there is no live feed");
    };
    let (lines, body) = mpsc::channel(LINES_MAX);
    // Ends with the connection, which drops the body.
    tokio::spawn(forward_live(feed, filter, lines));
    response::lines(body)
}

async fn forward_live(mut events: LiveEvents, filter: EventFilter, lines: mpsc::Sender<Bytes>) {
    loop {
        let group = tokio::select! {
            () = lines.closed() => return,
            group = events.next() => group,
        };
        match group {
            Ok(group) => {
                for event in group.iter().filter(|event| filter.accepts(event)) {
                    let line = response::line(&EventView::live(event));
                    if lines.send(line).await.is_err() {
                        return;
                    }
                }
            }
            Err(Missed(groups)) => {
                let missed = serde_json::json!({ "missed_groups": groups });
                if lines.send(response::line(&missed)).await.is_err() {
                    return;
                }
            }
        }
    }
}
