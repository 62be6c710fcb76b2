//! What the link hands on, made into arrivals; and all that outlives one opening of the port.

use std::sync::Arc;
use std::time::Instant;

use tidegate_link::message::{LOG_SIZE_MAX, Level};
use tidegate_link::{Body, EventId, FRAME_SIZE_MAX, Field, HostLink};
use tidegate_rules::event::{Event, UnixMs};
use tidegate_store::Store;

use super::SerialContext;
use super::config::Serial;
use super::device::{ConnectedDevice, DeviceHello, Proof, Recognition, device_name, digest};
use super::device_clock::DeviceClock;
use super::device_event::DeviceEnvelope;
use super::receipts::{DeviceReceipts, OfferedEvent};
use super::schema::Schemas;
use super::turned_away::TurnedAway;
use crate::event::arrival::{Arrival, Identity};
use crate::event::device_mark::{Boots, device_mark_key};
use crate::observe::source::SourceMetrics;
use crate::observe::source::device::{
    DeviceJoined, DeviceLost, DeviceSaid, RecordsLost, SchemaRefused,
};
use crate::observe::source::link::LinkMetrics;
use crate::source::device_claims::{ClaimError, DeviceClaims};
use crate::source::port_budget::{PortBudget, ReadWork};
use crate::time::clock::Now;

/// A device that says nothing for so long is lost: it is asked for its clock every 10 s.
const SILENT_MS_MAX: u64 = 30_000;

/// The gateway's side of one port: it takes what every session hears. No clock of its own.
pub(super) struct SerialHost {
    /// What is under way in the intake.
    pub(super) receipts: DeviceReceipts,
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
    budget: Arc<PortBudget>,
    devices: Arc<DeviceClaims>,
    metrics: SourceMetrics,
    device: Option<ConnectedDevice>,
    /// Whether it was told that the device joined.
    joined_told: bool,
    turned_away: TurnedAway,
    /// The last device that nothing is stored of.
    newcomer: [u8; 8],
    /// When the link last heard something, as was noted.
    heard_ms: Option<u64>,
    started: Instant,
}

/// What becomes of a device that says hello.
pub(super) enum Greeting {
    /// Its events are welcome.
    Welcome(ConnectedDevice),
    /// Its clock is to be asked for first: the answer names its present boot.
    AskClock(ConnectedDevice),
    /// Nothing is taken of it.
    TurnAway,
}

impl SerialHost {
    /// A host that no device has come to yet; `now` is when its clock starts.
    pub(super) fn new(
        config: &Serial,
        source: &str,
        gateway_id: &str,
        context: SerialContext,
        now: Instant,
    ) -> SerialHost {
        SerialHost {
            receipts: DeviceReceipts::default(),
            schemas: Schemas::default(),
            clock: DeviceClock::default(),
            link_metrics: context.metrics.link(),
            source: source.into(),
            event_source: format!("{gateway_id}/{source}").into(),
            topic: config.topic.clone(),
            store: context.store,
            budget: context.budget,
            devices: context.devices,
            turned_away: TurnedAway::default(),
            metrics: context.metrics,
            device: None,
            joined_told: false,
            newcomer: [0; 8],
            heard_ms: None,
            started: now,
        }
    }

    /// The link's clock.
    pub(super) fn now_ms(&self, now: Instant) -> u64 {
        now.saturating_duration_since(self.started).as_millis() as u64
    }

    /// A new link begins.
    pub(super) fn port_opened(&mut self) {
        self.link_metrics.link_opened();
        self.metrics.connections(1);
    }

    /// The link is gone, and with it the device.
    pub(super) fn port_lost(&mut self, why: &str, now: Instant) {
        self.metrics.connections(-1);
        self.receipts.forget();
        self.heard_ms = None;
        self.leave(why, now);
        self.turned_away.gone(&self.budget);
        self.turned_away.hears(true, None, &self.budget, now);
    }

    /// The device is not at this port any more.
    pub(super) fn leave(&mut self, why: &str, now: Instant) {
        self.device_lost(why, now);
        self.device = None;
        self.devices.release(&self.source);
    }

