//! What every `[upstreams.NAME]` says of its lane: order, windows, retry.

use std::time::Duration;

use super::key::{
    Choice, Count, MemorySize, OneOf, Size, count, duration, keys, memory_size, one_of, size,
};
use super::section::Section;

keys! {
    /// Keys of every `[upstreams.NAME]`.
    pub(super) LANE: LaneKeys {
        backfill: OneOf<Backfill> = one_of().default("in_order", "whether live events wait for the backlog; `live_first` gives up order"),
        live_weight: Count<u32> = count(1, 1_000).default("4", "live events for each backlog event under `live_first`"),
        inflight: Count<usize> = count(1, 65_535).default("256", "deliveries under way at once; as many may arrive twice after a cut"),
        inflight_size: MemorySize = memory_size("1KiB", "1GiB").default("4MiB", "bytes under way at once"),
        max_rate: Option<Count<u64>> = count(1, 1_000_000).optional("no limit", "events per second"),
        max_bandwidth: Option<Size> = size("1B", "16GiB").optional("no limit", "bytes per second"),
        retry_min: Duration = duration("1ms", "1h").default("250ms", "shortest pause before a new attempt"),
        retry_max: Duration = duration("1ms", "24h").default("30s", "longest pause before a new attempt"),
        refusals_max: Count<u32> = count(1, 1_000).default("5", "definite refusals of one event, or connections that it alone broke, before it becomes a dead letter"),
        ack_timeout: Duration = duration("100ms", "1h").default("30s", "a delivery unsettled for longer means that the connection is dead"),
    }
}

/// Whether live events wait for the backlog.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Backfill {
    /// `"in_order"`: first in, first out within a priority.
    InOrder,
    /// `"live_first"`: live events share the link with the backlog by weight.
    LiveFirst,
}

impl Choice for Backfill {
    const CHOICES: &'static [(&'static str, Backfill)] = &[
        ("in_order", Backfill::InOrder),
        ("live_first", Backfill::LiveFirst),
    ];
}

/// How an upstream's lane is driven.
#[derive(Debug, Clone, PartialEq)]
pub struct LaneSettings {
    /// `backfill` ("in_order")
    pub backfill: Backfill,
    /// `live_weight` (4): live events for each backlog event under `live_first`.
    pub live_weight: u32,
    /// `inflight` (256): deliveries under way at once. The README promises duplicates ≤ this after a cut.
    pub inflight_max: usize,
    /// `inflight_size` (4MiB)
    pub inflight_bytes_max: usize,
    /// `max_rate` (none): events per second
    pub rate_max: Option<u64>,
    /// `max_bandwidth` (none): bytes per second
    pub bandwidth_bytes_max: Option<u64>,
    /// `retry_min` (250ms)
    pub retry_min: Duration,
    /// `retry_max` (30s)
    pub retry_max: Duration,
    /// `refusals_max` (5): definite refusals of one event, or connections that it alone broke, before it is dead-lettered
    pub refusals_max: u32,
    /// `ack_timeout` (30s): an unsettled delivery older than this means the connection is dead
    pub ack_timeout: Duration,
}

impl LaneSettings {
    pub(super) fn read(section: &Section<'_>) -> LaneSettings {
        let backfill = section.read(&LANE.backfill);
        if backfill == Backfill::InOrder && section.has(&LANE.live_weight) {
            let message = "`live_weight` has no effect with backfill = \"in_order\"";
            section
                .context
                .report(section.warning(&LANE.live_weight, message));
        }
        let lane = LaneSettings {
            backfill,
            live_weight: section.read(&LANE.live_weight),
            inflight_max: section.read(&LANE.inflight),
            inflight_bytes_max: section.read(&LANE.inflight_size),
            rate_max: section.read(&LANE.max_rate),
            bandwidth_bytes_max: section.read(&LANE.max_bandwidth),
            retry_min: section.read(&LANE.retry_min),
            retry_max: section.read(&LANE.retry_max),
            refusals_max: section.read(&LANE.refusals_max),
            ack_timeout: section.read(&LANE.ack_timeout),
        };
        if lane.retry_min > lane.retry_max {
            let key = match section.has(&LANE.retry_min) {
                true => LANE.retry_min.any(),
                false => LANE.retry_max.any(),
            };
            section.report(key, "`retry_min` is longer than `retry_max`");
        }
        lane
    }
}
