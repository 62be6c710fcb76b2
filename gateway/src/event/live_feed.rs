//! Committed events on their way to subscribers, as they happen: what a slow subscriber still has to read is kept once
//! for all of them, and bounded in bytes, for a group may hold anything from one reading to a few large payloads.

use std::collections::VecDeque;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use tidegate_rules::event::Event;
use tokio::sync::watch;

/// Bytes of events kept for slow subscribers; one that falls further behind misses the oldest and is told.
const KEPT_BYTES_MAX: usize = 4 << 20;
/// What an event takes beside its payload, about.
const EVENT_BYTES: usize = 256;

/// The events of one commit.
pub type CommittedEvents = Arc<Vec<Arc<Event>>>;

/// So many groups were gone before the subscriber came to read them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Missed(pub u64);

/// Where committed events are published for whoever is listening right now.
#[derive(Clone)]
pub struct LiveFeed(Arc<Feed>);

struct Feed {
    kept: Mutex<Kept>,
    /// Groups published so far; what subscribers wait on.
    published: watch::Sender<u64>,
    subscribers: AtomicUsize,
}

#[derive(Default)]
struct Kept {
    groups: VecDeque<(CommittedEvents, usize)>,
    bytes: usize,
    /// Groups dropped or read by nobody: the number of the first one kept.
    first: u64,
}

impl Kept {
    fn push(&mut self, group: CommittedEvents) -> u64 {
        let bytes = group
            .iter()
            .map(|event| EVENT_BYTES + event.data.len())
            .sum();
        self.bytes += bytes;
        self.groups.push_back((group, bytes));
        // The newest group stays, however large it is.
        while self.bytes > KEPT_BYTES_MAX && self.groups.len() > 1 {
            self.drop_first();
        }
        self.first + self.groups.len() as u64
    }

    fn drop_first(&mut self) {
        if let Some((_, bytes)) = self.groups.pop_front() {
            self.bytes -= bytes;
            self.first += 1;
        }
    }
}

impl Default for LiveFeed {
    fn default() -> Self {
        LiveFeed(Arc::new(Feed {
            kept: Mutex::default(),
            published: watch::Sender::new(0),
            subscribers: AtomicUsize::new(0),
        }))
    }
}

impl Feed {
    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl LiveFeed {
    /// Whether anybody listens. Without listeners the intake keeps no events for the feed.
    pub fn wanted(&self) -> bool {
        self.0.subscribers.load(Ordering::Relaxed) > 0
    }

    /// Publishes the events of one commit.
    pub fn publish(&self, events: CommittedEvents) {
        let end = self.0.kept().push(events);
        self.0.published.send_replace(end);
    }

    /// Listens from now on.
    pub fn subscribe(&self) -> LiveEvents {
        self.0.subscribers.fetch_add(1, Ordering::Relaxed);
        let published = self.0.published.subscribe();
        let next = {
            let kept = self.0.kept();
            kept.first + kept.groups.len() as u64
        };
        LiveEvents {
            feed: self.0.clone(),
            published,
            next,
        }
    }
}

/// A subscriber's end.
pub struct LiveEvents {
    feed: Arc<Feed>,
    published: watch::Receiver<u64>,
    /// The number of the group to read next.
    next: u64,
}

impl LiveEvents {
    /// The next group, as soon as there is one. Dropping the future loses nothing.
    pub async fn next(&mut self) -> Result<CommittedEvents, Missed> {
        loop {
            if let Some(found) = self.take() {
                return found;
            }
            if self.published.changed().await.is_err() {
                // Not while this subscriber holds the feed.
                std::future::pending::<()>().await;
            }
        }
    }

    fn take(&mut self) -> Option<Result<CommittedEvents, Missed>> {
        let kept = self.feed.kept();
        if self.next < kept.first {
            let missed = kept.first - self.next;
            self.next = kept.first;
            return Some(Err(Missed(missed)));
        }
        let at = usize::try_from(self.next - kept.first).ok()?;
        let (group, _) = kept.groups.get(at)?;
        self.next += 1;
        Some(Ok(group.clone()))
    }
}

impl Drop for LiveEvents {
    fn drop(&mut self) {
        if self.feed.subscribers.fetch_sub(1, Ordering::Relaxed) == 1 {
            // Nobody is left who could read them.
            let mut kept = self.feed.kept();
            while !kept.groups.is_empty() {
                kept.drop_first();
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tidegate_rules::event::UnixMs;

    fn group(data: usize) -> CommittedEvents {
        let text = |text: &str| Arc::<str>::from(text);
        Arc::new(vec![Arc::new(Event {
            id: text("1"),
            source: text("gateway/mqtt"),
            kind: text("reading"),
            subject: None,
            topic: text("a/b"),
            publisher: text("sensor"),
            time: None,
            received: UnixMs::default(),
            content_type: None,
            schema: None,
            extensions: Vec::new(),
            data: vec![0; data].into(),
        })])
    }

    fn kept_bytes(feed: &LiveFeed) -> usize {
        feed.0.kept().bytes
    }

    #[tokio::test]
    async fn a_deaf_subscriber_costs_a_bounded_number_of_bytes_and_is_told_what_it_missed() {
        let feed = LiveFeed::default();
        let mut events = feed.subscribe();
        for _ in 0..100 {
            feed.publish(group(512 << 10));
        }
        assert!(kept_bytes(&feed) <= KEPT_BYTES_MAX);
        let Err(Missed(missed)) = events.next().await else {
            panic!("nothing was missed");
        };
        let mut read = 0;
        while let Some(found) = events.take() {
            found.expect("the rest is there");
            read += 1;
        }
        assert_eq!(missed + read, 100);
        assert!(read > 0);
    }

    #[tokio::test]
    async fn subscribers_hear_what_is_published_after_they_came() {
        let feed = LiveFeed::default();
        assert!(!feed.wanted());
        let mut early = feed.subscribe();
        feed.publish(group(1));
        let mut late = feed.subscribe();
        feed.publish(group(2));
        for bytes in [1, 2] {
            assert_eq!(early.next().await.unwrap()[0].data.len(), bytes);
        }
        assert_eq!(late.next().await.unwrap()[0].data.len(), 2);
        drop((early, late));
        assert!(!feed.wanted());
        assert_eq!(kept_bytes(&feed), 0);
    }

    #[tokio::test]
    async fn a_waiting_subscriber_wakes() {
        let feed = LiveFeed::default();
        let mut events = feed.subscribe();
        let waiting = tokio::spawn(async move { events.next().await.map(|group| group.len()) });
        tokio::task::yield_now().await;
        feed.publish(group(3));
        assert_eq!(waiting.await.unwrap(), Ok(1));
    }
}
