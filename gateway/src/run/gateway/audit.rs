//! Brings changes into the log as events, and says so to who waits for that. What the log does not take is kept beside it and
//! offered again: a change is answered only when one of the two is on disk.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::event::ack::{Ack, Verdict};
use crate::event::receipts::Receipts;
use crate::observe::audit::{Awaited, Change};
use crate::observe::log::repeats::always;
use crate::observe::{Happening, Observe, SystemEvent};
use crate::run::config::in_force::InForce;
use crate::time::shutdown::stopped;

/// How soon, and how late at most, the log is offered again what it did not take.
const AGAIN: Duration = Duration::from_secs(1);
const AGAIN_MAX: Duration = Duration::from_secs(10);
/// How long an event may take to the disk before the change is kept beside the log.
const COMMIT_MAX: Duration = Duration::from_secs(10);
/// The trouble of changes that wait.
const SUBJECT: &str = "audit";
const KIND: &str = "waiting";

/// See the module.
pub(super) struct Auditor {
    pub(super) in_force: Arc<InForce>,
    pub(super) observe: Arc<Observe>,
    /// The way into the intake.
    pub(super) offers: mpsc::Sender<(SystemEvent, Ack)>,
    /// Changes that somebody waits for.
    pub(super) awaited: mpsc::Receiver<Awaited>,
}

impl Auditor {
    /// Runs until all else has stopped; what comes last is told by the next start.
    pub(super) async fn run(mut self, mut stop: watch::Receiver<bool>) -> Result<(), Infallible> {
        let mut wait = AGAIN;
        loop {
            self.tell_all(&mut wait).await;
            tokio::select! {
                () = stopped(&mut stop) => break,
                Some(awaited) = self.awaited.recv() => self.answer(awaited).await,
                () = self.in_force.more() => {}
                () = tokio::time::sleep(wait), if self.in_force.waiting() > 0 => {}
            }
        }
        self.awaited.close();
        while let Ok(Awaited { change, done }) = self.awaited.try_recv() {
            self.keep(&change);
            let _ = done.send(());
        }
        Ok(())
    }

    async fn answer(&mut self, Awaited { change, done }: Awaited) {
        match self.is_stored(&change).await {
            true => change.log(),
            false => self.keep(&change),
        }
        // Who asked may have gone.
        let _ = done.send(());
    }

    fn keep(&self, change: &Change) {
        let kept = self.in_force.wait(change.clone());
        change.log();
        if let Err(error) = kept {
            tracing::error!(%error, "this change is neither in the event log nor kept beside it: only this log has it");
        }
    }

    /// Offers the log all that waits, in its order, until it takes one not.
    async fn tell_all(&self, wait: &mut Duration) {
        while let Some(change) = self.in_force.next() {
            if !self.is_stored(&change).await {
                let count = self.in_force.waiting();
                let changes = if count == 1 {
                    "change is"
                } else {
                    "changes are"
                };
                let what = format!(
                    "{count} {changes} not in the event log yet, which takes nothing: kept beside it, and told once it does; make \
                     room, or see `tidegate status`"
                );
                self.observe.follow(SUBJECT, KIND, &what, None);
                *wait = (*wait * 2).min(AGAIN_MAX);
                return;
            }
            always(|| change.log());
            self.in_force.told(&change);
        }
        *wait = AGAIN;
        self.observe.clear(SUBJECT, KIND);
    }

    /// Offers a change to the log; whether its event is on disk.
    async fn is_stored(&self, change: &Change) -> bool {
        let Some(event) = change.system_event() else {
            return true;
        };
        let mut receipts = Receipts::default();
        let ack = receipts.issue(());
        if self.offers.send((event, ack)).await.is_err() {
            return false;
        }
        let settled = tokio::time::timeout(COMMIT_MAX, receipts.settled()).await;
        matches!(settled, Ok(Some(receipt)) if receipt.verdict == Verdict::Stored)
    }
}
