//! What was sent just now, by its content: where no metadata travels (MQTT 3.1.1, a bridge that drops it), what comes back
//! is known by nothing else.
//!
//! What was sent to a broker that a source is at too, and what was sent otherwise than it came (by a rule, as a structured
//! event), nobody else says by chance: it is what came back. Unchanged content may as well be a sensor that repeats its
//! reading. Only where it comes [`RETURNS_SUSPECT`] times within [`SUSPECT_WITHIN`], each time after it was sent once more, is
//! it looked into: the upstream sends nothing for a moment. A sensor goes on meanwhile; what goes round stops, and its
//! sender is one that sends back.
//!
//! All of it is bounded, and forgotten at a restart.

use std::collections::{HashMap, HashSet, VecDeque};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_rules::event::Event;

use super::PATH;

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
/// Without a repetition for so long, it went round.
const TRIAL_MAX: Duration = Duration::from_secs(5);
/// Repetitions are counted over so long.
const TRIAL_COUNT: Duration = Duration::from_secs(1);
/// How long a sender counts as one that sends back.
const ECHOING: Duration = Duration::from_secs(600);
/// Senders that send back.
const ECHOING_MAX: usize = 1024;
/// Between two looks at an upstream where a sensor was found; doubled each time.
const TRIAL_PAUSE_MIN: Duration = Duration::from_secs(60);
const TRIAL_PAUSE_MAX: Duration = Duration::from_secs(3600);

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
}

/// An upstream that is held, to see what goes on by itself.
struct Trial {
    key: u64,
    sender: u64,
    began: Instant,
    /// So many in [`TRIAL_COUNT`] go on by themselves.
    enough: u32,
    counted_since: Instant,
    count: u32,
}

/// When an upstream may be looked into again.
struct Pause {
    until: Instant,
    pause: Duration,
}

