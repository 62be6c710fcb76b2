//! `/store`: the figures of the event store, its verification, and a copy of it.

pub(super) mod lanes;

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Instant;

use hyper::StatusCode;
use serde::Serialize;
use tidegate_store::Store;
use tokio::sync::mpsc;

use super::ApiContext;
use super::history::store::{BackupUpdate, StoreReport, VerifyUpdate, backup, report, verify};
use super::request::query::QueryString;
use super::response::{self, ApiResponse};
use crate::time::task;

/// Updates waiting for a reader.
const UPDATES_MAX: usize = 256;

/// `GET /store/status`
pub(super) fn status(context: &ApiContext, now: Instant) -> ApiResponse {
    let report = || {
        Ok(StoreReport {
            wear: context.wear(now),
            ..report(context.store()?, context.store_folder())
        })
    };
    response::of_history(report())
}

/// `POST /store/verify`: progress line by line, then the result.
pub(super) fn start_verify(context: &Arc<ApiContext>) -> ApiResponse {
    updates(context, |store, send| {
        let progress = percents(|done, all| send(VerifyUpdate::Progress(done, all)));
        let result = verify(store, progress);
        send(VerifyUpdate::Result(result));
    })
}

/// `POST /store/backup?to=FOLDER`: progress line by line, then the outcome.
pub(super) fn start_backup(context: &Arc<ApiContext>, query: &QueryString) -> ApiResponse {
    let to = query.get("to").map(PathBuf::from);
    let Some(to) = to.filter(|to| to.is_absolute()) else {
        let message = "say where with `to`, as an absolute path";
        return response::error(StatusCode::BAD_REQUEST, message);
    };
    updates(context, move |store, send| {
        let progress = percents(|done, all| send(BackupUpdate::Progress(done, all)));
        let copied = backup(store, &to, progress);
        send(copied.map_or_else(BackupUpdate::Failed, BackupUpdate::Result));
    })
}

/// Does `work` on a thread of its own; each update that it sends is a line of the response. Without a store there is none.
fn updates<U: Serialize>(
    context: &Arc<ApiContext>,
    work: impl FnOnce(&Store, &dyn Fn(U)) + Send + 'static,
) -> ApiResponse {
    let (lines, body) = mpsc::channel(UPDATES_MAX);
    let context = Arc::clone(context);
    // It ends when the work is done; a reader who went away does not stop it.
    task::blocking("work at the store", move || {
        let Ok(store) = context.store() else { return };
        work(store, &|update: U| {
            let _ = lines.blocking_send(response::line(&update));
        });
    });
    response::lines(body)
}

/// Tells `each` no more often than once for each percent.
fn percents(each: impl Fn(u64, u64)) -> impl FnMut(u64, u64) {
    let mut told = 0;
    move |done, all| {
        let percent = done.saturating_mul(100) / all.max(1);
        if percent > told {
            told = percent;
            each(done, all);
        }
    }
}
