//! Fills the dedup from the log at a start: the marks of all devices, the ids of the last events. Of large ones only the
//! beginning is read; what they say is read when somebody sends their id again.

use tidegate_store::{ReadLimit, Sequence, Store, StoredRecord};

use super::opening::Telling;
use crate::event::device_mark::DEVICE_MARK_PREFIX;
use crate::event::record;
use crate::intake::dedup::Dedup;

/// Records read at once.
const AT_ONCE: ReadLimit = ReadLimit {
    records: 1024,
    bytes: 1024 * 1024,
};

/// A dedup that knows the last `window` events of the log.
pub(in crate::run) fn recall(
    store: &Store,
    gateway_id: &str,
    window: usize,
    telling: &mut Telling,
) -> Dedup {
    let log = store.clone();
    let mut dedup = Dedup::new(window, gateway_id)
        .with_log(move |sequence| Some(record::decode(&whole(&log, sequence)?.bytes).ok()?.event));
    for (key, mark) in store.marks_with_prefix(DEVICE_MARK_PREFIX.as_bytes()) {
        let device = key.get(DEVICE_MARK_PREFIX.len()..).unwrap_or_default();
        dedup.recall_device(&String::from_utf8_lossy(device), &mark);
    }
    let end = store.end();
    let first = end.saturating_sub(window as u64).max(store.first());
    let mut from = first;
    while from < end {
        telling.tell(
            "reading the last events",
            from - first,
            end - first,
            "events",
        );
        let Ok(batch) = store.scan_beginnings(from, end, AT_ONCE) else {
            break;
        };
        for stored in &batch.records {
            remember(store, &mut dedup, stored);
        }
        if batch.next <= from {
            break;
        }
        from = batch.next;
    }
    dedup
}

fn remember(store: &Store, dedup: &mut Dedup, stored: &StoredRecord) {
    if let Ok(record) = record::decode(&stored.bytes) {
        dedup.recall(&record.event);
    } else if let Ok(event) = record::attributes(&stored.bytes) {
        dedup.recall_unread(&event, stored.sequence);
    } else if let Some(record) =
        whole(store, stored.sequence).and_then(|stored| record::decode(&stored.bytes).ok())
    {
        dedup.recall(&record.event);
    }
}

/// The whole record, if it is still there and can be read.
fn whole(store: &Store, sequence: Sequence) -> Option<StoredRecord> {
    let batch = store.scan(sequence, sequence.checked_add(1)?, AT_ONCE).ok();
    batch?.records.pop()
}