    /// What is to become of a device that says hello.
    pub(super) fn greet(&mut self, hello: DeviceHello, now: Instant) -> Greeting {
        if !self.budget.takes_hello(now) {
            return Greeting::TurnAway;
        }
        let device = self.identify(hello);
        let id = device.hello.device;
        if device.newcomer && std::mem::replace(&mut self.newcomer, id) != id {
            self.newcomer = id;
            if !self.budget.takes_newcomer(now) {
                self.newcomer = [0; 8];
                return Greeting::TurnAway;
            }
        }
        match device.recognition {
            Recognition::New | Recognition::Known => Greeting::Welcome(device),
            Recognition::FromFlash => Greeting::AskClock(device),
            Recognition::Stranger | Recognition::Returned => {
                self.turn_away_other(&device, now);
                Greeting::TurnAway
            }
        }
    }

    /// Whether the device may join here, as far as other sources go.
    pub(super) fn claim(&mut self, device: &ConnectedDevice, now: Instant) -> bool {
        let holder = match self.devices.claim(&device.name, &self.source, now) {
            Ok(()) => return true,
            Err(ClaimError::Asked(_)) => None,
            Err(ClaimError::Held(holder)) => Some(holder),
        };
        self.leave("another device is at the port", now);
        if let Some(holder) = holder {
            let budget = &self.budget;
            let told = self.turned_away.second(&device.hello, &holder, budget, now);
            self.count_turned_away(told);
        }
        false
    }

    /// A device claims a name and a boot under which the events of another one are stored, or its own before it
    /// counted anew; or another one with its name was here after it.
    pub(super) fn turn_away_other(&mut self, device: &ConnectedDevice, now: Instant) {
        let hello = &device.hello;
        self.leave("another device is at the port", now);
        let elsewhere = self
            .devices
            .elsewhere(&device_name(&hello.device), &self.source);
        let (turned_away, budget) = (&mut self.turned_away, &self.budget);
        let told = match elsewhere {
            Some(holder) => turned_away.second(hello, &holder, budget, now),
            None if device.recognition == Recognition::Returned => {
                turned_away.returned(hello, budget, now)
            }
            None => turned_away.stranger(hello, &self.source, budget, now),
        };
        self.count_turned_away(told);
    }

    fn count_turned_away(&self, told: bool) {
        if told {
            self.metrics.malformed("device turned away");
        }
    }

    /// What the store knows of the device that said hello.
    fn identify(&mut self, hello: DeviceHello) -> ConnectedDevice {
        let key = device_mark_key(&device_name(&hello.device));
        let mark = self.store.mark(&key);
        let last = self.device.as_ref().map(|device| &device.hello);
        if last.is_none_or(|last| last.device != hello.device) {
            self.schemas.forget();
        }
        if last.is_none_or(|last| (last.device, last.boot) != (hello.device, hello.boot)) {
            self.clock = DeviceClock::default();
        }
        ConnectedDevice::new(hello, mark.as_deref())
    }

    /// The device's events are welcome from now on.
    pub(super) fn device_joined(&mut self, device: ConnectedDevice, now: Instant) {
        let last = self.device.as_ref().filter(|last| last.present);
        if last.is_some_and(|last| last.name != device.name) {
            self.device_lost("another device is at the port", now);
        }
        let last = self.device.as_ref().filter(|last| last.present);
        let goes_on = last
            .is_some_and(|last| last.name == device.name && last.hello.boot == device.hello.boot);
        self.joined_told &= goes_on;
        self.device = Some(device);
        self.turned_away.gone(&self.budget);
        self.report_joined(now);
    }

    fn report_joined(&mut self, now: Instant) {
        let Some(device) = self.device.as_ref().filter(|device| device.present) else {
            return;
        };
        if self.joined_told {
            return;
        }
        let joined = DeviceJoined {
            source: &self.source,
            device: &device.name,
            boot: device.hello.boot,
            firmware: &device.hello.firmware,
            slot: device.hello.slot,
            held: device.hello.held,
            lost: device.hello.lost,
        };
        let text = escaped(&device.hello.firmware);
        self.joined_told = self.budget.emit(&joined, text, now);
    }

