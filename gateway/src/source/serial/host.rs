//! What the link hands on, made into arrivals; and all that outlives one opening of the port.

use std::sync::Arc;
use std::time::Instant;

use tidegate_link::message::Level;
use tidegate_link::{Body, EventId, Field};
use tidegate_rules::event::{Event, UnixMs};
use tidegate_store::Store;

use super::SerialContext;
use super::config::Serial;
use super::device::{ConnectedDevice, DeviceHello, device_name};
use super::device_clock::DeviceClock;
use super::device_event::DeviceEnvelope;
use super::receipts::{DeviceReceipts, OfferedEvent};
use super::schema::Schemas;
use crate::event::arrival::{Arrival, Identity};
use crate::event::device_mark::device_mark_key;
use crate::observe::Observe;
use crate::observe::source::SourceMetrics;
use crate::observe::source::device::{
    BootReused, DeviceJoined, DeviceLost, DeviceSaid, RecordsLost, SchemaRefused,
};
use crate::observe::source::link::LinkMetrics;
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
    observe: Arc<Observe>,
    metrics: SourceMetrics,
    device: Option<ConnectedDevice>,
    reused: Option<([u8; 8], u32)>,
    started: Instant,
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
            observe: context.observe,
            metrics: context.metrics,
            device: None,
            reused: None,
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
    pub(super) fn port_lost(&mut self, why: &str) {
        self.metrics.connections(-1);
        self.receipts.forget();
        self.device_lost(why);
        self.device = None;
    }

    /// What the store knows of the device that said hello.
    pub(super) fn identify(&mut self, hello: DeviceHello) -> ConnectedDevice {
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
    pub(super) fn device_joined(&mut self, device: ConnectedDevice) {
        if self
            .device
            .as_ref()
            .is_some_and(|last| last.name != device.name)
        {
            self.device_lost("another device is at the port");
        }
        self.reused = None;
        self.report_joined(&device);
        self.device = Some(device);
    }

    fn report_joined(&self, device: &ConnectedDevice) {
        self.observe.emit(&DeviceJoined {
            source: &self.source,
            device: &device.name,
            boot: device.hello.boot,
            firmware: &device.hello.firmware,
            slot: device.hello.slot,
            held: device.hello.held,
            lost: device.hello.lost,
        });
    }

    fn device_lost(&mut self, why: &str) {
        if let Some(device) = self.device.as_mut().filter(|device| device.present) {
            device.present = false;
            self.observe.emit(&DeviceLost {
                source: &self.source,
                device: &device.name,
                why,
            });
        }
    }

    /// The last good frame came at `heard_ms`: a device that was lost is there again.
    pub(super) fn heard(&mut self, heard_ms: Option<u64>, now: Instant) {
        let now_ms = self.now_ms(now);
        let back = heard_ms.is_some_and(|at| now_ms.saturating_sub(at) < SILENT_MS_MAX);
        if let Some(device) = self
            .device
            .as_mut()
            .filter(|device| back && !device.present)
        {
            device.present = true;
            let device = device.clone();
            self.report_joined(&device);
        }
    }

    /// The same for a device that is not heard any more.
    pub(super) fn check_silence(&mut self, heard_ms: Option<u64>, now: Instant) {
        let now_ms = self.now_ms(now);
        let silent = heard_ms.is_some_and(|at| now_ms.saturating_sub(at) >= SILENT_MS_MAX);
        if silent {
            self.device_lost("it is silent");
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
            device: &device_name(&device),
            boot,
        });
    }

    /// The arrival of a record. Without a device that was welcomed there is none.
    pub(super) fn event(
        &mut self,
        id: EventId,
        uptime_ms: u64,
        body: &Body<'_>,
        now: Now,
    ) -> Option<Arrival> {
        let uptime_ms = matches!(body, Body::Readings { .. }).then_some(uptime_ms);
        let time = uptime_ms.and_then(|uptime_ms| self.wall_clock(id.boot, uptime_ms, now));
        let device = self.device.as_mut()?;
        let (sequence, identity) = device.next(id.sequence);
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

    /// The arrival of the news that records are missing.
    pub(super) fn gap(&mut self, last: EventId, count: u32, now: Now) -> Option<Arrival> {
        let device = self.device.as_mut()?;
        let (sequence, identity) = device.next(last.sequence);
        self.observe.emit(&RecordsLost {
            source: &self.source,
            device: &device.name,
            count,
            last: sequence,
        });
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
            device: self.device.as_ref().map_or("", |device| &device.name),
            level,
            text,
        });
    }
}
