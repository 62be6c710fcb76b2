//! What a search looks for.

/// What [`crate::Store::search`] looks for.
#[derive(Clone, Copy, Debug)]
pub struct Search<'a> {
    /// Tags that a record must have all of. Some records come that have not: the caller looks at each itself.
    pub tags: &'a [u64],
    /// Not before this time, milliseconds.
    pub from_ms: u64,
    /// Not after it.
    pub to_ms: u64,
}

impl Search<'_> {
    /// False if nothing between these times is looked for.
    pub(crate) fn times(&self, time_min_ms: u64, time_max_ms: u64) -> bool {
        time_min_ms <= self.to_ms && time_max_ms >= self.from_ms
    }
}
