//! The commit pipeline: dedup → stamp → rules → one group commit → acks.
//!
//! Two threads. The *intake* thread gathers arrivals into a [`group::CommitGroup`]: it recognises
//! repetitions, mints ids, lets the rules decide and encodes the record. The *commit* thread
//! makes one group durable at a time and settles its acks, see [`commit`]. While it waits for
//! the disk, the next group fills: under load commits grow by themselves, and the first event
//! of an idle gateway is committed at once.
//!
//! A group holds events and all their consequences. When its commit fails, nothing of it is
//! acknowledged, and neither is the group that was evaluated after it (see [`group::Epoch`]):
//! both are refused, what the intake remembered of them is forgotten, and the senders offer
//! them again.

pub mod commit;
pub mod dedup;
pub mod evaluator;
pub mod gaps;
pub mod group;
mod loops;
pub mod mint;
mod null_control;
pub mod pacing;
mod reused_ids;
#[cfg(test)]
mod tests;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_rules::decision::Output;
use tidegate_rules::event::{Event, UnixMs};
use tokio::sync::mpsc;

use crate::event::ack::{Ack, Refusal, Verdict};
use crate::event::arrival::{Arrival, Identity, SENDER_ID, SetAside};
use crate::event::committed_log::Note;
use crate::event::dead_letter::BY_SOURCE;
use crate::event::delivery::expiry::{CLOCK_KEY, ExpiryClock};
use crate::event::inlet::Offer;
use crate::event::record::{Record, Routed};
use crate::event::system_topic::SYSTEM_TOPIC;
use crate::event::way::{STARTS_KEY, Way};
use crate::observe::intake::IntakeMetrics;
use crate::observe::{Observe, SystemEvent};
use crate::time::clock::{self, Now};
use dedup::{Dedup, Seen};
use evaluator::Evaluator;
use group::{CommitGroup, Done};
use loops::Loops;
use mint::{Mint, StartMark};
use pacing::{Pacing, TIMER_STEP};
use reused_ids::ReusedIds;

/// An event with its consequences already decided: a dead letter on its way back.
pub struct Redrive {
    /// What to store.
    pub record: Record,
    /// Settled like any other ack.
    pub ack: Ack,
}

/// Everything the intake reads from.
pub struct Inputs {
    /// Arrivals of all sources.
    pub offers: mpsc::Receiver<Offer>,
    /// System events of all rooms.
    pub system: mpsc::Receiver<SystemEvent>,
    /// System events that somebody waits for.
    pub audits: mpsc::Receiver<(SystemEvent, Ack)>,
    /// Dead letters to send again.
    pub redrives: mpsc::Receiver<Redrive>,
    /// The rules in force; a new set decides about the next offer, also where that joins a group that has begun.
    pub rules: Evaluator,
}

/// What the intake is told once.
pub struct Settings {
    /// `[gateway] id`
    pub gateway_id: Arc<str>,
    /// What this start drew; part of every minted id.
    pub start: StartMark,
    /// How the commits are paced.
    pub pacing: Pacing,
    /// What is known of the way of events.
    pub way: Way,
    /// The clock that messages expire by.
    pub expiry: ExpiryClock,
}

const TOO_MANY_DEVICES: &str = "readings of 10,000 serial devices are stored, those of further ones are not taken: look for a \
     line on which ever new devices appear";

/// The intake thread's state.
pub struct Intake {
    inputs: Inputs,
    settings: Settings,
    dedup: Dedup,
    reused: ReusedIds,
    loops: Loops,
    /// The marks of the latest starts, until they are in the store.
    starts: Option<Vec<u8>>,
    routed: Vec<Routed>,
    mint: Mint,
    group: CommitGroup,
    spare: Option<CommitGroup>,
    commits: std::sync::mpsc::SyncSender<CommitGroup>,
    done: mpsc::UnboundedReceiver<Done>,
    metrics: Arc<IntakeMetrics>,
    observe: Arc<Observe>,
    system_source: Arc<str>,
}

/// The ends of the commit thread that the intake holds.
pub struct CommitEnds {
    /// Groups to make durable; room for one.
    pub commits: std::sync::mpsc::SyncSender<CommitGroup>,
    /// Groups coming back with their result.
    pub done: mpsc::UnboundedReceiver<Done>,
}

