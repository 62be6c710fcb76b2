//! How long something took, counted without a lock: ten buckets a decade, of which the metrics show the round ones.

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use prometheus_client::encoding::{EncodeMetric, MetricEncoder, NoLabelSet};
use prometheus_client::metrics::{MetricType, TypedMetric};

/// Upper bounds in one decade, as parts of a hundred.
const STEPS: [u64; 10] = [100, 125, 160, 200, 250, 315, 400, 500, 630, 800];
/// From 100 µs to 11 days.
const BOUNDS: usize = 101;

/// Upper bounds in microseconds.
const BOUNDS_US: [u64; BOUNDS] = {
    let mut bounds = [0; BOUNDS];
    let (mut at, mut decade) = (0, 1);
    while at < BOUNDS {
        bounds[at] = STEPS[at % STEPS.len()] * decade;
        at += 1;
        if at.is_multiple_of(STEPS.len()) {
            decade *= 10;
        }
    }
    bounds
};

/// The first bucket for numbers of so many bits.
const FIRST: [u8; 65] = {
    let mut first = [0; 65];
    let mut bits = 1;
    while bits < first.len() {
        let least = 1 << (bits - 1);
        let mut bucket = 0;
        while bucket < BOUNDS && BOUNDS_US[bucket] < least {
            bucket += 1;
        }
        first[bits] = bucket as u8;
        bits += 1;
    }
    first
};

/// The bucket of a duration: at most five bounds lie in one power of two.
fn bucket_of(us: u64) -> usize {
    let bits = u64::BITS - us.leading_zeros();
    let mut bucket = usize::from(FIRST[bits as usize]);
    while bucket < BOUNDS && BOUNDS_US[bucket] < us {
        bucket += 1;
    }
    bucket
}

/// Whether the metrics show this bound: 1, 2.5 and 5 up to 10 s, then the decades.
fn is_shown(bound: usize) -> bool {
    match bound % STEPS.len() {
        0 => true,
        4 | 7 => bound < 50,
        _ => false,
    }
}

/// Counts by duration; the last one is of those beyond all bounds.
pub(super) type Counts = [u64; BOUNDS + 1];

/// A histogram of durations; all clones are one.
#[derive(Debug, Clone)]
pub(super) struct Durations(Arc<Cells>);

#[derive(Debug)]
struct Cells {
    counts: [AtomicU64; BOUNDS + 1],
    sum_us: AtomicU64,
}

impl Default for Durations {
    fn default() -> Self {
        Durations(Arc::new(Cells {
            counts: std::array::from_fn(|_| AtomicU64::new(0)),
            sum_us: AtomicU64::new(0),
        }))
    }
}

impl Durations {
    /// Counts one.
    pub(super) fn observe(&self, took: Duration) {
        let us = took.as_secs().saturating_mul(1_000_000);
        let us = us.saturating_add(took.subsec_micros().into());
        let bucket = bucket_of(us);
        self.0.counts[bucket].fetch_add(1, Ordering::Relaxed);
        self.0.sum_us.fetch_add(us, Ordering::Relaxed);
    }

    /// Adds what was counted so far to `counts`.
    pub(super) fn add_to(&self, counts: &mut Counts) {
        for (sum, count) in counts.iter_mut().zip(&self.0.counts) {
            *sum += count.load(Ordering::Relaxed);
        }
    }
}

/// The duration, in milliseconds, that this share of what was counted does not exceed.
pub(super) fn quantile_ms(counts: &Counts, share: f64) -> Option<f64> {
    let total: u64 = counts.iter().sum();
    let rank = ((total as f64 * share).ceil() as u64).max(1);
    let mut before = 0;
    for (bucket, count) in counts.iter().enumerate() {
        if before + count >= rank {
            let upper = BOUNDS_US[bucket.min(BOUNDS - 1)];
            let lower = bucket.checked_sub(1).map_or(0, |below| BOUNDS_US[below]);
            let part = (rank - before) as f64 / *count as f64;
            let us = lower as f64 + part * upper.saturating_sub(lower) as f64;
            return (total > 0).then_some(us.round() / 1000.0);
        }
        before += count;
    }
    None
}

