//! What was sent just now, by its content: where no metadata travels (MQTT 3.1.1, a bridge that drops it), what comes back
//! is known by nothing else.
//!
//! What was sent to a broker that a source is at too, and what was sent otherwise than it came (by a rule, as a structured
//! event), nobody else says by chance: it is what came back. Unchanged content may as well be a sensor that repeats its
//! reading. Where it comes once each time after it was sent, [`probe`](super::probe) looks into that. Where it comes
//! [`RETURNS_SUSPECT`] times within [`SUSPECT_WITHIN`], several at a time perhaps, the upstream sends nothing for a while. A
//! sensor goes on meanwhile; what goes round stops, and comes again when it was sent again. Where that is so twice, the
//! second time after another while, its sender is one that sends back: a sensor that falls silent just then does not come
//! again just so.
//!
//! All of it is bounded, and forgotten at a restart.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_rules::event::Event;

use super::PATH;
use super::pauses::Pauses;
use super::probe::{Came, Probes};

/// Contents remembered.
const SENT_MAX: usize = 8192;
/// How long something may take to come back.
const RETURN_MAX: Duration = Duration::from_secs(60);
/// The same where it may as well be a repeated reading.
const RETURN_SOON: Duration = Duration::from_secs(2);
/// So many returns in a row...
const RETURNS_SUSPECT: u32 = 64;
/// ... within so long are looked into.
const SUSPECT_WITHIN: Duration = Duration::from_secs(4);
/// What was sent before may still come back for so long.
const DRAIN: Duration = Duration::from_millis(500);
/// So long an upstream sends nothing at first, to see what does not come.
const HOLD_FIRST: Duration = Duration::from_secs(5);
/// And the second time: what comes by itself every so often, and came after the first, does not after this one.
const HOLD_AGAIN: Duration = Duration::from_millis(2_500);
/// Repetitions are counted over so long.
const TRIAL_COUNT: Duration = Duration::from_secs(1);
/// How long a sender counts as one that sends back.
const ECHOING: Duration = Duration::from_secs(600);
/// Senders that send back.
const ECHOING_MAX: usize = 1024;

/// What is known of an event where no metadata travels.
#[derive(Debug, Clone, Copy, Hash)]
pub struct Content<'a> {
    /// The topic of its packet.
    pub topic: &'a str,
    /// The payload of its packet.
    pub payload: &'a [u8],
}

/// Who an event came from.
#[derive(Debug, Clone, Copy, Hash)]
pub(super) struct Sender<'a> {
    pub(super) source: &'a str,
    pub(super) publisher: &'a str,
}

/// A content that was sent.
struct Sent {
    upstream: Arc<str>,
    /// The id that it left under, by its hash.
    id: u64,
    /// The way of the event, up to here.
    path: Option<Arc<str>>,
    /// Whether it left otherwise than it came.
    changed: bool,
    /// So many may come back still.
    out: u32,
    at: Instant,
    /// Times in a row that it came after it was sent.
    returns: u32,
    since: Instant,
    /// Times in a row that it was sent once and came once.
    streak: u32,
}

/// An upstream that is held, to see what goes on by itself and what comes again afterwards.
struct Trial {
    key: u64,
    sender: u64,
    began: Instant,
    hold: Duration,
    /// When it sent again.
    released: Option<Instant>,
    /// So many in [`TRIAL_COUNT`] go on by themselves.
    enough: u32,
    counted_since: Instant,
    count: u32,
}

pub(super) struct SentMemory {
    keys: RandomState,
    pub(super) one_broker: HashSet<(String, String)>,
    sent: HashMap<u64, Sent>,
    order: VecDeque<(u64, Instant)>,
    trials: HashMap<Arc<str>, Trial>,
    pauses: Pauses,
    probes: Probes,
    echoing: HashMap<u64, Instant>,
}

impl SentMemory {
    pub(super) fn new(one_broker: HashSet<(String, String)>) -> SentMemory {
        SentMemory {
            keys: RandomState::new(),
            one_broker,
            sent: HashMap::new(),
            order: VecDeque::new(),
            trials: HashMap::new(),
            pauses: Pauses::default(),
            probes: Probes::new(fastrand::Rng::new()),
            echoing: HashMap::new(),
        }
    }

    pub(super) fn sent(
        &mut self,
        upstream: &Arc<str>,
        content: Content<'_>,
        id: &str,
        event: &Event,
        now: Instant,
    ) {
        let (key, id) = (self.keys.hash_one(content), self.keys.hash_one(id));
        let path = event.extension(PATH).map(Arc::from);
        let changed = content.topic != &*event.topic || content.payload != &event.data[..];
        self.order.push_back((key, now));
        match self.sent.get_mut(&key) {
            Some(sent) => {
                sent.out = sent.out.saturating_add(1);
                (sent.id, sent.path) = (id, path);
                sent.changed = changed;
                sent.at = now;
            }
            None => {
                let sent = Sent {
                    upstream: Arc::clone(upstream),
                    id,
                    path,
                    changed,
                    out: 1,
                    at: now,
                    returns: 0,
                    since: now,
                    streak: 0,
                };
                self.sent.insert(key, sent);
            }
        }
        self.forget_old(now);
    }

    /// Whether this left under this id and may still come back.
    pub(super) fn was_sent(&self, content: Content<'_>, id: &str, now: Instant) -> bool {
        let sent = self.sent.get(&self.keys.hash_one(content));
        sent.is_some_and(|sent| {
            sent.id == self.keys.hash_one(id)
                && now.saturating_duration_since(sent.at) <= RETURN_MAX
        })
    }

