//! What happens to the event store, and its metrics, read from it whenever somebody asks.

pub mod dead_letters;
pub mod gap;

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use tidegate_rules::event::UnixMs;
use tidegate_store::{Backlog, Damage, Stats, Store};

use super::{Happening, Observe, SystemEvent};
use crate::time::clock;

/// Registers the metrics of `store`.
pub fn register(observe: &Observe, store: Store) {
    observe.register(|registry| registry.register_collector(Box::new(StoreCollector(store))));
}

/// A generation, or a database of dead letters, could not be used and was moved aside.
pub struct Quarantined<'a>(pub &'a tidegate_store::Quarantined);

impl Happening for Quarantined<'_> {
    fn log(&self) {
        let it = self.0;
        tracing::error!(
            folder = %format_args!("quarantine/{}", it.name),
            first = it.first,
            last = it.last,
            bytes = it.disk_bytes,
            "part of the store is damaged and was put into quarantine; the rest is served; \
             look at the disk's health: {}",
            it.why
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        let it = self.0;
        Some(SystemEvent {
            kind: "dev.tidegate.store.quarantine",
            subject: it.name.clone(),
            data: serde_json::json!({
                "first": it.first, "last": it.last, "bytes": it.disk_bytes, "why": it.why,
            }),
        })
    }
}

/// Acknowledged events could not be read; they are passed over.
pub struct RecordsMissing<'a>(pub &'a Damage);

impl Happening for RecordsMissing<'_> {
    fn log(&self) {
        let it = self.0;
        tracing::error!(
            generation = it.generation,
            first = it.first,
            last = it.last,
            "stored events cannot be read and are passed over; look at the disk's health"
        );
    }

    fn system_event(&self) -> Option<SystemEvent> {
        let it = self.0;
        Some(SystemEvent {
            kind: "dev.tidegate.store.damage",
            subject: it.generation.to_string(),
            data: serde_json::json!({ "first": it.first, "last": it.last }),
        })
    }
}

struct StoreCollector(Store);

impl fmt::Debug for StoreCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("StoreCollector")
    }
}

impl Collector for StoreCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let stats = self.0.stats();
        encode_gauges(&mut encoder, &stats, unreadable(&self.0, &stats))?;
        encode_counters(&mut encoder, &stats)?;
        let lanes: Vec<(String, Backlog)> = self
            .0
            .lanes()
            .into_iter()
            .map(|lane| (lane.name, self.0.backlog(lane.id)))
            .collect();
        encode_lanes(&mut encoder, &lanes, clock::unix_ms())
    }
}

/// Events that the opening or a reader found missing.
fn unreadable(store: &Store, stats: &Stats) -> u64 {
    let found = &store.open_report().damage;
    let since = stats.damage.iter().filter(|damage| !found.contains(damage));
    let events = |damage: &Damage| damage.last.saturating_sub(damage.first) + 1;
    found.iter().chain(since).map(events).sum()
}

fn encode_gauges(
    encoder: &mut DescriptorEncoder,
    stats: &Stats,
    unreadable: u64,
) -> Result<(), fmt::Error> {
    let quarantined = stats.quarantined.len() as u64;
    let quarantined_bytes = stats.quarantined.iter().map(|it| it.disk_bytes).sum();
    let generations = stats.generations.len() as u64;
    let gauges = [
        (
            "store_disk_bytes",
            "Bytes on disk that count against the cap",
            stats.disk_bytes,
        ),
        ("store_max_bytes", "The cap", stats.max_size_bytes),
        (
            "store_free_bytes",
            "Bytes free on the file system",
            stats.free_bytes,
        ),
        (
            "store_held_events",
            "Events held, delivered ones among them",
            stats.events,
        ),
        (
            "store_dead_letters",
            "Dead letters held",
            stats.dead_letters,
        ),
        ("store_generations", "Generations on disk", generations),
        (
            "store_quarantined_generations",
            "Generations and databases of dead letters in quarantine",
            quarantined,
        ),
        (
            "store_quarantined_bytes",
            "Bytes on disk of what is in quarantine",
            quarantined_bytes,
        ),
        (
            "store_unreadable_events",
            "Events that were stored and cannot be read",
            unreadable,
        ),
    ];
    for (name, help, value) in gauges {
        let gauge = ConstGauge::new(signed(value));
        gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
    }
    Ok(())
}

fn encode_counters(encoder: &mut DescriptorEncoder, stats: &Stats) -> Result<(), fmt::Error> {
    let counters = [
        (
            "store_commits",
            "Commits made durable",
            Some(stats.counters.commits),
        ),
        (
            "store_records",
            "Records in them",
            Some(stats.counters.records),
        ),
        (
            "store_record_bytes",
            "Bytes of those records",
            Some(stats.counters.record_bytes),
        ),
        (
            "store_commit_failures",
            "Commits that failed on the disk",
            Some(stats.counters.failures),
        ),
        ("store_barriers", "Write barriers", Some(stats.barriers)),
        (
            "store_device_written_bytes",
            "Bytes this process wrote to devices",
            stats.device_bytes,
        ),
    ];
    for (name, help, value) in counters {
        let Some(value) = value else { continue };
        let counter = ConstCounter::new(value);
        counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
    }
    Ok(())
}

/// One family per figure, with the upstream as its label.
fn encode_lanes(
    encoder: &mut DescriptorEncoder,
    lanes: &[(String, Backlog)],
    now: UnixMs,
) -> Result<(), fmt::Error> {
    type Figure = fn(&Backlog, UnixMs) -> u64;
    let figures: [(&str, &str, Figure); 3] = [
        (
            "backlog_events",
            "Events waiting for an upstream",
            |backlog, _| backlog.events,
        ),
        ("backlog_bytes", "Their bytes, estimated", |backlog, _| {
            backlog.bytes
        }),
        (
            "backlog_age_seconds",
            "Age of the oldest of them",
            |backlog, now| {
                let oldest = backlog
                    .oldest_time_ms
                    .map_or(now, |oldest| oldest as UnixMs);
                now.saturating_sub(oldest).max(0) as u64 / 1000
            },
        ),
    ];
    for (name, help, figure) in figures {
        let mut family = encoder.encode_descriptor(name, help, None, MetricType::Gauge)?;
        for (lane, backlog) in lanes {
            let labels = [("upstream", lane.as_str())];
            ConstGauge::new(signed(figure(backlog, now))).encode(family.encode_family(&labels)?)?;
        }
    }
    Ok(())
}

fn signed(value: u64) -> i64 {
    i64::try_from(value).unwrap_or(i64::MAX)
}
