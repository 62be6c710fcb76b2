//! Giving up events under a policy: at the cap the least urgent first (`when_full = "shed"`), and what nobody took for
//! `expire_after`. Each step of the store is one commit with a gap record: a system event that says what was lost. Dead
//! letters beyond their bounds have gap records too, about one a second while it lasts.
//!
//! It goes to every upstream that loses something, whatever the rules say, and where a rule asks for its topic.

use std::sync::Arc;

use tidegate_rules::decision::{Destinations, Output, Priority};
use tidegate_rules::event::{Event, UnixMs};
use tidegate_store::{Append, Commit, Gap, GapWriter, LaneId, Route, Shed, Writer};

use super::evaluator::Evaluator;
use super::mint::{Mint, StartMark};
use crate::event::dead_letter::letters::Account;
use crate::event::record::{self, Routed};
use crate::event::system_topic::GAP_KIND;

/// Where a gap record is published.
pub const GAP_TOPIC: &str = "$tidegate/store/gap";

/// Makes gap records; belongs to the commit thread.
pub struct Gaps {
    /// The rules in force, as the intake has them.
    pub rules: Evaluator,
    /// `[gateway] id`
    pub gateway_id: Arc<str>,
    mint: Mint,
}

/// What one call gave up, and where its gap records went.
pub struct GivenUp {
    /// What the store says.
    pub shed: Shed,
    /// Lanes of the gap records, one for each record.
    pub routed: Vec<LaneId>,
}

impl Gaps {
    /// None made so far.
    pub fn new(rules: Evaluator, gateway_id: Arc<str>, start: StartMark) -> Gaps {
        Gaps {
            rules,
            gateway_id,
            mint: Mint::new(start, "gap-"),
        }
    }

    /// Makes room for a commit of `bytes`, where the store is told to shed.
    pub fn shed(&mut self, writer: &mut Writer, bytes: u64, now: UnixMs) -> GivenUp {
        self.told(now, |gap_writer| writer.shed(bytes, gap_writer))
    }

    /// Gives up what has waited for too long.
    pub fn expire(&mut self, writer: &mut Writer, now: UnixMs) -> GivenUp {
        self.told(now, |gap_writer| writer.expire(gap_writer))
    }

    fn told(&mut self, now: UnixMs, work: impl FnOnce(GapWriter<'_>) -> Shed) -> GivenUp {
        let mut routed = Vec::new();
        let mut label = |bytes: &[u8]| record::source(bytes).to_owned();
        let mut make = |gap: &Gap, commit: &mut Commit| routed.push(self.make(gap, now, commit));
        let shed = work(GapWriter {
            label: &mut label,
            record: &mut make,
        });
        // A step that failed had its record made too.
        routed.truncate(shed.gaps.len());
        let routed = routed.into_iter().flatten().collect();
        GivenUp { shed, routed }
    }

    /// Adds the gap record to the commit; gives the lanes it goes to.
    pub(super) fn make(&mut self, gap: &Gap, now: UnixMs, commit: &mut Commit) -> Vec<LaneId> {
        let event = self.event(&describe(gap), now);
        let outputs = self.outputs(&event, gap, now);
        push(&event, &outputs, now, commit)
    }

    /// The same for dead letters that were dropped. It goes where a rule asks for its topic: an upstream that refuses
    /// events would refuse it too.
    pub(super) fn make_of_letters(
        &mut self,
        owner: &str,
        account: &Account,
        now: UnixMs,
        commit: &mut Commit,
    ) -> Vec<LaneId> {
        let event = self.event(&describe_letters(owner, account), now);
        let mut outputs = Vec::new();
        self.rules.decide(&event, now, &mut outputs);
        self.rules.timers_may_differ();
        push(&event, &outputs, now, commit)
    }

    fn event(&mut self, data: &serde_json::Value, now: UnixMs) -> Event {
        Event {
            id: self.mint.next_id(),
            source: format!("{}/gateway", self.gateway_id).into(),
            kind: GAP_KIND.into(),
            subject: Some("store".into()),
            topic: GAP_TOPIC.into(),
            publisher: Arc::clone(&self.gateway_id),
            time: Some(now.into()),
            received: now,
            content_type: Some("application/json".into()),
            schema: None,
            extensions: Vec::new(),
            data: data.to_string().into(),
            ..Event::default()
        }
    }

    fn outputs(&self, event: &Event, gap: &Gap, now: UnixMs) -> Vec<Routed> {
        let mut outputs: Vec<Routed> = Vec::new();
        self.rules.decide(event, now, &mut outputs);
        self.rules.timers_may_differ();
        // An upstream that is no upstream is told nothing.
        for of in gap
            .lanes
            .iter()
            .filter(|of| of.name != Destinations::DEAD_LETTER)
        {
            if !outputs.iter().any(|routed| routed.lane == of.lane) {
                outputs.push(to_loser(of.lane));
            }
        }
        outputs
    }
}

/// Adds a gap record to the commit; gives the lanes it goes to.
fn push(event: &Event, outputs: &[Routed], now: UnixMs, commit: &mut Commit) -> Vec<LaneId> {
    let mut routes: Vec<Route> = Vec::new();
    for routed in outputs {
        let class = routed.output.priority as u8;
        let route = Route {
            lane: routed.lane,
            class,
        };
        if !routes.contains(&route) {
            routes.push(route);
        }
    }
    let mut bytes = Vec::new();
    record::encode(event, outputs, &mut bytes);
    commit.push(Append {
        routes: &routes,
        time_ms: now.max(0) as u64,
        bytes: &bytes,
    });
    routes.iter().map(|route| route.lane).collect()
}

fn to_loser(lane: LaneId) -> Routed {
    Routed {
        lane,
        output: Output {
            priority: Priority::Critical,
            ..Output::default()
        },
    }
}

/// A priority as rules write it.
fn word(class: u8) -> &'static str {
    match Priority::from_byte(class) {
        Some(Priority::Critical) => "critical",
        Some(Priority::High) => "high",
        Some(Priority::Normal) => "normal",
        Some(Priority::Low) => "low",
        None => "unknown",
    }
}

/// The payload of a gap record.
fn describe(gap: &Gap) -> serde_json::Value {
    let upstreams: Vec<_> = gap
        .lanes
        .iter()
        .map(|of| {
            serde_json::json!({
                "upstream": of.name,
                "priority": word(of.class),
                "events": of.events,
            })
        })
        .collect();
    let sources: serde_json::Map<_, _> = gap
        .labels
        .iter()
        .map(|(source, count)| (source.clone(), (*count).into()))
        .collect();
    serde_json::json!({
        "reason": gap.reason.word(),
        "events": gap.records,
        "bytes": gap.bytes,
        "first_sequence": gap.first,
        "last_sequence": gap.last,
        "first_received_ms": gap.time_min_ms,
        "last_received_ms": gap.time_max_ms,
        "upstreams": upstreams,
        "sources": sources,
        "other_sources": gap.other_labels,
    })
}

fn describe_letters(owner: &str, account: &Account) -> serde_json::Value {
    serde_json::json!({
        "reason": "dead_letters",
        "of": owner,
        "events": account.letters,
        "bytes": account.bytes,
        "first_dropped_ms": account.first_ms,
        "last_dropped_ms": account.last_ms,
        "sources": account.sources,
        "other_sources": account.other_sources,
    })
}
