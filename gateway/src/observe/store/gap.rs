//! Events given up under a policy. The system event is the gap record itself: it is stored with the loss, not raised
//! afterwards.

use tidegate_store::Gap;

use crate::observe::Happening;
use crate::observe::log::repeats::always;

/// The store gave up events that were not delivered.
pub struct EventsGivenUp<'a> {
    /// What and why.
    pub gap: &'a Gap,
}

impl Happening for EventsGivenUp<'_> {
    fn log(&self) {
        let gap = self.gap;
        let lanes: Vec<String> = gap
            .lanes
            .iter()
            .map(|of| format!("{} of class {} for {}", of.events, of.class, of.name))
            .collect();
        // Each is a loss of its own, however alike their words.
        always(|| {
            tracing::warn!(
                reason = gap.reason.word(),
                events = gap.records,
                first = gap.first,
                last = gap.last,
                "events were given up undelivered: {}",
                lanes.join(", ")
            );
        });
    }
}
