//! `/store/lanes`: what waits behind names that no upstream has any more, moved to another upstream or dropped.

use std::sync::Arc;

use hyper::StatusCode;
use serde_json::json;
use tidegate_store::{LaneId, ReadBatch, ReadLimit, Sequence, Store};

use crate::control::ApiContext;
use crate::control::blocking::{Panicked, off_thread};
use crate::control::dead_letters::{RetryError, commit, lane_of};
use crate::control::history::HistoryError;
use crate::control::request::peer::Peer;
use crate::control::response::{self, ApiResponse};
use crate::event::dead_letter::outputs::in_their_places;
use crate::event::record::{self, Record, Routed};
use crate::observe::audit::{Change, What};

/// Records moved in one piece.
const PIECE: ReadLimit = ReadLimit {
    records: 256,
    bytes: 1 << 20,
};
/// Priorities of the store.
const CLASSES: u8 = 4;

/// `GET /store/lanes`
pub(in crate::control) fn list(context: &ApiContext) -> ApiResponse {
    response::of_history(Ok(json!({ "stranded": context.stranded() })))
}

/// The lane of this name, if no upstream has it.
fn stranded(context: &ApiContext, name: &str) -> Result<LaneId, HistoryError> {
    if !context.stranded().iter().any(|lane| lane.name == name) {
        return Err(HistoryError::NotFound(format!(
            "nothing waits behind a name `{name}` that no upstream has; `tidegate store lanes list` shows what does"
        )));
    }
    let lanes = context.store()?.lanes();
    let lane = lanes.iter().find(|lane| lane.name == name);
    lane.map(|lane| lane.id)
        .ok_or_else(|| HistoryError::NotFound(format!("there is no lane `{name}`")))
}

/// `DELETE /store/lanes/NAME`: what waits there is given up for good.
pub(in crate::control) async fn drop(
    context: Arc<ApiContext>,
    name: String,
    peer: Peer,
) -> ApiResponse {
    let dropped = off_thread({
        let (context, name) = (Arc::clone(&context), name.clone());
        move || {
            let store = context.store()?;
            let waiting = store.backlog(stranded(&context, &name)?).events;
            let dropped = store.drop_lane(&name);
            dropped.map_err(|error| HistoryError::Unusable(error.to_string()))?;
            Ok::<u64, HistoryError>(waiting)
        }
    });
    match dropped.await {
        Ok(Ok(waiting)) => {
            let change = Change::new(What::Lane, &*name, "dropped", &peer.who().await).of(waiting);
            context.observe.audited_surely(&change).await;
            response::json(&json!({ "dropped": waiting, "lane": name }))
        }
        Ok(Err(error)) => response::of_history_error(&error),
        Err(_) => response::error(StatusCode::INTERNAL_SERVER_ERROR, Panicked::MESSAGE),
    }
}

/// `POST /store/lanes/NAME/move?to=UPSTREAM`: commits what waits anew for an upstream. A crash meanwhile repeats a piece
/// and loses nothing.
pub(in crate::control) async fn move_to(
    context: Arc<ApiContext>,
    name: &str,
    to: &str,
    peer: Peer,
) -> ApiResponse {
    let mut moved = 0;
    let ended = moving(&context, name, to, &mut moved).await;
    // One that stopped in between has moved some.
    if ended.is_ok() || moved > 0 {
        let change = Change::new(What::Lane, name, "moved", &peer.who().await);
        context
            .observe
            .audited_surely(&change.of(moved).to(to))
            .await;
    }
    match ended {
        Ok(()) => response::json(&json!({ "moved": moved, "to": to })),
        Err(RetryError::History(error)) => response::of_history_error(&error),
        Err(RetryError::Commit(why)) => {
            let why = format!("{moved} were moved; then: {why}");
            response::error(StatusCode::SERVICE_UNAVAILABLE, why)
        }
    }
}

async fn moving(
    context: &ApiContext,
    name: &str,
    to: &str,
    moved: &mut u64,
) -> Result<(), RetryError> {
    let store = context.store()?.clone();
    let from = stranded(context, name)?;
    let target = lane_of(context, &store, to)?;
    let none = RetryError::Commit("this gateway moves nothing".into());
    let redrive = context.redrive.as_ref().ok_or(none)?;
    for class in 0..CLASSES {
        let mut next = store.cursor(from, class).low;
        let end = store.end();
        while next < end {
            let batch = piece(&store, from, class, next).await?;
            let undone = batch.records.iter();
            let undone = undone.filter(|stored| !store.is_done(from, class, stored.sequence));
            let (mut records, mut readable) = (Vec::new(), Ok(()));
            for stored in undone {
                match addressed(&stored.bytes, (from, class), target) {
                    Ok(record) => records.push((stored.sequence, record)),
                    Err(error) => {
                        readable = Err(error);
                        break;
                    }
                }
            }
            let (done, committed) = commit(&context.observe, redrive, records).await;
            store.confirm(from, class, &done);
            persisted(&store).await?;
            *moved += done.len() as u64;
            committed.and(readable)?;
            next = batch.next.max(next + 1);
        }
    }
    Ok(())
}

/// What was moved must not be there again after a crash.
async fn persisted(store: &Store) -> Result<(), RetryError> {
    let store = store.clone();
    let written = off_thread(move || store.persist_cursors()).await?;
    Ok(written.map_err(|error| HistoryError::Unusable(error.to_string()))?)
}

async fn piece(
    store: &Store,
    lane: LaneId,
    class: u8,
    next: Sequence,
) -> Result<ReadBatch, RetryError> {
    let store = store.clone();
    let read = off_thread(move || store.read(lane, class, next, PIECE)).await?;
    Ok(read.map_err(|error| HistoryError::Unusable(error.to_string()))?)
}

/// The record for `target`, as far as it was routed to the lane and class.
fn addressed(
    bytes: &[u8],
    (from, class): (LaneId, u8),
    target: LaneId,
) -> Result<Record, RetryError> {
    let mut record =
        record::decode(bytes).map_err(|error| HistoryError::Unusable(error.to_string()))?;
    let goes = |routed: &Routed| routed.lane == from && routed.output.priority as u8 == class;
    let numbered = (0u16..).zip(record.outputs.drain(..));
    let outputs = numbered.filter(|(_, routed)| goes(routed));
    let outputs = outputs.map(|(number, routed)| (number, routed.output));
    record.outputs = in_their_places(outputs, target);
    Ok(record)
}
