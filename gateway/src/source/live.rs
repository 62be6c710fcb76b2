//! Committed events on their way to subscribers, as they happen.

use std::sync::Arc;

use tidegate_rules::event::Event;
use tokio::sync::broadcast;

/// Groups kept for slow subscribers; one that falls further behind misses the oldest and knows it.
const GROUPS_MAX: usize = 256;

/// Where committed events are published for whoever is listening right now.
#[derive(Clone)]
pub struct LiveFeed(broadcast::Sender<Arc<Vec<Arc<Event>>>>);

/// A subscriber's end.
pub type LiveEvents = broadcast::Receiver<Arc<Vec<Arc<Event>>>>;

impl Default for LiveFeed {
    fn default() -> Self {
        LiveFeed(broadcast::Sender::new(GROUPS_MAX))
    }
}

impl LiveFeed {
    /// Whether anybody listens. Without listeners the intake keeps no events for the feed.
    pub fn wanted(&self) -> bool {
        self.0.receiver_count() > 0
    }

    /// Publishes the events of one commit.
    pub fn publish(&self, events: Arc<Vec<Arc<Event>>>) {
        // Nobody listening any more is no error.
        let _ = self.0.send(events);
    }

    /// Listens from now on.
    pub fn subscribe(&self) -> LiveEvents {
        self.0.subscribe()
    }
}
