//! Finding stored events, newest first.

use std::ops::ControlFlow;

use tidegate_rules::event::{Event, UnixMs};
use tidegate_rules::topic::TopicFilter;
use tidegate_store::{ReadLimit, Search, Sequence, Store};

use super::HistoryError;
use super::event::EventView;
use crate::event::record::{self, Record, tags};

/// Records looked at in one piece.
const WINDOW: u64 = 4096;
/// Bytes of records looked at in one piece.
const WINDOW_BYTES_MAX: usize = 4 * 1024 * 1024;
/// The most events one answer holds.
pub const LIMIT_MAX: usize = 10_000;

/// Every record there is.
const EVERYTHING: Search<'_> = Search {
    tags: &[],
    from_ms: 0,
    to_ms: u64::MAX,
};

/// Which events are asked for. Absent parts accept everything.
#[derive(Debug, Clone, Default)]
pub struct EventFilter {
    /// Accepts the topic.
    pub topic: Option<TopicFilter>,
    /// Name of the source, or the whole CloudEvents `source`.
    pub source: Option<String>,
    /// The CloudEvents `type`.
    pub kind: Option<String>,
    /// Received at this time or later.
    pub since_ms: Option<UnixMs>,
}

impl EventFilter {
    /// Whether `event` is asked for.
    pub fn accepts(&self, event: &Event) -> bool {
        let topic = self
            .topic
            .as_ref()
            .is_none_or(|filter| filter.matches(&event.topic));
        let kind = self.kind.as_ref().is_none_or(|kind| **kind == *event.kind);
        let since = self.since_ms.is_none_or(|since| event.received >= since);
        topic && kind && since && self.accepts_source(&event.source)
    }

    fn accepts_source(&self, source: &str) -> bool {
        let Some(wanted) = &self.source else {
            return true;
        };
        source == wanted || source.rsplit('/').next() == Some(wanted)
    }

    /// The tags that every event has which is asked for.
    fn tags(&self) -> Vec<u64> {
        let mut found = Vec::new();
        if let Some(filter) = &self.topic {
            tags::of_filter(filter, &mut found);
        }
        found.extend(self.source.as_deref().map(tags::of_source));
        found.extend(self.kind.as_deref().map(tags::of_kind));
        found
    }

    /// The earliest time of a record that may be asked for. A clock that was set back may have put an earlier time on
    /// the record than on its event; an hour of that is allowed for.
    fn earliest_ms(&self) -> u64 {
        const CLOCK_STEP_MS: UnixMs = 3_600_000;
        let since = self.since_ms.unwrap_or(0);
        u64::try_from(since.saturating_sub(CLOCK_STEP_MS)).unwrap_or(0)
    }
}

/// The last `limit` events that the filter accepts, oldest first.
///
/// # Errors
/// When the store cannot be read.
pub fn list(
    store: &Store,
    filter: &EventFilter,
    limit: usize,
) -> Result<Vec<EventView>, HistoryError> {
    let limit = limit.min(LIMIT_MAX);
    let mut found = Vec::new();
    let tags = filter.tags();
    let search = Search {
        tags: &tags,
        from_ms: filter.earliest_ms(),
        to_ms: u64::MAX,
    };
    backwards(store, &search, |sequence, record| {
        if found.len() >= limit {
            return ControlFlow::Break(());
        }
        if filter.accepts(&record.event) {
            found.push(EventView::stored(sequence, record, store));
        }
        ControlFlow::Continue(())
    })?;
    found.reverse();
    Ok(found)
}

/// The event with this CloudEvents `id`, the newest if there are several; or, for a number, the
/// event at this place in the log.
///
/// # Errors
/// [`HistoryError::NotFound`] when it is not held, or when the store cannot be read.
pub fn find(store: &Store, id: &str) -> Result<EventView, HistoryError> {
    if let Some(view) = id.parse().ok().and_then(|at| at_sequence(store, at)) {
        return Ok(view);
    }
    let mut found = None;
    backwards(store, &EVERYTHING, |sequence, record| {
        if *record.event.id != *id {
            return ControlFlow::Continue(());
        }
        found = Some(EventView::stored(sequence, record, store));
        ControlFlow::Break(())
    })?;
    found.ok_or_else(|| {
        let message = format!("no event `{id}` is held; delivered events are kept for `keep_for`");
        HistoryError::NotFound(message)
    })
}

fn at_sequence(store: &Store, sequence: Sequence) -> Option<EventView> {
    let limit = ReadLimit {
        records: 1,
        bytes: WINDOW_BYTES_MAX,
    };
    let batch = store.scan(sequence, sequence.checked_add(1)?, limit).ok()?;
    let stored = batch
        .records
        .first()
        .filter(|stored| stored.sequence == sequence)?;
    let record = record::decode(&stored.bytes).ok()?;
    Some(EventView::stored(sequence, &record, store))
}

/// Visits the records that may be looked for, from the newest to the oldest until told to stop. Records that cannot be
/// decoded are passed over; `store verify` tells about them.
fn backwards(
    store: &Store,
    search: &Search<'_>,
    mut visit: impl FnMut(Sequence, &Record) -> ControlFlow<()>,
) -> Result<(), HistoryError> {
    let (first, mut to) = (store.first(), store.end());
    while to > first {
        let from = to.saturating_sub(WINDOW).max(first);
        let mut window = Vec::new();
        let mut at = from;
        while at < to {
            let limit = ReadLimit {
                records: WINDOW as usize,
                bytes: WINDOW_BYTES_MAX,
            };
            let batch = store.search(search, at, to, limit)?;
            window.extend(batch.records);
            at = batch.next.max(at + 1);
        }
        for stored in window.iter().rev() {
            let Ok(record) = record::decode(&stored.bytes) else {
                continue;
            };
            if visit(stored.sequence, &record).is_break() {
                return Ok(());
            }
        }
        to = from;
    }
    Ok(())
}
