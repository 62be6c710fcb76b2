//! `/dead-letters`: looking at them, sending them again, dropping them.

use std::sync::Arc;
use std::time::Duration;

use hyper::StatusCode;
use serde_json::json;
use tidegate_store::{DeadLetterId, Store};
use tokio::sync::mpsc;

use super::answer::{self, Answer};
use super::events::{answered, mistake, store};
use super::question::Question;
use super::shared::Shared;
use crate::control::history::{HistoryError, letters};
use crate::event::ack::Verdict;
use crate::event::receipts::Receipts;
use crate::event::record::{self, Record};
use crate::intake::Redrive;

/// How long a letter may wait for its commit.
const COMMIT_MAX: Duration = Duration::from_secs(30);

/// What rules send to when they give an event up.
const SET_ASIDE: &str = "dead_letter";

/// `GET /dead-letters`
pub(super) fn list(shared: &Shared, question: &Question) -> Answer {
    answered(|| letters::list(store(shared)?, question.get("upstream"), question.limit()?))
}

/// `GET /dead-letters/ID`
pub(super) fn show(shared: &Shared, id: &str) -> Answer {
    answered(|| letters::find(store(shared)?, letters::parse_id(id)?))
}

/// `DELETE /dead-letters/ID`
pub(super) fn drop(shared: &Shared, id: &str) -> Answer {
    answered(|| {
        letters::remove(store(shared)?, letters::parse_id(id)?)?;
        Ok(json!({ "dropped": id }))
    })
}

/// `POST /dead-letters/ID/retry`: commits it anew for its upstream, or for `to`, and removes the
/// letter once that is on disk. A crash between the two sends it twice and never loses it.
pub(super) async fn retry(shared: Arc<Shared>, id: String, to: Option<String>) -> Answer {
    match retried(shared, &id, to).await {
        Ok(upstream) => answer::json(&json!({ "retried": id, "to": upstream })),
        Err(Refused::Question(error)) => mistake(&error),
        Err(Refused::Commit(why)) => answer::mistake(StatusCode::SERVICE_UNAVAILABLE, why),
    }
}

enum Refused {
    Question(HistoryError),
    Commit(&'static str),
}

impl From<HistoryError> for Refused {
    fn from(error: HistoryError) -> Refused {
        Refused::Question(error)
    }
}

async fn retried(shared: Arc<Shared>, id: &str, to: Option<String>) -> Result<String, Refused> {
    let id = letters::parse_id(id)?;
    let held = store(&shared)?.clone();
    let (upstream, record) = off_thread({
        let shared = Arc::clone(&shared);
        move || addressed(&shared, id, to)
    })
    .await??;
    let redrive = shared
        .redrive
        .as_ref()
        .ok_or(Refused::Commit("this gateway takes no letters"))?;
    commit(redrive, record).await?;
    off_thread(move || letters::remove(&held, id)).await??;
    Ok(upstream)
}

/// The letter's record, addressed to the lane of its upstream or of `to`.
fn addressed(
    shared: &Shared,
    id: DeadLetterId,
    to: Option<String>,
) -> Result<(String, Record), HistoryError> {
    let store = store(shared)?;
    let letter = letters::read(store, id)?;
    let mut record = record::decode(&letter.record)
        .map_err(|error| HistoryError::Unusable(error.to_string()))?;
    let upstream = to.unwrap_or(letter.upstream);
    if upstream == SET_ASIDE {
        let why = "a rule set this event aside: say which upstream it should go to";
        return Err(HistoryError::Question(why.to_owned()));
    }
    let lane = lane_of(shared, store, &upstream)?;
    for routed in &mut record.outputs {
        routed.lane = lane;
        routed.output.reason = None;
    }
    Ok((upstream, record))
}

fn lane_of(
    shared: &Shared,
    store: &Store,
    upstream: &str,
) -> Result<tidegate_store::LaneId, HistoryError> {
    let configured = shared.upstream_names().any(|name| name == upstream);
    let lanes = store.lanes();
    let lane = lanes
        .iter()
        .find(|lane| configured && lane.name == upstream);
    lane.map(|lane| lane.id).ok_or_else(|| {
        HistoryError::Absent(format!(
            "there is no upstream `{upstream}`; say another one"
        ))
    })
}

async fn commit(redrive: &mpsc::Sender<Redrive>, record: Record) -> Result<(), Refused> {
    let mut receipts = Receipts::default();
    let ack = receipts.issue(());
    let gone = Refused::Commit("the gateway is stopping; the letter is still there");
    if redrive.send(Redrive { record, ack }).await.is_err() {
        return Err(gone);
    }
    match tokio::time::timeout(COMMIT_MAX, receipts.settled()).await {
        Ok(Some(receipt)) => match receipt.verdict {
            Verdict::Stored => Ok(()),
            Verdict::Refused(_) => Err(Refused::Commit(
                "the store takes no more; the letter is still there",
            )),
        },
        Ok(None) => Err(gone),
        Err(_) => Err(Refused::Commit(
            "the commit takes too long; the letter is still there",
        )),
    }
}

async fn off_thread<T: Send + 'static>(
    work: impl FnOnce() -> T + Send + 'static,
) -> Result<T, Refused> {
    let done = tokio::task::spawn_blocking(work).await;
    done.map_err(|_| Refused::Commit("the answer could not be made; the log says why"))
}