    fn device_lost(&mut self, why: &str, now: Instant) {
        if let Some(device) = self.device.as_mut().filter(|device| device.present) {
            device.present = false;
            let lost = DeviceLost {
                source: &self.source,
                device: &device.name,
                why,
            };
            self.budget.emit(&lost, why.len(), now);
            self.joined_told = false;
        }
    }

    /// Whether another source took the device over.
    pub(super) fn has_lost_its_device(&self) -> bool {
        self.device.is_some() && !self.devices.holds(&self.source)
    }

    /// Whether another source wants to know if the device is still here.
    pub(super) fn is_asked(&self) -> bool {
        self.device.is_some() && self.devices.is_asked(&self.source)
    }

    /// The last good frame came at `heard_ms`: a device that was lost is there again.
    pub(super) fn heard(&mut self, heard_ms: Option<u64>, now: Instant) {
        if heard_ms.is_some() && heard_ms != self.heard_ms && self.device.is_some() {
            self.devices.heard(&self.source, now);
        }
        self.heard_ms = heard_ms;
        let now_ms = self.now_ms(now);
        let back = heard_ms.is_some_and(|at| now_ms.saturating_sub(at) < SILENT_MS_MAX);
        if let Some(device) = self
            .device
            .as_mut()
            .filter(|device| back && !device.present)
        {
            device.present = true;
            self.report_joined(now);
        }
    }

    /// The same for a device that is not heard any more, and for one that was turned away.
    pub(super) fn check_silence(&mut self, link: &HostLink, now: Instant) {
        let now_ms = self.now_ms(now);
        let lasts = |at: u64| now_ms.saturating_sub(at) >= SILENT_MS_MAX;
        let silent = link.heard_ms().is_some_and(lasts);
        if silent {
            self.device_lost("it is silent", now);
        }
        self.report_joined(now);
        self.turned_away.look(&self.budget, now);
        let hears = silent || !link.unheard_ms(now_ms).is_some_and(lasts);
        let name = self.device.as_ref().map(|device| &*device.name);
        self.turned_away.hears(hears, name, &self.budget, now);
        self.budget.look(now);
    }

    /// What a record shows of its node.
    pub(super) fn prove(&mut self, id: EventId, uptime_ms: u64, body: &Body<'_>) -> Proof {
        let device = self.device.as_mut();
        device.map_or(Proof::NotNeeded, |device| {
            device.prove(id.sequence, uptime_ms, body)
        })
    }

    /// Whether the node is not yet shown to be the one whose events are stored.
    pub(super) fn is_unproven(&self) -> bool {
        self.device
            .as_ref()
            .is_some_and(ConnectedDevice::is_unproven)
    }

    /// The node showed itself to be another one.
    pub(super) fn turn_away_impostor(&mut self, now: Instant) {
        if let Some(device) = self.device.clone() {
            self.turn_away_other(&device, now);
        }
    }

    /// The arrival of a record. Without a device that was welcomed there is none.
    pub(super) fn event(
        &mut self,
        id: EventId,
        uptime_ms: u64,
        body: &Body<'_>,
        now: Now,
    ) -> Option<Arrival> {
        let digest = digest(uptime_ms, body);
        let uptime_ms = matches!(body, Body::Readings { .. }).then_some(uptime_ms);
        let time = uptime_ms.and_then(|uptime_ms| self.wall_clock(id.boot, uptime_ms, now));
        let device = self.device.as_mut()?;
        let (sequence, identity) = device.next(id.sequence, digest);
        let envelope = DeviceEnvelope {
            source: &self.event_source,
            topic: &self.topic,
            device: &device.name,
            boot: id.boot,
            sequence,
            uptime_ms,
            time,
        };
        let event = envelope.reading(body, &self.schemas);
        let offered = OfferedEvent {
            id,
            sequence,
            bytes: event.data.len(),
            at: now.instant,
        };
        Some(self.arrival(offered, identity, event))
    }

    /// Whether news of missing records may be stored now: each is a system event.
    pub(super) fn takes_gap(&self, now: Instant) -> bool {
        self.budget.takes_system_event(now)
    }

    /// Everything that was handed on and is not durable comes again.
    pub(super) fn held_back(&mut self) {
        if let Some(device) = &mut self.device {
            device.refused();
        }
    }

