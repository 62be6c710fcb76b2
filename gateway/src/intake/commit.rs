//! The commit thread: one group at a time becomes durable, then its acks are settled.

use std::sync::Arc;
use std::sync::mpsc::{Receiver, RecvTimeoutError};
use std::time::{Duration, Instant};

use tidegate_rules::event::UnixMs;
use tidegate_store::{Commit, CommitError, Committed, Writer};
use tokio::sync::{mpsc, watch};

use super::gaps::{Gaps, GivenUp};
use super::group::{CommitGroup, Done, Epoch};
use crate::event::ack::Refusal;
use crate::event::committed_log::{CommitTimes, CommittedLog};
use crate::event::dead_letter::letters::{Letters, TooLarge};
use crate::observe::Observe;
use crate::observe::intake::{CommitCounts, CommitFailed, CommitResumed, IntakeMetrics};
use crate::observe::store::dead_letters::Bound;
use crate::observe::store::gap::EventsGivenUp;
use crate::time::clock;
use crate::time::task;

/// How long confirmed cursors may wait for a commit to ride on.
const CURSORS_DELAY_MAX: Duration = Duration::from_secs(1);

/// How often it is looked whether events have waited for too long.
const EXPIRE_EVERY: Duration = Duration::from_secs(1);

/// The commit thread's state.
pub struct Committer {
    /// The store's only writer.
    pub writer: Writer,
    /// Groups to commit; closed by the intake when it is done.
    pub groups: Receiver<CommitGroup>,
    /// Groups on their way back.
    pub done: mpsc::UnboundedSender<Done>,
    /// Tells forwarders and subscribers how far the log is durable.
    pub log: CommittedLog,
    /// When commits became durable.
    pub times: CommitTimes,
    /// Counts and times.
    pub metrics: Arc<IntakeMetrics>,
    /// For log lines and system events.
    pub observe: Arc<Observe>,
    /// Gives up events under a policy.
    pub gaps: Gaps,
    /// What is held of dead letters.
    pub letters: Letters,
    /// Whether room is made by shedding.
    pub sheds: bool,
    /// Set once the forwarders are finished: the last cursors may be written.
    pub finish: watch::Receiver<bool>,
    /// The latest attempt to write cursors failed, which was told.
    pub cursors_fail: bool,
}

impl Committer {
    /// Runs until the intake and the forwarders are done; returns the writer, to be closed.
    pub fn run(mut self) -> Writer {
        let mut epoch: Epoch = 0;
        let mut expired = clock::monotonic();
        loop {
            task::goes_on();
            match self.groups.recv_timeout(CURSORS_DELAY_MAX) {
                Ok(group) => self.one(group, &mut epoch, clock::unix_ms()),
                Err(RecvTimeoutError::Timeout) => self.persist_cursors(clock::monotonic()),
                Err(RecvTimeoutError::Disconnected) => break,
            }
            let now = clock::monotonic();
            if now.saturating_duration_since(expired) >= EXPIRE_EVERY {
                expired = now;
                let given_up = self.gaps.expire(&mut self.writer, clock::unix_ms());
                self.gave_up(&given_up);
                self.tell_of_letters(clock::unix_ms());
            }
        }
        while !*self.finish.borrow() && self.finish.has_changed().is_ok() {
            std::thread::sleep(Duration::from_millis(5));
        }
        self.tell_of_letters(clock::unix_ms());
        self.persist_cursors(clock::monotonic());
        self.writer
    }

    fn one(&mut self, mut group: CommitGroup, epoch: &mut Epoch, now: UnixMs) {
        let failed = if group.epoch < *epoch {
            Some(Refusal::Failed)
        } else {
            self.commit(&mut group, epoch, now)
        };
        if let Some(refusal) = failed {
            self.metrics.refused.inc_by(group.acks.len() as u64);
            group.refuse_all(refusal);
        }
        self.metrics.beat(clock::monotonic());
        // An intake that is gone needs no group back.
        let _ = self.done.send(Done {
            group,
            failed: failed.is_some(),
            refusal: failed.unwrap_or(Refusal::Failed),
            epoch: *epoch,
        });
    }