pub(super) struct SentMemory {
    keys: RandomState,
    one_broker: HashSet<(String, String)>,
    sent: HashMap<u64, Sent>,
    order: VecDeque<(u64, Instant)>,
    trials: HashMap<Arc<str>, Trial>,
    pauses: HashMap<Arc<str>, Pause>,
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
            pauses: HashMap::new(),
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
        let paths = event.extensions.iter().find(|(name, _)| &**name == PATH);
        let path = paths.map(|(_, path)| Arc::clone(path));
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
        let after_sent = sent.out > 0 && took <= RETURN_SOON;
        match after_sent {
            true => sent.out -= 1,
            false => (sent.out, sent.returns) = (0, 0),
        }
        let upstream = Arc::clone(&sent.upstream);
        if self.trials.contains_key(&upstream) {
            self.goes_on(&upstream, key, now);
        } else if after_sent {
            self.suspect(&upstream, key, of_sender, now);
        }
        None
    }

    /// It came though it may not have been sent.
    fn goes_on(&mut self, upstream: &Arc<str>, key: u64, now: Instant) {
        let Some(trial) = self.trials.get_mut(upstream) else {
            return;
        };
        let waited = now.saturating_duration_since(trial.began);
        if trial.key != key || waited < DRAIN {
            return;
        }
        if now.saturating_duration_since(trial.counted_since) > TRIAL_COUNT {
            (trial.counted_since, trial.count) = (now, 0);
        }
        trial.count += 1;
        if trial.count < trial.enough {
            return;
        }
        self.trials.remove(upstream);
        let before = self.pauses.get(upstream).map(|pause| pause.pause * 2);
        let pause = before.unwrap_or(TRIAL_PAUSE_MIN).min(TRIAL_PAUSE_MAX);
        let until = now + pause;
        self.pauses
            .insert(Arc::clone(upstream), Pause { until, pause });
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
        let pauses = self.pauses.get(upstream);
        if sent.returns < RETURNS_SUSPECT || pauses.is_some_and(|pause| pause.until > now) {
            return;
        }
        sent.returns = 0;
        let rate = f64::from(RETURNS_SUSPECT) / took.as_secs_f64().max(0.001);
        let trial = Trial {
            key,
            sender,
            began: now,
            enough: (rate / 4.0) as u32,
            counted_since: now,
            count: 0,
        };
        self.trials.insert(Arc::clone(upstream), trial);
    }

    pub(super) fn holds(&mut self, upstream: &str, now: Instant) -> bool {
        let Some(trial) = self.trials.get(upstream) else {
            return false;
        };
        if now.saturating_duration_since(trial.began) < TRIAL_MAX {
            return true;
        }
        if self.echoing.len() >= ECHOING_MAX {
            self.echoing.retain(|_, until| *until > now);
        }
        if self.echoing.len() < ECHOING_MAX {
            self.echoing.insert(trial.sender, now + ECHOING);
        }
        self.trials.remove(upstream);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::super::tests::event;
    use super::*;

    const MS: Duration = Duration::from_millis(1);

    /// A memory, an upstream, and a clock.
    struct World {
        memory: SentMemory,
        upstream: Arc<str>,
        now: Instant,
    }

    impl World {
        fn new(one_broker: &[(&str, &str)]) -> World {
            let pairs = one_broker.iter();
            let pairs = pairs.map(|(upstream, source)| (upstream.to_string(), source.to_string()));
            World {
                memory: SentMemory::new(pairs.collect()),
                upstream: "cloud".into(),
                now: crate::time::clock::monotonic(),
            }
        }

        fn arrives(&mut self, source: &str, topic: &str) -> Option<Option<Arc<str>>> {
            let content = Content {
                topic,
                payload: b"21.5",
            };
            let sender = Sender {
                source,
                publisher: "bridge",
            };
            self.memory.returned(content, sender, self.now)
        }

        /// Sends it as soon as the upstream is not held.
        fn sends(&mut self, topic: &str, path: Option<Arc<str>>) {
            while self.memory.holds(&self.upstream, self.now) {
                self.now += 10 * MS;
            }
            let content = Content {
                topic,
                payload: b"21.5",
            };
            let upstream = Arc::clone(&self.upstream);
            self.memory
                .sent(&upstream, content, "e-1", &event(path.as_deref()), self.now);
        }

        /// Lets what arrives go round until it is known for what it is; how often it did.
        fn rounds(&mut self, source: &str, topic: &str, takes: Duration, most: usize) -> usize {
            (1..=most)
                .find(|_| {
                    self.sends(topic, None);
                    self.now += takes;
                    self.arrives(source, topic).is_some()
                })
                .unwrap_or(usize::MAX)
        }
    }

    #[test]
    fn what_nobody_says_by_chance_is_known_at_once() {
        for (pairs, source, topic) in [
            (&[("cloud", "plant")][..], "plant", "a/b"),
            (&[], "floor", "again/a/b"),
            (&[("other", "plant")], "plant", "x"),
        ] {
            let mut world = World::new(pairs);
            assert_eq!(world.arrives(source, topic), None, "not sent yet");
            assert_eq!(world.rounds(source, topic, 50 * MS, 9), 1, "{topic}");
            assert_eq!(world.arrives(source, topic), None, "it came back already");
            world.sends(topic, Some("a way".into()));
            world.now += RETURN_MAX + MS;
            assert_eq!(world.arrives(source, topic), None, "too late");
            world.sends(topic, Some("a way".into()));
            assert_eq!(world.arrives(source, topic), Some(Some("a way".into())));
            assert_eq!(world.arrives(source, "another"), None);
        }
    }

    #[test]
    fn what_goes_round_unchanged_is_known_after_a_while() {
        for takes in [1, 5, 20, 50] {
            let mut world = World::new(&[]);
            let rounds = world.rounds("floor", "a/b", takes * MS, 1_000);
            let least = RETURNS_SUSPECT as usize;
            assert!((least..least + 4).contains(&rounds), "{takes} ms: {rounds}");
            // From now on its sender sends back.
            assert_eq!(world.rounds("floor", "a/b", takes * MS, 9), 1);
        }
    }

    #[test]
    fn a_reading_that_is_repeated_for_hours_is_no_return() {
        for (every, takes) in [(1000, 5), (100, 5), (100, 90), (20, 2), (10, 1), (5, 1)] {
            let mut world = World::new(&[]);
            let start = world.now;
            let (mut queued, mut held_for) = (0, Duration::ZERO);
            for number in 0..60_000_u32 {
                world.now = start + number * every * MS;
                assert_eq!(world.arrives("floor", "a/b"), None, "{every} ms");
                queued += 1;
                if world.memory.holds("cloud", world.now) {
                    held_for += every * MS;
                    continue;
                }
                world.now += takes * MS;
                for _ in 0..std::mem::take(&mut queued) {
                    world.sends("a/b", None);
                }
            }
            assert!(world.memory.echoing.is_empty(), "{every} ms");
            // An hour's readings hold the upstream for a few seconds in all.
            assert!(
                held_for < Duration::from_secs(15),
                "{every} ms: {held_for:?}"
            );
        }
    }

    #[test]
    fn the_memory_is_bounded() {
        let mut world = World::new(&[]);
        for number in 0..3 * SENT_MAX {
            world.sends(&format!("t/{number}"), None);
        }
        assert!(world.memory.sent.len() <= SENT_MAX && world.memory.order.len() <= SENT_MAX);
        (0..3 * SENT_MAX).for_each(|_| world.sends("t", None));
        assert!(world.memory.order.len() <= SENT_MAX);
        assert!(world.arrives("floor", "t").is_none());
        world.now += 2 * RETURN_MAX;
        world.sends("t", None);
        assert_eq!(world.memory.sent.len(), 1);
    }
}
