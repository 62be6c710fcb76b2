//! What is known for what it is, and what is left alone.

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
        let mut memory = SentMemory::new(pairs.collect());
        memory.probes = Probes::new(fastrand::Rng::with_seed(11));
        World {
            memory,
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
    for takes in [1, 5, 20, 50, 100, 1_000, 10_000, 50_000] {
        let mut world = World::new(&[]);
        let rounds = world.rounds("floor", "a/b", takes * MS, 1_000);
        assert!(
            (8..=RETURNS_SUSPECT as usize + 8).contains(&rounds),
            "{takes} ms: {rounds}"
        );
        // From now on its sender sends back.
        assert_eq!(world.rounds("floor", "a/b", takes * MS, 9), 1);
    }
}

/// Lets equal events arrive at these times in ms, and what is sent come again after `takes_ms`. How many were taken
/// until it was known that they go round.
fn course(world: &mut World, mut arrivals: Vec<u32>, takes_ms: Option<u32>) -> Option<usize> {
    let (start, mut queued, mut taken) = (world.now, 0, 0);
    for ms in 0..60_000 {
        world.now = start + ms * MS;
        let due = arrivals.extract_if(.., |at| *at == ms).count();
        for _ in 0..due {
            if world.arrives("floor", "a/b").is_some() {
                return Some(taken);
            }
            (queued, taken) = (queued + 1, taken + 1);
        }
        if world.memory.holds("cloud", world.now) {
            continue;
        }
        for _ in 0..std::mem::take(&mut queued) {
            world.sends("a/b", None);
            arrivals.extend(takes_ms.map(|takes_ms| ms + takes_ms));
        }
    }
    None
}

#[test]
fn several_equal_events_that_go_round_are_known_after_a_while() {
    for (events, takes) in [(2, 3), (2, 60), (5, 20), (30, 50), (200, 100)] {
        let mut world = World::new(&[]);
        let taken = course(&mut world, (0..events).collect(), Some(takes));
        let most = (RETURNS_SUSPECT + 4 * events).max(140) as usize;
        assert!(
            taken.is_some_and(|taken| taken <= most),
            "{events}, {takes} ms: {taken:?}"
        );
    }
}

#[test]
fn a_burst_of_equal_readings_and_what_follows_is_no_return() {
    for every in [10, 40, 60] {
        // Silence, then a reading now and then, or the next bursts.
        for (silence, readings) in [
            (60_000, 0),
            (4_000, 1),
            (5_100, 1),
            (6_000, 1),
            (1_000, 9),
            (5_500, 70),
            (8_000, 70),
        ] {
            let mut arrivals: Vec<u32> = (0..80).map(|n| n * every).collect();
            for burst in 1..8 {
                let begin = arrivals[79] + burst * silence;
                arrivals.extend((0..readings).map(|n| begin + n * every));
            }
            let mut world = World::new(&[]);
            assert_eq!(
                course(&mut world, arrivals, None),
                None,
                "{every} ms, {silence} ms"
            );
            assert!(world.memory.echoing.is_empty(), "{every} ms, {silence} ms");
        }
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