    /// How useful a read was, and when to read again.
    pub(super) fn worked(&self, read: &ReadWork, now: Instant) -> Instant {
        self.budget.worked(read, FRAME_SIZE_MAX, now)
    }

    /// Whether what the present session brings is another node's than what is stored.
    pub(super) fn is_stranger(&self) -> bool {
        self.device.as_ref().is_some_and(|device| {
            let mark = self.store.mark(&device_mark_key(&device.name));
            let boots = mark.map(|mark| Boots::from_bytes(&mark));
            let known = boots.and_then(|boots| boots.mark(device.hello.boot.into()));
            let known = known.map_or(0, |known| known.session);
            ![0, device.session, device.former].contains(&known)
        })
    }

    /// The arrival of the news that records are missing.
    pub(super) fn gap(&mut self, last: EventId, count: u32, now: Now) -> Option<Arrival> {
        let device = self.device.as_mut()?;
        let (sequence, identity) = device.next(last.sequence, 0);
        let lost = RecordsLost {
            source: &self.source,
            device: &device.name,
            count,
            last: sequence,
        };
        self.budget.emit(&lost, 0, now.instant);
        let envelope = DeviceEnvelope {
            source: &self.event_source,
            topic: &self.topic,
            device: &device.name,
            boot: last.boot,
            sequence,
            uptime_ms: None,
            time: None,
        };
        let event = envelope.gap(count);
        let offered = OfferedEvent {
            id: last,
            sequence,
            bytes: event.data.len(),
            at: now.instant,
        };
        Some(self.arrival(offered, identity, event))
    }

    fn arrival(&mut self, offered: OfferedEvent, identity: Identity, event: Event) -> Arrival {
        Arrival {
            event,
            ack: self.receipts.issue(offered),
            identity,
            at_most_once: false,
            set_aside: None,
        }
    }

    fn wall_clock(&self, boot: u32, uptime_ms: u64, now: Now) -> Option<UnixMs> {
        let now_ms = self.now_ms(now.instant);
        let age_ms = self.clock.age_ms(boot, uptime_ms, now_ms)?;
        let age_ms = i64::try_from(age_ms).ok()?;
        Some(now.unix_ms.saturating_sub(age_ms)).filter(|time| *time >= 0)
    }

    /// An event is durable.
    pub(super) fn stored(&mut self, offered: &OfferedEvent, now: Instant) {
        self.metrics.accepted(offered.bytes);
        let took = now.saturating_duration_since(offered.at);
        self.metrics.acknowledged_after(took);
        if let Some(device) = self
            .device
            .as_mut()
            .filter(|device| device.is_of(offered.id))
        {
            device.stored(offered.sequence);
        }
    }

    /// An event and all behind it are not durable.
    pub(super) fn refused(&mut self, offered: &OfferedEvent) {
        self.metrics.refused();
        if let Some(device) = self
            .device
            .as_mut()
            .filter(|device| device.is_of(offered.id))
        {
            device.refused();
        }
    }

    /// A field of a schema.
    pub(super) fn schema_field(
        &mut self,
        key: u32,
        index: u8,
        count: u8,
        field: &Field<'_>,
        now: Instant,
    ) {
        if let Err(why) = self.schemas.take(key, index, count, field) {
            self.schema_refused(key, why, now);
        }
    }

    /// A schema that cannot be used.
    pub(super) fn schema_refused(&self, key: u32, why: &'static str, now: Instant) {
        self.metrics.malformed("schema");
        let refused = SchemaRefused {
            source: &self.source,
            key,
            why,
        };
        self.budget.emit(&refused, why.len(), now);
    }

    /// A line of the device's log.
    pub(super) fn log(&self, level: Level, text: &str, now: Instant) {
        let end = text.char_indices().nth(LOG_SIZE_MAX);
        let text = end.map_or(text, |(end, _)| &text[..end]);
        let said = DeviceSaid {
            source: &self.source,
            device: self.device.as_ref().map_or("", |device| &device.name),
            level,
            text,
        };
        self.budget.emit(&said, escaped(text), now);
    }
}

/// Bytes that a text from outside takes in a log line.
fn escaped(text: &str) -> usize {
    text.escape_debug().map(char::len_utf8).sum()
}
