//! `/events` and `/store`: answers from the event store and the live feed.

use std::path::PathBuf;
use std::sync::Arc;

use bytes::Bytes;
use hyper::StatusCode;
use serde::Serialize;
use tidegate_store::Store;
use tokio::sync::mpsc;

use super::Shared;
use super::answer::{self, Answer};
use super::body::AnswerBody;
use super::question::Question;
use crate::control::history::HistoryError;
use crate::control::history::event::EventView;
use crate::control::history::search::{self, Query};
use crate::control::history::store::{Copying, StoreReport, Verification, backup, report, verify};
use crate::event::live_feed::{LiveEvents, Missed};
use crate::time::clock;

/// Lines waiting for a reader.
const LINES_MAX: usize = 256;
/// The type of an answer of one JSON document a line.
const LINES_TYPE: &str = "application/x-ndjson";

/// `GET /events`
pub(super) fn list(shared: &Shared, question: &Question) -> Answer {
    answered(|| {
        let store = store(shared)?;
        search::list(store, &question.query()?, question.limit()?)
    })
}

/// `GET /events/ID`
pub(super) fn show(shared: &Shared, id: &str) -> Answer {
    answered(|| search::find(store(shared)?, id))
}

/// `GET /store/status`
pub(super) fn store_status(shared: &Shared) -> Answer {
    answered(|| {
        Ok(StoreReport {
            wear: shared.wear(clock::monotonic()),
            ..report(store(shared)?, shared.store_folder())
        })
    })
}

/// `POST /store/verify`: progress line by line, then the result.
pub(super) fn store_verify(shared: &Arc<Shared>) -> Answer {
    let (lines, body) = mpsc::channel(LINES_MAX);
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || {
        let Ok(store) = store(&shared) else { return };
        let say = |verification: &Verification| lines.blocking_send(line(verification));
        let mut percent_said = 0;
        let result = verify(store, |done, all| {
            let percent = done.saturating_mul(100) / all.max(1);
            if percent > percent_said {
                percent_said = percent;
                let _ = say(&Verification::Progress(done, all));
            }
        });
        let _ = say(&Verification::Result(result));
    });
    answer::with(StatusCode::OK, LINES_TYPE, AnswerBody::Lines(body))
}

/// `POST /store/backup?to=FOLDER`: progress line by line, then the outcome.
pub(super) fn store_backup(shared: &Arc<Shared>, question: &Question) -> Answer {
    let to = question.get("to").map(PathBuf::from);
    let Some(to) = to.filter(|to| to.is_absolute()) else {
        let message = "say where with `to`, as an absolute path";
        return answer::mistake(StatusCode::BAD_REQUEST, message);
    };
    let (lines, body) = mpsc::channel(LINES_MAX);
    let shared = Arc::clone(shared);
    tokio::task::spawn_blocking(move || {
        let Ok(store) = store(&shared) else { return };
        let say = |copying: &Copying| lines.blocking_send(line(copying));
        let mut percent_said = 0;
        let copied = backup(store, &to, |done, all| {
            let percent = done.saturating_mul(100) / all.max(1);
            if percent > percent_said {
                percent_said = percent;
                let _ = say(&Copying::Progress(done, all));
            }
        });
        let _ = say(&copied.map_or_else(Copying::Failed, Copying::Result));
    });
    answer::with(StatusCode::OK, LINES_TYPE, AnswerBody::Lines(body))
}

/// `GET /events/follow`: every committed event that is asked for, as it happens.
pub(super) fn follow(shared: &Shared, question: &Question) -> Answer {
    let query = match question.query() {
        Ok(query) => query,
        Err(error) => return mistake(&error),
    };
    let Some(feed) = &shared.feed else {
        return answer::mistake(StatusCode::SERVICE_UNAVAILABLE, "there is no live feed");
    };
    let (lines, body) = mpsc::channel(LINES_MAX);
    // Ends with the connection: sending fails once the body is dropped.
    tokio::spawn(forward_live(feed.subscribe(), query, lines));
    answer::with(StatusCode::OK, LINES_TYPE, AnswerBody::Lines(body))
}

async fn forward_live(mut events: LiveEvents, query: Query, lines: mpsc::Sender<Bytes>) {
    loop {
        let group = tokio::select! {
            () = lines.closed() => return,
            group = events.next() => group,
        };
        match group {
            Ok(group) => {
                for event in group.iter().filter(|event| query.accepts(event)) {
                    if lines.send(line(&EventView::live(event))).await.is_err() {
                        return;
                    }
                }
            }
            Err(Missed(groups)) => {
                let missed = serde_json::json!({ "missed_groups": groups });
                if lines.send(line(&missed)).await.is_err() {
                    return;
                }
            }
        }
    }
}

fn line(value: &impl Serialize) -> Bytes {
    let mut line = serde_json::to_vec(value).unwrap_or_default();
    line.push(b'\n');
    line.into()
}

pub(super) fn store(shared: &Shared) -> Result<&Store, HistoryError> {
    let none = || HistoryError::Absent("this gateway has no store yet".to_owned());
    shared
        .store
        .as_ref()
        .map(|(store, _)| store)
        .ok_or_else(none)
}

pub(super) fn answered<T: Serialize>(answer: impl FnOnce() -> Result<T, HistoryError>) -> Answer {
    match answer() {
        Ok(value) => answer::json(&value),
        Err(error) => mistake(&error),
    }
}

pub(super) fn mistake(error: &HistoryError) -> Answer {
    let code = match error {
        HistoryError::Question(_) => StatusCode::BAD_REQUEST,
        HistoryError::Absent(_) => StatusCode::NOT_FOUND,
        HistoryError::Read(_) | HistoryError::Unusable(_) => StatusCode::SERVICE_UNAVAILABLE,
    };
    answer::mistake(code, error.to_string())
}
