//! Metrics of what the disk is written for, read from the kernel whenever somebody asks.

mod meter;

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;

pub use meter::{Meter, written_by};

use super::Observe;
use crate::time::clock;

const SECONDS_PER_DAY: f64 = 86_400.0;

/// Registers the metrics of `meter`.
pub fn register(observe: &Observe, meter: Arc<Meter>) {
    observe.register(|registry| registry.register_collector(Box::new(WearCollector(meter))));
}

#[derive(Debug)]
struct WearCollector(Arc<Meter>);

impl Collector for WearCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), fmt::Error> {
        let wear = self.0.read(clock::monotonic());
        if let Some(bytes) = wear.disk_written_bytes {
            let help = "Bytes written by everybody to the disk that holds the data folder";
            let counter = ConstCounter::new(bytes);
            let name = "disk_written_bytes";
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        let gauges = [
            (
                "store_write_amplification",
                "Bytes this process wrote to devices for each accepted byte",
                wear.amplification,
            ),
            (
                "store_endurance_bytes",
                "What may be written to the disk in all",
                wear.endurance_bytes.map(|bytes| bytes as f64),
            ),
            (
                "disk_lifetime_seconds",
                "How long a new disk of that endurance lasts at the rate since the start",
                wear.lifetime_days.map(|days| days * SECONDS_PER_DAY),
            ),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(value);
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        Ok(())
    }
}
