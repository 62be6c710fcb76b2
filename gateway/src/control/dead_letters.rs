//! `/dead-letters`: looking at them, sending them again, dropping them.

use std::borrow::Cow;
use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;
use tidegate_rules::decision::{Destinations, Output};
use tidegate_rules::diagnostic::did_you_mean;
use tidegate_store::{DeadLetterId, Store};
use tokio::sync::mpsc;

use super::ApiContext;
use super::blocking::{Panicked, off_thread};
use super::history::{HistoryError, dead_letters as stored};
use super::request::peer::Peer;
use super::request::query::QueryString;
use super::response::{self, ApiResponse};
use crate::event::ack::Verdict;
use crate::event::arrival::is_cut;
use crate::event::dead_letter::{Cause, outputs, rule_in};
use crate::event::receipts::Receipts;
use crate::event::record::{self, Record};
use crate::intake::Redrive;
use crate::observe::Observe;
use crate::observe::audit::{Change, What};
use crate::observe::trouble::NEW_DEAD_LETTERS;

/// How long a letter may wait for its commit.
const COMMIT_MAX: Duration = Duration::from_secs(30);

/// `GET /dead-letters`
pub(super) fn list(context: &ApiContext, query: &QueryString) -> ApiResponse {
    let found = || {
        let from = match query.get("from") {
            Some(id) => stored::parse_id(id)?,
            None => (0, 0),
        };
        let (upstream, limit) = (query.get("upstream"), query.limit()?);
        stored::list(context.store()?, upstream, from, limit)
    };
    response::of_history(found())
}

/// `GET /dead-letters/ID`
pub(super) fn show(context: &ApiContext, id: &str) -> ApiResponse {
    let found = || stored::find(context.store()?, stored::parse_id(id)?);
    response::of_history(found())
}

/// `DELETE /dead-letters/ID`
pub(super) async fn drop(context: Arc<ApiContext>, id: String, peer: Peer) -> ApiResponse {
    match dropped(&context, &id).await {
        Ok(id) => {
            let id = stored::id_text(id);
            let change = Change::new(What::DeadLetters, &*id, "dropped", &peer.who().await);
            context.observe.audited_surely(&change).await;
            response::json(&json!({ "dropped": id }))
        }
        Err(error) => of_retry_error(error),
    }
}

async fn dropped(context: &Arc<ApiContext>, id: &str) -> Result<DeadLetterId, RetryError> {
    let id = stored::parse_id(id)?;
    let letters = context.letters()?.clone();
    off_thread(move || stored::removed(letters.remove(id), id)).await??;
    // Whoever sends one again or drops it has looked.
    context.observe.clear_kind(NEW_DEAD_LETTERS);
    Ok(id)
}

/// `DELETE /dead-letters`: all of them. It needs no room on the disk.
pub(super) async fn drop_all(context: Arc<ApiContext>, peer: Peer) -> ApiResponse {
    match all_dropped(&context).await {
        Ok(dropped) => {
            if dropped > 0 {
                let who = peer.who().await;
                let change = Change::new(What::DeadLetters, "all", "dropped", &who).of(dropped);
                context.observe.audited_surely(&change).await;
            }
            response::json(&json!({ "dropped": dropped }))
        }
        Err(error) => of_retry_error(error),
    }
}

async fn all_dropped(context: &Arc<ApiContext>) -> Result<u64, RetryError> {
    let letters = context.letters()?.clone();
    let dropped = off_thread(move || letters.remove_all()).await?;
    let dropped = dropped.map_err(stored::failed)?;
    context.observe.clear_kind(NEW_DEAD_LETTERS);
    Ok(dropped)
}

/// `POST /dead-letters/ID/retry`: commits it anew for its upstream, or for `to`, and removes the
/// letter once that is on disk. A crash between the two sends it twice and never loses it.
pub(super) async fn retry(
    context: Arc<ApiContext>,
    id: String,
    to: Option<String>,
    peer: Peer,
) -> ApiResponse {
    match retried(Arc::clone(&context), &id, to).await {
        Ok(upstream) => {
            let change = Change::new(What::DeadLetters, &*id, "sent again", &peer.who().await);
            context.observe.audited_surely(&change.to(&*upstream)).await;
            response::json(&json!({ "retried": id, "to": upstream }))
        }
        Err(error) => of_retry_error(error),
    }
}

fn of_retry_error(error: RetryError) -> ApiResponse {
    match error {
        RetryError::History(error) => response::of_history_error(&error),
        RetryError::Commit(why) => {
            response::error(StatusCode::SERVICE_UNAVAILABLE, why.into_owned())
        }
    }
}

