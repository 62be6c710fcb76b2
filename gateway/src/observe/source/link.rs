//! What comes over framed serial links, counted.

use prometheus_client::encoding::EncodeLabelSet;
use prometheus_client::metrics::counter::Counter;
use prometheus_client::metrics::family::Family;
use tidegate_link::Counters;

use crate::observe::Observe;

/// Labels of a link's counts.
#[derive(Debug, Clone, PartialEq, Eq, Hash, EncodeLabelSet)]
pub struct LinkLabel {
    source: String,
    what: &'static str,
}

/// The metrics of all links, registered once.
#[derive(Clone)]
pub struct LinkFamily(Family<LinkLabel, Counter>);

impl LinkFamily {
    /// Makes and registers it.
    pub fn register(observe: &Observe) -> LinkFamily {
        let family = Family::default();
        observe.register(|registry| {
            registry.register(
                "link",
                "What came over a framed serial link, by kind",
                Family::clone(&family),
            );
        });
        LinkFamily(family)
    }

    /// Frames of one source that could be read.
    pub(super) fn frames(&self, source: &str) -> u64 {
        let (source, what) = (source.to_owned(), "frames");
        let label = LinkLabel { source, what };
        self.0.get(&label).map_or(0, |frames| frames.get())
    }

    /// The counts of one source.
    pub fn of(&self, source: &str) -> LinkMetrics {
        let of = |what| {
            let source = source.into();
            self.0.get_or_create_owned(&LinkLabel { source, what })
        };
        LinkMetrics {
            frames: of("frames"),
            crc_errors: of("crc_errors"),
            oversize: of("oversized_frames"),
            unknown: of("unknown_frames"),
            resyncs: of("resyncs"),
            repeated: of("repeated_events"),
            out_of_order: of("out_of_order_events"),
            lost: of("lost_records"),
            damaged: false,
            counted: Counters::default(),
        }
    }
}

/// Counts of one source's link.
pub struct LinkMetrics {
    frames: Counter,
    crc_errors: Counter,
    oversize: Counter,
    unknown: Counter,
    /// Times that a good frame followed on damage.
    resyncs: Counter,
    repeated: Counter,
    out_of_order: Counter,
    lost: Counter,
    damaged: bool,
    /// What was counted of the present link.
    counted: Counters,
}

impl LinkMetrics {
    /// A new link counts from zero.
    pub fn link_opened(&mut self) {
        self.counted = Counters::default();
    }

    /// Adds what the link counted since the last call.
    pub fn add(&mut self, now: Counters) {
        let before = std::mem::replace(&mut self.counted, now);
        let grown = |of: fn(&Counters) -> u32| u64::from(of(&now).saturating_sub(of(&before)));
        let damage = grown(|c| c.crc_errors) + grown(|c| c.oversize);
        let good = grown(|c| c.frames);
        self.damaged |= damage > 0;
        if self.damaged && good > 0 {
            self.resyncs.inc();
            self.damaged = false;
        }
        self.frames.inc_by(good);
        self.crc_errors.inc_by(grown(|c| c.crc_errors));
        self.oversize.inc_by(grown(|c| c.oversize));
        self.unknown
            .inc_by(grown(|c| c.unknown) + grown(|c| c.foreign_version));
        self.repeated.inc_by(grown(|c| c.duplicates));
        self.out_of_order.inc_by(grown(|c| c.out_of_order));
        self.lost.inc_by(grown(|c| c.lost));
    }
}