impl Intake {
    /// An intake that has stored nothing yet.
    pub fn new(
        inputs: Inputs,
        settings: Settings,
        dedup: Dedup,
        ends: CommitEnds,
        metrics: Arc<IntakeMetrics>,
        observe: Arc<Observe>,
    ) -> Intake {
        Intake {
            system_source: format!("{}/gateway", settings.gateway_id).into(),
            mint: Mint::new(settings.start.clone(), ""),
            inputs,
            dedup,
            reused: ReusedIds::new(Arc::clone(&observe)),
            loops: Loops::new(
                settings.way.clone(),
                &settings.gateway_id,
                Arc::clone(&observe),
            ),
            starts: Some(settings.way.starts()),
            observe,
            routed: Vec::new(),
            group: CommitGroup::default(),
            spare: Some(CommitGroup::default()),
            commits: ends.commits,
            done: ends.done,
            metrics,
            settings,
        }
    }

    /// Runs until every source is gone and everything offered is settled. Here and in
    /// [`Intake::gather`] the clocks are read; all else is told what time it is.
    pub async fn run(mut self) {
        let mut open = true;
        while open || !self.group.is_empty() || self.spare.is_none() {
            let wait = self.hand_over(open, clock::monotonic());
            let before = self.group.acks.len();
            if let Some(short) = wait.filter(|wait| *wait < TIMER_STEP) {
                // The commit thread is idle meanwhile, and who sends finds room in the channel.
                std::thread::sleep(short);
                self.gather(before);
                continue;
            }
            let gathering = open && self.group.has_room();
            let due = self.inputs.rules.next_wake().filter(|_| gathering);
            let due = due.map(|due| rest(due, clock::unix_ms()));
            tokio::select! {
                biased;
                Some(done) = self.done.recv() => self.finish(done, clock::monotonic()),
                offer = self.inputs.offers.recv(), if gathering => match offer {
                    Some(offer) => self.take(offer, clock::now()),
                    None => {
                        open = false;
                        self.raise_rest(clock::unix_ms());
                    }
                },
                Some(event) = self.inputs.system.recv(), if gathering => {
                    self.raise(event, Ack::none(), clock::unix_ms());
                }
                Some((event, ack)) = self.inputs.audits.recv(), if gathering => {
                    self.raise(event, ack, clock::unix_ms());
                }
                Some(redrive) = self.inputs.redrives.recv(), if gathering => {
                    self.redrive(redrive, clock::unix_ms());
                }
                () = after(due.unwrap_or_default()), if due.is_some() => {
                    self.wake(clock::unix_ms());
                }
                () = self.inputs.rules.timers_differ(), if gathering => {}
                () = after(wait.unwrap_or_default()), if wait.is_some() => {}
            }
            self.gather(before);
        }
    }

    /// Takes what is already queued, without waiting. The group held `before` events when it was
    /// last looked at.
    fn gather(&mut self, before: usize) {
        while self.group.has_room()
            && let Ok(offer) = self.inputs.offers.try_recv()
        {
            self.take(offer, clock::now());
        }
        if self.group.acks.len() > before {
            self.settings.pacing.arrived(clock::monotonic());
        }
    }

    /// Gives the group to the commit thread if that is free and the pacing agrees; else says how
    /// long the group should still gather. One look at the clock decides both: a group that is
    /// told to wait is always waited for.
    fn hand_over(&mut self, open: bool, now: Instant) -> Option<Duration> {
        if self.group.is_empty() {
            return None;
        }
        let wait = self
            .settings
            .pacing
            .wait(&self.group, self.spare.is_some(), now);
        if open && wait.is_some() {
            return wait;
        }
        let mut next = self.spare.take()?;
        next.epoch = self.group.epoch;
        let mut full = std::mem::replace(&mut self.group, next);
        if let Some(starts) = self.starts.as_ref().filter(|_| !full.commit.is_empty()) {
            full.commit.mark(STARTS_KEY.as_bytes(), starts);
        }
        if !full.commit.is_empty()
            && let Some(reading) = self.settings.expiry.to_keep(full.has_interval, now)
        {
            full.commit.mark(CLOCK_KEY.as_bytes(), &reading);
        }
        self.settings.pacing.handed_over(&full, now);
        // A commit thread that is gone drops the group, which refuses its acks.
        let _ = self.commits.send(full);
        None
    }

