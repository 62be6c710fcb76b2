//! What the link hands on, as events.

use std::sync::Arc;

use bytes::Bytes;
use tidegate_link::Body;
use tidegate_rules::event::{Event, EventTime, Extension, UnixMs};

use super::schema::Schemas;
use crate::event::system_topic::SYSTEM_TOPIC;

/// CloudEvents `type` of a reading.
pub(super) const READING: &str = "reading";
/// CloudEvents `type` of records that a device had to drop.
pub(super) const GAP: &str = "dev.tidegate.device.gap";
/// Content type of a record that this gateway has no schema for.
pub(super) const RAW: &str = "application/vnd.tidegate.readings";

/// What all events of a device have in common.
#[derive(Debug, Clone, Copy)]
pub(super) struct DeviceEnvelope<'a> {
    /// `<gateway id>/<source name>`
    pub(super) source: &'a Arc<str>,
    /// The configured topic, with `{device}` in it.
    pub(super) topic: &'a str,
    /// The device's name.
    pub(super) device: &'a Arc<str>,
    /// Its boot.
    pub(super) boot: u32,
    /// The number of the record.
    pub(super) sequence: u64,
    /// The device's clock when it was made, where there is one.
    pub(super) uptime_ms: Option<u64>,
    /// The same on the wall clock, where that is known.
    pub(super) time: Option<UnixMs>,
}

impl DeviceEnvelope<'_> {
    /// The event of a record. One without a schema is kept as the bytes it came as.
    pub(super) fn reading(&self, body: &Body<'_>, schemas: &Schemas) -> Event {
        let (schema, values) = match *body {
            Body::Unreadable(record) => return self.unreadable(record, None),
            Body::Readings { schema, values } => (schema, values),
        };
        let known = schemas.get(schema);
        let json = known.and_then(|known| known.to_json(values));
        let (Some(known), Some(json)) = (known, json) else {
            return self.unreadable(values, Some(schema));
        };
        let mut event = self.event(READING, self.own_topic(), json, "application/json");
        event.schema = Some(schema_name(schema));
        if let Some(units) = known.units() {
            event.extensions.push(Extension::text("units", units));
        }
        event
    }

    /// The event that says that `count` records up to this one are missing.
    pub(super) fn gap(&self, count: u32) -> Event {
        let data = serde_json::json!({
            "device": &**self.device,
            "boot": self.boot,
            "lost": count,
            "first": self.sequence.saturating_sub(u64::from(count).saturating_sub(1)),
            "last": self.sequence,
        });
        let topic = format!("{SYSTEM_TOPIC}/device/gap");
        self.event(GAP, topic, data.to_string().into(), "application/json")
    }

    fn own_topic(&self) -> String {
        self.topic.replace("{device}", self.device)
    }

    fn unreadable(&self, bytes: &[u8], schema: Option<u32>) -> Event {
        let data = Bytes::copy_from_slice(bytes);
        let mut event = self.event(READING, self.own_topic(), data, RAW);
        event.schema = schema.map(schema_name);
        event
    }

    fn event(&self, kind: &str, topic: String, data: Bytes, content_type: &str) -> Event {
        let DeviceEnvelope {
            device,
            boot,
            sequence,
            ..
        } = self;
        let mut extensions = vec![Extension::text("sequence", sequence.to_string())];
        if let Some(uptime_ms) = self.uptime_ms {
            extensions.push(Extension::text("uptimems", uptime_ms.to_string()));
        }
        Event {
            id: format!("{device}-{boot}-{sequence}").into(),
            source: Arc::clone(self.source),
            kind: kind.into(),
            subject: Some(Arc::clone(device)),
            topic: topic.into(),
            publisher: Arc::clone(device),
            time: self.time.map(EventTime::from),
            received: 0,
            content_type: Some(content_type.into()),
            schema: None,
            extensions,
            data,
            ..Event::default()
        }
    }
}

fn schema_name(key: u32) -> Arc<str> {
    format!("urn:tidegate:schema:{key:08x}").into()
}

#[cfg(test)]
mod tests {
    use tidegate_link::{Field, Kind};

    use super::*;

    fn with(check: impl FnOnce(DeviceEnvelope<'_>)) {
        let (source, device) = (Arc::from("plant-a/bench"), Arc::from("node-001"));
        check(DeviceEnvelope {
            source: &source,
            topic: "devices/{device}",
            device: &device,
            boot: 7,
            sequence: 20,
            uptime_ms: Some(1_234),
            time: Some(99),
        });
    }

    #[test]
    fn a_reading_carries_its_id_its_clock_and_its_units() {
        let mut schemas = Schemas::default();
        let field = Field {
            name: "level",
            unit: "m",
            kind: Kind::Boolean,
        };
        schemas.take(3, 0, 1, &field).expect("a whole schema");
        with(|envelope| {
            let body = Body::Readings {
                schema: 3,
                values: &[1],
            };
            let event = envelope.reading(&body, &schemas);
            assert_eq!(&*event.id, "node-001-7-20");
            assert_eq!(&*event.topic, "devices/node-001");
            assert_eq!(event.data, r#"{"level":true}"#);
            assert_eq!(event.extension("sequence"), Some("20"));
            assert_eq!(event.extension("uptimems"), Some("1234"));
            assert_eq!(event.extension("units"), Some("level=m"));
            assert_eq!(
                event.schema.as_deref(),
                Some("urn:tidegate:schema:00000003")
            );
            assert_eq!((event.happened(), &*event.kind), (99, "reading"));
        });
    }

    #[test]
    fn a_record_without_its_schema_is_kept_as_it_came() {
        with(|envelope| {
            let body = Body::Readings {
                schema: 3,
                values: &[1, 2],
            };
            let event = envelope.reading(&body, &Schemas::default());
            assert_eq!(&event.data[..], [1, 2]);
            assert_eq!(event.content_type.as_deref(), Some(RAW));
            assert_eq!(&*event.topic, "devices/node-001");
            let event = envelope.reading(&Body::Unreadable(&[9]), &Schemas::default());
            assert_eq!((&event.data[..], event.schema), (&[9][..], None));
        });
    }

    #[test]
    fn a_gap_says_which_records_are_missing() {
        with(|envelope| {
            let event = envelope.gap(5);
            assert_eq!(
                event.data,
                r#"{"boot":7,"device":"node-001","first":16,"last":20,"lost":5}"#
            );
            assert_eq!(
                (&*event.id, &*event.topic),
                ("node-001-7-20", "$tidegate/device/gap")
            );
        });
    }
}
