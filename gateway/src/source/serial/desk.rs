//! What the link hands on, made into arrivals; and all that outlives one opening of the port.

use std::sync::Arc;
use std::time::Instant;

use tidegate_link::message::Level;
use tidegate_link::{Body, EventId, Field};
use tidegate_rules::event::{Event, UnixMs};
use tidegate_store::Store;

use super::Joined;
use super::peer::{Greeting, Peer, name};
use super::reading::Envelope;
use super::schema::Schemas;
use super::time::DeviceClock;
use super::verdicts::{Handed, Verdicts};
use crate::config::Serial;
use crate::event::arrival::{Arrival, Identity};
use crate::event::device_mark::device_mark_key;
use crate::observe::Observe;
use crate::observe::source::SourceMetrics;
use crate::observe::source::device::{
    BootReused, DeviceJoined, DeviceLost, DeviceSaid, RecordsLost, SchemaRefused,
};
use crate::observe::source::link::LinkMetrics;
use crate::time::clock;

/// A device that says nothing for so long is lost: it is asked for its clock every 10 s.
const SILENT_MS_MAX: u64 = 30_000;

/// The desk that everything heard at one port goes over.
pub(super) struct Desk {
    /// What is under way in the intake.
    pub(super) verdicts: Verdicts,
    /// Schemas of the present device.
    pub(super) schemas: Schemas,
    /// Its clock.
    pub(super) clock: DeviceClock,
    /// What the link counts.
    pub(super) link_metrics: LinkMetrics,
    source: Arc<str>,
    event_source: Arc<str>,
    topic: String,
    store: Store,
    observe: Arc<Observe>,
    metrics: SourceMetrics,
    peer: Option<Peer>,
    reused: Option<([u8; 8], u32)>,
    started: Instant,
}

impl Desk {
    /// A desk that nobody has come to yet.
    pub(super) fn new(config: &Serial, source: &str, gateway_id: &str, joined: Joined) -> Desk {
        Desk {
            verdicts: Verdicts::default(),
            schemas: Schemas::default(),
            clock: DeviceClock::default(),
            link_metrics: joined.metrics.link(),
            source: source.into(),
            event_source: format!("{gateway_id}/{source}").into(),
            topic: config.topic.clone(),
            store: joined.store,
            observe: joined.observe,
            metrics: joined.metrics,
            peer: None,
            reused: None,
            started: clock::monotonic(),
        }
    }

    /// The link's clock.
    pub(super) fn now_ms(&self) -> u64 {
        self.started.elapsed().as_millis() as u64
    }

    /// A new link begins.
    pub(super) fn port_opened(&mut self) {
        self.link_metrics.link_opened();
        self.metrics.connections(1);
    }

    /// The link is gone, and with it the device.
    pub(super) fn port_lost(&mut self, why: &str) {
        self.metrics.connections(-1);
        self.verdicts.give_up();
        self.lose(why);
        self.peer = None;
    }

    /// What the store knows of the device that said hello.
    pub(super) fn look_up(&mut self, greeting: Greeting) -> Peer {
        let key = device_mark_key(&name(&greeting.device));
        let mark = self.store.mark(&key);
        let last = self.peer.as_ref().map(|peer| &peer.greeting);
        if last.is_none_or(|last| last.device != greeting.device) {
            self.schemas.forget();
        }
        if last.is_none_or(|last| (last.device, last.boot) != (greeting.device, greeting.boot)) {
            self.clock = DeviceClock::default();
        }
        Peer::new(greeting, mark.as_deref())
    }

    /// The device's events are welcome from now on.
    pub(super) fn join(&mut self, peer: Peer) {
        if self
            .peer
            .as_ref()
            .is_some_and(|last| last.name != peer.name)
        {
            self.lose("another device is at the port");
        }
        self.reused = None;
        self.greet(&peer);
        self.peer = Some(peer);
    }

    fn greet(&self, peer: &Peer) {
        self.observe.emit(&DeviceJoined {
            source: &self.source,
            device: &peer.name,
            boot: peer.greeting.boot,
            firmware: &peer.greeting.firmware,
            slot: peer.greeting.slot,
            held: peer.greeting.held,
            lost: peer.greeting.lost,
        });
    }

    fn lose(&mut self, why: &str) {
        if let Some(peer) = self.peer.as_mut().filter(|peer| peer.present) {
            peer.present = false;
            self.observe.emit(&DeviceLost {
                source: &self.source,
                device: &peer.name,
                why,
            });
        }
    }