    fn finish(&mut self, done: Done, now: Instant) {
        self.settings.pacing.finished(now);
        self.reused.look(now);
        self.loops.look(now);
        if done.failed {
            if self.group.epoch < done.epoch {
                self.dedup.forget_undurable(&self.group.seen);
                self.group.refuse_all(done.refusal);
                self.group.clear();
            }
            self.dedup.forget_undurable(&done.group.seen);
        } else {
            self.dedup.keep(&done.group.seen);
            // It went with the first group that holds something.
            self.starts.take_if(|_| !done.group.commit.is_empty());
        }
        self.group.epoch = self.group.epoch.max(done.epoch);
        let mut group = done.group;
        group.clear();
        self.spare = Some(group);
    }

    fn take(&mut self, offer: Offer, now: Now) {
        self.inputs.rules.refresh();
        self.group.shares.extend(offer._share);
        for arrival in offer.arrivals {
            self.take_one(arrival, now);
        }
    }

    fn take_one(&mut self, arrival: Arrival, now: Now) {
        let Arrival {
            mut event,
            ack,
            identity,
            at_most_once,
            set_aside,
        } = arrival;
        if let Some(aside) = set_aside {
            return self.set_aside(event, &aside, ack, now);
        }
        // A device makes its readings: none comes back by it.
        if !matches!(identity, Identity::Device { .. })
            && let Some(why) = self.loops.objection(&mut event, now.instant)
        {
            self.give_own_id(&mut event);
            let by = match &identity {
                Identity::Id { taken_by } => Arc::clone(taken_by),
                _ => Arc::clone(&self.system_source),
            };
            let aside = SetAside {
                why: why.into(),
                by,
            };
            return self.set_aside(event, &aside, ack, now);
        }
        match self.seen(&event, &identity, now.instant) {
            // An id that nothing may be known by, as of a will that is published at every loss.
            Seen::New if identity == Identity::None && !event.id.is_empty() => {
                self.give_own_id(&mut event);
            }
            Seen::New => {}
            Seen::Again => {
                self.metrics.duplicates.inc();
                self.loops.repeated(&event, now.instant);
                return self.group.acks.push(ack);
            }
            Seen::Reused { same_sender } => {
                self.metrics.reused_ids.inc();
                // What went out under another topic and came back is no other event.
                let is_other = same_sender && !self.settings.way.is_own(&event);
                if let (Identity::Id { taken_by }, true) = (&identity, is_other) {
                    self.reused.tell(taken_by, &event);
                }
                self.give_own_id(&mut event);
            }
            Seen::OutOfTurn | Seen::OtherNode => return self.refuse(ack),
            Seen::TooManyDevices => {
                self.observe.raise("devices", "devices", TOO_MANY_DEVICES);
                return self.refuse(ack);
            }
        }
        if event.id.is_empty() {
            event.id = self.mint.next_id();
        }
        self.settings.expiry.stamp(&mut event, now);
        let now = now.unix_ms;
        event.received = now;
        if at_most_once {
            self.group.note(Note::AtMostOnce);
        }
        self.decide(&event, ack, now);
        self.group.taken += 1;
        self.group.dropped += u64::from(self.routed.is_empty());
    }

    fn seen(&mut self, event: &Event, identity: &Identity, now: Instant) -> Seen {
        let (entries, commit) = (&mut self.group.seen, &mut self.group.commit);
        let seen = self.dedup.seen(event, identity, entries, commit);
        let has_id = matches!(identity, Identity::Id { .. });
        // An id of ours stands for the event that got it here: receivers know that one by it.
        match seen == Seen::New && has_id && self.settings.way.is_of_another(event, now) {
            true => Seen::Reused { same_sender: false },
            false => seen,
        }
    }

    fn refuse(&self, ack: Ack) {
        self.metrics.refused.inc();
        ack.settle(Verdict::Refused(Refusal::Failed));
    }

    /// Gives the event an id of ours, and keeps that of its sender.
    fn give_own_id(&mut self, event: &mut Event) {
        let of_sender = std::mem::replace(&mut event.id, self.mint.next_id());
        if of_sender.is_empty() {
            return;
        }
        event.set_extension(SENDER_ID, &of_sender);
    }