/// Why a dead letter was not sent again or dropped.
pub(super) enum RetryError {
    History(HistoryError),
    Commit(Cow<'static, str>),
}

impl From<HistoryError> for RetryError {
    fn from(error: HistoryError) -> RetryError {
        RetryError::History(error)
    }
}

impl From<Panicked> for RetryError {
    fn from(_: Panicked) -> RetryError {
        RetryError::Commit(Panicked::MESSAGE.into())
    }
}

async fn retried(
    context: Arc<ApiContext>,
    id: &str,
    to: Option<String>,
) -> Result<String, RetryError> {
    let id = stored::parse_id(id)?;
    let letters = context.letters()?.clone();
    let (upstream, record) = off_thread({
        let context = Arc::clone(&context);
        move || addressed(&context, id, to)
    })
    .await??;
    let redrive = context
        .redrive
        .as_ref()
        .ok_or(RetryError::Commit("this gateway takes no letters".into()))?;
    commit(&context.observe, redrive, vec![((), record)])
        .await
        .1?;
    off_thread(move || stored::removed(letters.remove(id), id)).await??;
    context.observe.clear_kind(NEW_DEAD_LETTERS);
    Ok(upstream)
}

/// The letter's record, addressed to the lane of its upstream or of `to`.
fn addressed(
    context: &ApiContext,
    id: DeadLetterId,
    to: Option<String>,
) -> Result<(String, Record), HistoryError> {
    let store = context.store()?;
    let letter = stored::read(store, id)?;
    let mut record = record::decode(&letter.record)
        .map_err(|error| HistoryError::Unusable(error.to_string()))?;
    let upstream = to.unwrap_or_else(|| letter.upstream.clone());
    if upstream == Destinations::DEAD_LETTER {
        let example = context.upstream_names().into_iter().next();
        let example = example.map_or(String::new(), |name| format!(", for instance --to {name}"));
        return Err(HistoryError::InvalidQuery(format!(
            "this event was set aside before it was bound for an upstream: add --to NAME{example}"
        )));
    }
    if letter.cause == Cause::Source && is_cut(&record.event) {
        let why = format!(
            "it cannot be sent, for only the first part of it was kept: {}; drop it once you know its sender",
            letter.reason
        );
        return Err(HistoryError::InvalidQuery(why));
    }
    let lane = lane_of(context, store, &upstream)?;
    let numbers = outputs::numbers(id, &record);
    let as_sent = record.outputs.drain(..).map(|routed| Output {
        reason: None,
        rule: routed
            .output
            .rule
            .filter(|rule| rule_in(Some(rule)).is_some()),
        ..routed.output
    });
    let outputs = outputs::in_their_places(numbers.into_iter().zip(as_sent), lane);
    record.outputs = outputs;
    Ok((upstream, record))
}

pub(super) fn lane_of(
    context: &ApiContext,
    store: &Store,
    upstream: &str,
) -> Result<tidegate_store::LaneId, HistoryError> {
    let configured = context.upstream_names().iter().any(|name| name == upstream);
    let lanes = store.lanes();
    let lane = lanes
        .iter()
        .find(|lane| configured && lane.name == upstream);
    lane.map(|lane| lane.id).ok_or_else(|| {
        let known = context.upstream_names();
        let meant = did_you_mean(upstream, known.iter().map(String::as_str));
        let meant = meant.map_or(String::new(), |near| format!(": did you mean `{near}`?"));
        HistoryError::NotFound(match meant.is_empty() {
            true => format!(
                "there is no upstream `{upstream}`; known: {}",
                known.join(", ")
            ),
            false => format!("there is no upstream `{upstream}`{meant}"),
        })
    })
}

/// Commits records anew, in their order. Gives the values of those that are on disk, and why others are not: what these
/// were made of is still there.
pub(super) async fn commit<T>(
    observe: &Observe,
    redrive: &mpsc::Sender<Redrive>,
    records: Vec<(T, Record)>,
) -> (Vec<T>, Result<(), RetryError>) {
    let mut receipts = Receipts::default();
    let mut failed: Option<Cow<'static, str>> = None;
    for (value, record) in records {
        let ack = receipts.issue(value);
        if redrive.send(Redrive { record, ack }).await.is_err() {
            failed = Some("the gateway is stopping; nothing is lost, try again".into());
            break;
        }
    }
    let mut stored = Vec::new();
    loop {
        match tokio::time::timeout(COMMIT_MAX, receipts.settled()).await {
            Ok(Some(receipt)) => match receipt.verdict {
                Verdict::Stored => stored.push(receipt.value),
                Verdict::Refused(refusal) => {
                    let why = refusal.told(|| observe.refusing.words());
                    let why = format!("{why}; nothing is lost, try again later");
                    failed = failed.or(Some(why.into()));
                }
            },
            Ok(None) => break,
            Err(_) => {
                failed = Some("the commit takes too long; nothing is lost, try again".into());
                break;
            }
        }
    }
    (
        stored,
        failed.map_or(Ok(()), |why| Err(RetryError::Commit(why))),
    )
}