impl TypedMetric for Durations {
    const TYPE: MetricType = MetricType::Histogram;
}

impl EncodeMetric for Durations {
    fn encode(&self, mut encoder: MetricEncoder<'_>) -> Result<(), std::fmt::Error> {
        let mut counts = [0; BOUNDS + 1];
        self.add_to(&mut counts);
        let mut shown = Vec::new();
        let mut pending = 0;
        for (bound, count) in counts.iter().enumerate() {
            pending += count;
            let upper = match BOUNDS_US.get(bound) {
                Some(us) if is_shown(bound) => *us as f64 / 1e6,
                Some(_) => continue,
                None => f64::INFINITY,
            };
            shown.push((upper, std::mem::take(&mut pending)));
        }
        let sum = self.0.sum_us.load(Ordering::Relaxed) as f64 / 1e6;
        let total = counts.iter().sum();
        encoder.encode_histogram::<NoLabelSet>(sum, total, &shown, None)
    }

    fn metric_type(&self) -> MetricType {
        Self::TYPE
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn counted(spans_us: &[u64]) -> Counts {
        let durations = Durations::default();
        let spans = spans_us.iter().copied().map(Duration::from_micros);
        spans.for_each(|span| durations.observe(span));
        let mut counts = [0; BOUNDS + 1];
        durations.add_to(&mut counts);
        counts
    }

    #[test]
    fn a_quantile_is_within_its_bucket_of_the_truth() {
        assert_eq!(quantile_ms(&counted(&[]), 0.5), None);
        let spans: Vec<u64> = (1..=10_000).collect();
        for (share, truth) in [
            (0.01, 0.1),
            (0.5, 5.0),
            (0.9, 9.0),
            (0.99, 9.9),
            (1.0, 10.0),
        ] {
            let found = quantile_ms(&counted(&spans), share).expect("some");
            assert!((found - truth).abs() <= truth * 0.13, "{share}: {found}");
        }
        for us in [0, 1, 99, 100, 101, 1_000_000, 86_400_000_000, u64::MAX] {
            let found = quantile_ms(&counted(&[us]), 0.5).expect("one");
            let truth = (us.clamp(100, BOUNDS_US[BOUNDS - 1]) as f64) / 1000.0;
            assert!(
                found >= truth * 0.99 && found <= truth * 1.26,
                "{us}: {found}"
            );
        }
    }

    #[test]
    fn a_bucket_is_found_whatever_is_counted() {
        let near = |bound: u64| [bound - 1, bound, bound + 1];
        let ends = [0, 1, u64::MAX - 1, u64::MAX];
        let powers = (0..64).map(|bits| 1 << bits);
        let all = BOUNDS_US
            .into_iter()
            .flat_map(near)
            .chain(ends)
            .chain(powers);
        for us in all {
            let expected = BOUNDS_US.partition_point(|bound| *bound < us);
            assert_eq!(bucket_of(us), expected, "{us}");
        }
    }

    #[test]
    fn the_bounds_ascend_and_those_that_are_shown_are_round() {
        assert!(BOUNDS_US.is_sorted_by(|a, b| a < b));
        let shown = (0..BOUNDS).filter(|bound| is_shown(*bound));
        let shown: Vec<f64> = shown.map(|bound| BOUNDS_US[bound] as f64 / 1e6).collect();
        assert_eq!(
            shown,
            [
                0.0001,
                0.00025,
                0.0005,
                0.001,
                0.0025,
                0.005,
                0.01,
                0.025,
                0.05,
                0.1,
                0.25,
                0.5,
                1.0,
                2.5,
                5.0,
                10.0,
                100.0,
                1000.0,
                10_000.0,
                100_000.0,
                1_000_000.0
            ]
        );
    }
}