    /// The last good frame came at `heard_ms`: a device that was lost is there again.
    pub(super) fn heard(&mut self, heard_ms: Option<u64>) {
        let back = heard_ms.is_some_and(|at| self.now_ms().saturating_sub(at) < SILENT_MS_MAX);
        if let Some(peer) = self.peer.as_mut().filter(|peer| back && !peer.present) {
            peer.present = true;
            let peer = peer.clone();
            self.greet(&peer);
        }
    }

    /// The same for a device that is not heard any more.
    pub(super) fn watch_silence(&mut self, heard_ms: Option<u64>) {
        let silent = heard_ms.is_some_and(|at| self.now_ms().saturating_sub(at) >= SILENT_MS_MAX);
        if silent {
            self.lose("it is silent");
        }
    }

    /// The device uses a boot again: said once.
    pub(super) fn boot_reused(&mut self, device: [u8; 8], boot: u32) {
        if self.reused.replace((device, boot)) == Some((device, boot)) {
            return;
        }
        self.metrics.malformed("boot id used again");
        self.observe.emit(&BootReused {
            source: &self.source,
            device: &name(&device),
            boot,
        });
    }

    /// The arrival of a record. Without a device that was welcomed there is none.
    pub(super) fn event(
        &mut self,
        id: EventId,
        uptime_ms: u64,
        body: &Body<'_>,
    ) -> Option<Arrival> {
        let uptime_ms = matches!(body, Body::Readings { .. }).then_some(uptime_ms);
        let time = uptime_ms.and_then(|uptime_ms| self.wall_clock(id.boot, uptime_ms));
        let peer = self.peer.as_mut()?;
        let (sequence, identity) = peer.next(id.sequence);
        let envelope = Envelope {
            source: &self.event_source,
            topic: &self.topic,
            device: &peer.name,
            boot: id.boot,
            sequence,
            uptime_ms,
            time,
        };
        let event = envelope.reading(body, &self.schemas);
        Some(self.arrival(id, sequence, identity, event))
    }

    /// The arrival of the news that records are missing.
    pub(super) fn gap(&mut self, last: EventId, count: u32) -> Option<Arrival> {
        let peer = self.peer.as_mut()?;
        let (sequence, identity) = peer.next(last.sequence);
        self.observe.emit(&RecordsLost {
            source: &self.source,
            device: &peer.name,
            count,
            last: sequence,
        });
        let envelope = Envelope {
            source: &self.event_source,
            topic: &self.topic,
            device: &peer.name,
            boot: last.boot,
            sequence,
            uptime_ms: None,
            time: None,
        };
        let event = envelope.gap(count);
        Some(self.arrival(last, sequence, identity, event))
    }

    fn arrival(&mut self, id: EventId, sequence: u64, identity: Identity, event: Event) -> Arrival {
        let handed = Handed {
            id,
            sequence,
            bytes: event.data.len(),
            at: clock::monotonic(),
        };
        Arrival {
            event,
            ack: self.verdicts.expect(handed),
            identity,
        }
    }

    fn wall_clock(&self, boot: u32, uptime_ms: u64) -> Option<UnixMs> {
        let age_ms = self.clock.age_ms(boot, uptime_ms, self.now_ms())?;
        let age_ms = i64::try_from(age_ms).ok()?;
        Some(clock::unix_ms().saturating_sub(age_ms)).filter(|time| *time >= 0)
    }

    /// An event is durable.
    pub(super) fn stored(&mut self, handed: &Handed) {
        self.metrics.accepted(handed.bytes);
        self.metrics.acknowledged_after(handed.at.elapsed());
        if let Some(peer) = self.peer.as_mut().filter(|peer| peer.is_of(handed.id)) {
            peer.stored(handed.sequence);
        }
    }

    /// An event and all behind it are not durable.
    pub(super) fn refused(&mut self, handed: &Handed) {
        self.metrics.refused();
        if let Some(peer) = self.peer.as_mut().filter(|peer| peer.is_of(handed.id)) {
            peer.refused();
        }
    }

    /// A field of a schema.
    pub(super) fn schema_field(&mut self, key: u32, index: u8, count: u8, field: &Field<'_>) {
        if let Err(why) = self.schemas.take(key, index, count, field) {
            self.metrics.malformed("schema");
            self.observe.emit(&SchemaRefused {
                source: &self.source,
                key,
                why,
            });
        }
    }

    /// A line of the device's log.
    pub(super) fn log(&self, level: Level, text: &str) {
        self.observe.emit(&DeviceSaid {
            source: &self.source,
            device: self.peer.as_ref().map_or("", |peer| &peer.name),
            level,
            text,
        });
    }
}