    fn forget_old(&mut self, now: Instant) {
        let is_old = |at: Instant| now.saturating_duration_since(at) > RETURN_MAX;
        while let Some((key, at)) = self.order.front().copied()
            && (self.order.len() > SENT_MAX || is_old(at))
        {
            self.order.pop_front();
            // Sent again since, it stands further behind as well.
            if self.sent.get(&key).is_some_and(|sent| sent.at <= at) {
                self.sent.remove(&key);
            }
        }
    }

    /// The way of the event that comes back here; `None` where this is another one.
    pub(super) fn returned(
        &mut self,
        content: Content<'_>,
        sender: Sender<'_>,
        now: Instant,
    ) -> Option<Option<Arc<str>>> {
        if self.sent.is_empty() {
            return None;
        }
        let key = self.keys.hash_one(content);
        let sent = self.sent.get_mut(&key)?;
        let of_sender = self.keys.hash_one(sender);
        let took = now.saturating_duration_since(sent.at);
        let pair = || (sent.upstream.to_string(), sender.source.to_owned());
        let is_certain = sent.changed
            || self
                .echoing
                .get(&of_sender)
                .is_some_and(|until| *until > now)
            || self.one_broker.contains(&pair());
        if is_certain {
            sent.out = match took <= RETURN_MAX {
                true => sent.out.checked_sub(1)?,
                false => return None,
            };
            return Some(sent.path.clone());
        }
        let once = (sent.out == 1 && took <= RETURN_MAX).then_some(sent.at);
        sent.streak = once.map_or(0, |_| sent.streak + 1);
        let streak = sent.streak;
        let after_sent = sent.out > 0 && took <= RETURN_SOON;
        match after_sent {
            true => sent.out -= 1,
            false => (sent.out, sent.returns) = (0, 0),
        }
        let upstream = Arc::clone(&sent.upstream);
        if self.trials.contains_key(&upstream) {
            self.goes_on(&upstream, key, after_sent, now);
            return None;
        }
        let came = Came {
            upstream: &upstream,
            key,
            sent: once,
            streak,
            now,
        };
        if self.probes.came(came) {
            self.sends_back(of_sender, now);
        } else if after_sent {
            self.suspect(&upstream, key, of_sender, now);
        }
        None
    }

    /// It came while the upstream is held, or since it sent again.
    fn goes_on(&mut self, upstream: &Arc<str>, key: u64, after_sent: bool, now: Instant) {
        let Some(trial) = self
            .trials
            .get_mut(upstream)
            .filter(|trial| trial.key == key)
        else {
            return;
        };
        if trial.released.is_some() {
            match (after_sent, trial.hold == HOLD_FIRST) {
                (false, _) => self.is_sensor(upstream, now),
                (true, true) => {
                    (trial.began, trial.hold, trial.released) = (now, HOLD_AGAIN, None);
                    (trial.counted_since, trial.count) = (now, 0);
                }
                (true, false) => {
                    let sender = trial.sender;
                    self.trials.remove(upstream);
                    self.sends_back(sender, now);
                }
            }
            return;
        }
        if now.saturating_duration_since(trial.began) < DRAIN {
            return;
        }
        if now.saturating_duration_since(trial.counted_since) > TRIAL_COUNT {
            (trial.counted_since, trial.count) = (now, 0);
        }
        trial.count += 1;
        if trial.count >= trial.enough {
            self.is_sensor(upstream, now);
        }
    }

    /// Nothing goes round: the upstream is left alone for a while.
    fn is_sensor(&mut self, upstream: &str, now: Instant) {
        self.trials.remove(upstream);
        self.pauses.begin(upstream, now);
    }

    /// What it sent came round.
    fn sends_back(&mut self, sender: u64, now: Instant) {
        if self.echoing.len() >= ECHOING_MAX {
            self.echoing.retain(|_, until| *until > now);
        }
        if self.echoing.len() < ECHOING_MAX {
            self.echoing.insert(sender, now + ECHOING);
        }
    }

    /// It came after it was sent, as it would if it went round.
    fn suspect(&mut self, upstream: &Arc<str>, key: u64, sender: u64, now: Instant) {
        let Some(sent) = self.sent.get_mut(&key) else {
            return;
        };
        let mut took = now.saturating_duration_since(sent.since);
        if sent.returns == 0 || took > SUSPECT_WITHIN {
            (sent.since, sent.returns, took) = (now, 0, Duration::ZERO);
        }
        sent.returns += 1;
        if sent.returns < RETURNS_SUSPECT || self.pauses.holds(upstream, now) {
            return;
        }
        sent.returns = 0;
        let rate = f64::from(RETURNS_SUSPECT) / took.as_secs_f64().max(0.001);
        let trial = Trial {
            key,
            sender,
            began: now,
            hold: HOLD_FIRST,
            released: None,
            enough: (rate / 4.0) as u32,
            counted_since: now,
            count: 0,
        };
        self.probes.give_up(upstream);
        self.trials.insert(Arc::clone(upstream), trial);
    }

    pub(super) fn holds(&mut self, upstream: &str, now: Instant) -> bool {
        let Some(trial) = self.trials.get_mut(upstream) else {
            return self.probes.holds(upstream, now);
        };
        match trial.released {
            None if now.saturating_duration_since(trial.began) < trial.hold => return true,
            None => trial.released = Some(now),
            // What was sent again did not come.
            Some(at) if now.saturating_duration_since(at) > RETURN_SOON => {
                self.is_sensor(upstream, now);
            }
            Some(_) => {}
        }
        false
    }
}

#[cfg(test)]
mod tests;