    fn commit(
        &mut self,
        group: &mut CommitGroup,
        epoch: &mut Epoch,
        now: UnixMs,
    ) -> Option<Refusal> {
        let begun = clock::monotonic();
        crate::intake::null_control::before_commit(|| group.accept_all());
        match self.commit_or_shed(&group.commit, now) {
            Ok(committed) => {
                crate::intake::null_control::after_commit();
                // Before the acknowledgements: who subscribes behind one begins behind its event.
                let end = self.writer.next_sequence();
                self.times.committed(end, clock::monotonic());
                self.log.committed(committed.first, end, &group.notes);
                group.accept_all();
                let counts = CommitCounts {
                    accepted: group.taken,
                    payload_bytes: group.payload_bytes,
                    dropped: group.dropped,
                    records: group.commit.len(),
                    routed: &group.routed,
                };
                self.metrics.committed(counts, begun.elapsed());
                if self.metrics.refusing.swap(false) {
                    self.observe.emit(&CommitResumed);
                }
                None
            }
            Err(error) => {
                *epoch += 1;
                if !self.metrics.refused_for(error.to_string()) {
                    self.observe.emit(&CommitFailed { error: &error });
                }
                Some(refusal(&error))
            }
        }
    }

    /// A commit that finds the store full is made once more when something was shed for it.
    fn commit_or_shed(&mut self, commit: &Commit, now: UnixMs) -> Result<Committed, CommitError> {
        let refused = match self.writer.commit(commit) {
            Err(refused @ (CommitError::Full { .. } | CommitError::NoSpace { .. })) => refused,
            other => return other,
        };
        if !self.sheds {
            return Err(refused);
        }
        let given_up = self.gaps.shed(&mut self.writer, commit.bytes() as u64, now);
        self.gave_up(&given_up);
        given_up.shed.room?;
        self.writer.commit(commit)
    }

    /// Counts and tells what was given up; the gap records are there to be forwarded.
    fn gave_up(&mut self, given_up: &GivenUp) {
        if given_up.shed.gaps.is_empty() {
            return;
        }
        self.metrics.gave_up(&given_up.shed.gaps, &given_up.routed);
        for gap in &given_up.shed.gaps {
            self.observe.emit(&EventsGivenUp { gap });
        }
        let end = self.writer.next_sequence();
        self.times.committed(end, clock::monotonic());
        self.log.committed(end, end, &[]);
    }

    /// What is held as dead letters, and a gap record for what was dropped of them; one that cannot be stored now comes
    /// with the next.
    fn tell_of_letters(&mut self, now: UnixMs) {
        let bounds = self.letters.bounds();
        for (owner, held) in self.letters.changes() {
            let bound = match held.too_large {
                Some(TooLarge { bytes, max_bytes }) => Bound::TooLarge { bytes, max_bytes },
                None if held.letters >= bounds.max => Bound::Letters(bounds.max),
                None => Bound::Bytes(bounds.max_size_bytes),
            };
            let full = held.is_full.then_some((bound, bounds.drops));
            self.observe.dead_letters_of(&owner, held.letters, full);
        }
        let accounts = self.letters.take_accounts();
        if accounts.is_empty() {
            return;
        }
        let (mut commit, mut routed) = (Commit::new(), Vec::new());
        for (owner, account) in &accounts {
            routed.extend(self.gaps.make_of_letters(owner, account, now, &mut commit));
        }
        match self.writer.commit(&commit) {
            Ok(committed) => {
                self.metrics.gave_up(&[], &routed);
                let end = self.writer.next_sequence();
                self.times.committed(end, clock::monotonic());
                self.log.committed(committed.first, end, &[]);
            }
            Err(_) => {
                for (owner, account) in accounts {
                    self.letters.put_back(owner, account);
                }
            }
        }
    }

    fn persist_cursors(&mut self, now: Instant) {
        self.metrics.beat(now);
        let written = self.writer.persist_cursors_if_dirty();
        let failed_before = std::mem::replace(&mut self.cursors_fail, written.is_err());
        if let (Err(error), false) = (written, failed_before) {
            tracing::warn!(%error, "cursors are not written; a crash now repeats deliveries, it loses nothing");
        }
    }
}

fn refusal(error: &CommitError) -> Refusal {
    match error {
        CommitError::Full { .. } | CommitError::NoSpace { .. } => Refusal::Full,
        _ => Refusal::Failed,
    }
}