    /// Keeps an event that its source does not take: a record of the group that goes to the dead
    /// letters, past the rules and the subscribers.
    fn set_aside(&mut self, mut event: Event, aside: &SetAside, ack: Ack, now: Now) {
        if event.id.is_empty() {
            event.id = self.mint.next_id();
        }
        self.settings.expiry.stamp(&mut event, now);
        let now = now.unix_ms;
        event.received = now;
        let routed = Routed {
            lane: self.inputs.rules.dead_letter_lane(),
            output: Output {
                reason: Some((*aside.why).into()),
                rule: Some(format!("{BY_SOURCE} {}", name_of(&aside.by)).into()),
                ..Output::default()
            },
        };
        self.group.note(Note::Hidden);
        self.group.push(&event, &[routed], now);
        self.group.acks.push(ack);
        self.group.taken += 1;
    }

    /// Lets the rules decide, and adds the event with its consequences to the group.
    fn decide(&mut self, event: &Event, ack: Ack, now: UnixMs) {
        self.inputs.rules.decide(event, now, &mut self.routed);
        self.push(event, ack, now);
    }

    /// Adds an event to the group, with what was decided about it.
    fn push(&mut self, event: &Event, ack: Ack, now: UnixMs) {
        self.group.push(event, &self.routed, now);
        self.group.acks.push(ack);
    }

    /// Lets the rules decide whose timers are due. An event that this sends nowhere is not stored
    /// once more. Nobody offers again what a group that fails held of it, as with system events.
    fn wake(&mut self, now: UnixMs) {
        self.inputs.rules.refresh();
        while self.group.has_room()
            && let Some(event) = self.inputs.rules.wake(now, &mut self.routed)
        {
            if !self.routed.is_empty() {
                self.group.note(Note::Hidden);
                self.push(&event, Ack::none(), now);
            }
        }
    }

    fn redrive(&mut self, redrive: Redrive, now: UnixMs) {
        self.group.note(Note::Hidden);
        self.group
            .push(&redrive.record.event, &redrive.record.outputs, now);
        self.group.acks.push(redrive.ack);
    }

    /// The last arrival was taken: what was raised until now is raised by nobody again.
    fn raise_rest(&mut self, now: UnixMs) {
        for _ in 0..self.inputs.system.len() {
            if let Ok(event) = self.inputs.system.try_recv() {
                self.raise(event, Ack::none(), now);
            }
        }
        while let Ok((event, ack)) = self.inputs.audits.try_recv() {
            self.raise(event, ack, now);
        }
    }

    fn raise(&mut self, system: SystemEvent, ack: Ack, now: UnixMs) {
        self.inputs.rules.refresh();
        let short = system.kind.trim_start_matches("dev.tidegate.");
        let topic = format!("{SYSTEM_TOPIC}/{}", short.replace('.', "/"));
        let event = Event {
            id: self.mint.next_id(),
            source: Arc::clone(&self.system_source),
            kind: system.kind.into(),
            subject: Some(system.subject.into()),
            topic: topic.into(),
            publisher: Arc::clone(&self.settings.gateway_id),
            time: Some(now.into()),
            received: now,
            content_type: Some("application/json".into()),
            schema: None,
            extensions: Vec::new(),
            data: system.data.to_string().into(),
            ..Event::default()
        };
        self.decide(&event, ack, now);
    }
}

/// The name of a source of this gateway, from its CloudEvents `source`.
fn name_of(source: &str) -> &str {
    source.split_once('/').map_or(source, |(_, name)| name)
}

/// The longest sleep towards a timer: a wall clock that is set must be noticed.
const WAKE_WAIT_MAX: Duration = Duration::from_secs(1);

/// How long to sleep until `due`, or until it is looked again.
fn rest(due: UnixMs, now: UnixMs) -> Duration {
    let rest = due.saturating_sub(now).max(0).unsigned_abs();
    Duration::from_millis(rest).min(WAKE_WAIT_MAX)
}

/// Sleeps; costs nothing before it is waited for.
async fn after(wait: Duration) {
    tokio::time::sleep(wait).await;
}
