//! What a client publishes: checked, recognised, handed on.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tidegate_rules::event::{Event, Expiry, MqttProperties};
use tidegate_rules::topic::is_valid_topic_name;

use super::{ClientSession, InflightPublish, Qos2State};
use crate::event::ack::Ack;
use crate::event::arrival::{Arrival, Identity, KeptPayload};
use crate::event::cloudevents::mqtt;
use crate::event::system_topic::poses_as_ours;
use crate::source::id_field;
use crate::source::mqtt_listener::codec::encode;
use crate::source::mqtt_listener::codec::fields::Utf8String;
use crate::source::mqtt_listener::codec::packet::{PublishPacket, V5};
use crate::source::mqtt_listener::codec::reason;
use crate::source::mqtt_listener::disconnect::Disconnect;

/// Characters of a topic and of a reason that a log line holds.
const TOLD_CHARS_MAX: usize = 200;

/// Why a publish is not taken.
pub(super) struct Objection {
    /// What MQTT 5 calls it, in a PUBACK or PUBREC.
    reason: u8,
    /// A few words for the metric.
    label: &'static str,
    pub(super) why: String,
}

impl Objection {
    fn new(reason: u8, label: &'static str, why: String) -> Objection {
        Objection { reason, label, why }
    }
}

impl ClientSession {
    pub(super) fn publish(
        &mut self,
        publish: PublishPacket,
        now: Instant,
        arrivals: &mut Vec<Arrival>,
        out: &mut BytesMut,
    ) -> Result<(), Disconnect> {
        let known = self.is_granted(&publish);
        if !known {
            check_publish(&publish)?;
        }
        let (qos, id) = (publish.qos, publish.packet_id);
        if qos == 2 && self.is_repetition(id, out) {
            return Ok(());
        }
        let at_most_once = qos == 0;
        let bytes = publish.payload.len() as u64;
        let objection = match known {
            true => self.content_objection(&publish, bytes),
            false => self.objection(&publish, bytes),
        };
        let (event, excess) = self.event(publish);
        let objection = objection.or(excess);
        self.topic_is_granted |= objection.is_none();
        if let Some(objection) = objection.or_else(|| self.posing(&event)) {
            self.tell_of(&objection, &event.topic);
            if self.is_answered(qos, id, &objection, out) {
                return Ok(());
            }
            let payload = KeptPayload::of(&event.data);
            let ack = self.receipt(qos, id, event.data.len(), now)?;
            arrivals.push(Arrival::set_aside(
                event,
                payload,
                &objection.why,
                &self.source,
                ack,
            ));
            return Ok(());
        }
        let ack = self.receipt(qos, id, event.data.len(), now)?;
        arrivals.push(Arrival {
            identity: Identity::of_id(&event.id, &self.source),
            event,
            ack,
            at_most_once,
            set_aside: None,
        });
        Ok(())
    }

    /// Takes a publish that was too large to be held, without its properties.
    ///
    /// # Errors
    /// As [`ClientSession::receive`].
    pub fn oversized(
        &mut self,
        publish: PublishPacket,
        payload: KeptPayload,
        now: Instant,
        arrivals: &mut Vec<Arrival>,
        out: &mut BytesMut,
    ) -> Result<(), Disconnect> {
        // What it would have in place of a topic stands among the properties, which were skipped.
        if self.level != V5 || !publish.topic.as_str().is_empty() {
            check_publish(&publish)?;
        }
        let (qos, id) = (publish.qos, publish.packet_id);
        if qos == 2 && self.is_repetition(id, out) {
            return Ok(());
        }
        let bytes = payload.length();
        let objection = self.objection(&publish, bytes).unwrap_or_else(|| {
            let why = format!("its properties and its payload of {bytes} bytes are too large");
            Objection::new(reason::QUOTA_EXCEEDED, "packet too large", why)
        });
        let (event, _) = self.event(publish);
        self.tell_of(&objection, &event.topic);
        if !self.is_answered(qos, id, &objection, out) {
            let ack = self.receipt(qos, id, bytes as usize, now)?;
            arrivals.push(Arrival::set_aside(
                event,
                payload,
                &objection.why,
                &self.source,
                ack,
            ));
        }
        Ok(())
    }

    /// The acknowledgement of a publish that goes to the intake.
    fn receipt(
        &mut self,
        qos: u8,
        packet_id: u16,
        payload_bytes: usize,
        received: Instant,
    ) -> Result<Ack, Disconnect> {
        if qos > 0 && self.under_way() >= usize::from(self.limits.receive_max) {
            let why = format!("more than {} publishes under way", self.limits.receive_max);
            return Err(Disconnect::new(reason::RECEIVE_MAX_EXCEEDED, why));
        }
        self.inflight += usize::from(qos > 0);
        if qos == 2 {
            self.qos2.insert(packet_id, Qos2State::UnderWay);
        }
        Ok(self.receipts.issue(InflightPublish {
            packet_id,
            qos,
            payload_bytes,
            received,
        }))
    }

    /// Whether the topic is that of the last publish, and was taken then.
    fn is_granted(&self, publish: &PublishPacket) -> bool {
        self.topic_is_granted
            && publish.alias.is_none()
            && publish.topic.as_bytes() == self.topic.as_bytes()
    }

    /// What counts against the Receive Maximum: in MQTT 5 a QoS 2 publish does until its PUBCOMP (4.9).
    fn under_way(&self) -> usize {
        let unreleased = if self.level == V5 { self.unreleased } else { 0 };
        self.inflight + unreleased
    }

    /// Why a publish is not taken, though it is good MQTT; its payload has `bytes`.
    pub(super) fn objection(&self, publish: &PublishPacket, bytes: u64) -> Option<Objection> {
        let topic = self.topic_objection(publish);
        topic.or_else(|| self.content_objection(publish, bytes))
    }

    fn topic_objection(&self, publish: &PublishPacket) -> Option<Objection> {
        let topic = publish.topic.as_str();
        let levels = topic.split('/').count();
        if topic.len() > self.limits.topic_bytes_max || levels > self.limits.topic_levels_max {
            let why = format!(
                "a topic of {} bytes and {levels} levels is over max_topic = {} or max_topic_levels = {}",
                topic.len(),
                self.limits.topic_bytes_max,
                self.limits.topic_levels_max
            );
            return Some(Objection::new(
                reason::TOPIC_NAME_INVALID,
                "topic name",
                why,
            ));
        }
        if !self.access.may_publish(topic) {
            let why =
                format!("not allowed to publish to {topic}: no filter of `publish` grants it");
            return Some(Objection::new(
                reason::NOT_AUTHORIZED,
                "not authorized",
                why,
            ));
        }
        None
    }

    fn content_objection(&self, publish: &PublishPacket, bytes: u64) -> Option<Objection> {
        // 0x95, packet too large, is none of the reasons a PUBACK may have: clients that look hang
        // up, and send it again.
        let max = self.limits.payload_bytes_max;
        if bytes > max as u64 {
            let why = format!("a payload of {bytes} bytes is over max_payload = {max}");
            return Some(Objection::new(
                reason::QUOTA_EXCEEDED,
                "packet too large",
                why,
            ));
        }
        publish.excess_properties.then(|| {
            let why = "it has more user properties than are read".to_owned();
            Objection::new(reason::QUOTA_EXCEEDED, "user properties", why)
        })
    }

    /// Why an event is not taken that looks as if the gateway had made it.
    pub(super) fn posing(&self, event: &Event) -> Option<Objection> {
        poses_as_ours(event, &self.source).then(|| {
            let why = format!(
                "topic {} and type {} are the gateway's own; another gateway's event says so in its `source`",
                event.topic, event.kind
            );
            Objection::new(reason::NOT_AUTHORIZED, "not authorized", why)
        })
    }

    /// Counts a publish that is not taken, and says so once per reason and connection.
    pub(super) fn tell_of(&mut self, objection: &Objection, topic: &str) {
        self.metrics.malformed(objection.label);
        let bit = 1 << (objection.reason & 0x1f);
        if self.told & bit == 0 {
            self.told |= bit;
            let topic: String = topic.chars().take(TOLD_CHARS_MAX).collect();
            tracing::warn!(
                source = &*self.source,
                client = &*self.client,
                topic,
                "a publish is not taken: {}; more of its kind of this connection are counted",
                objection
                    .why
                    .chars()
                    .take(TOLD_CHARS_MAX)
                    .collect::<String>()
            );
        }
    }

    /// Answers a publish that is not taken, where the protocol has a word for it. Else it has to be
    /// set aside, for an acknowledgement says that it is stored.
    fn is_answered(&self, qos: u8, id: u16, objection: &Objection, out: &mut BytesMut) -> bool {
        let first = match qos {
            1 => encode::PUBACK,
            2 => encode::PUBREC,
            _ => return false,
        };
        if self.level == V5 {
            encode::acknowledge(out, self.level, first, id, objection.reason);
        }
        self.level == V5
    }

    /// A QoS 2 publish that is known by its packet identifier (4.3.3).
    fn is_repetition(&mut self, id: u16, out: &mut BytesMut) -> bool {
        match self.qos2.get(&id) {
            None => false,
            Some(Qos2State::UnderWay) => true,
            Some(Qos2State::Stored) => {
                encode::acknowledge(out, self.level, encode::PUBREC, id, reason::SUCCESS);
                true
            }
        }
    }

    /// The event of a publish, and why it is not taken if it says too much; the topic of the last one is used again where it
    /// is the same.
    pub(super) fn event(&mut self, publish: PublishPacket) -> (Event, Option<Objection>) {
        if self.topic.as_bytes() != publish.topic.as_bytes() {
            self.topic = publish.topic.as_str().into();
            self.topic_is_granted = false;
        }
        let mut event = Event {
            id: Arc::clone(&self.no_id),
            source: Arc::clone(&self.source),
            kind: Arc::clone(&self.kind),
            subject: None,
            topic: Arc::clone(&self.topic),
            publisher: Arc::clone(&self.client),
            time: None,
            received: 0,
            content_type: publish
                .content_type
                .as_ref()
                .map(|text| text.as_str().into()),
            schema: None,
            mqtt: mqtt_properties(&publish),
            data: publish.payload,
            ..Event::default()
        };
        let user = publish.user.iter();
        let mut user = user.map(|(name, value)| (name.as_str(), value.as_str()));
        let (is_document, read) = mqtt::read_publish(&mut event, user.clone());
        let excess = read
            .err()
            .map(|why| Objection::new(reason::QUOTA_EXCEEDED, "user properties", why));
        // A document has an id of its own.
        if let Some(field) = self.limits.id_field.as_ref().filter(|_| !is_document) {
            let named = user.find(|(name, _)| name == field);
            id_field::read(&mut event, field, named.map(|(_, value)| value));
        }
        (event, excess)
    }
}

/// What a publish says beside, where it says anything.
fn mqtt_properties(publish: &PublishPacket) -> Option<Box<MqttProperties>> {
    let text = |text: &Utf8String| Arc::from(text.as_str());
    let mqtt = MqttProperties {
        retain: publish.retain,
        payload_format: publish.payload_format,
        response_topic: publish.response_topic.as_ref().map(text),
        correlation_data: publish.correlation_data.clone(),
        expiry: publish.expiry_s.map(Expiry::from),
    };
    (mqtt != MqttProperties::default()).then(|| Box::new(mqtt))
}

/// What a publish must not have: the connection ends, as the standard says.
fn check_publish(publish: &PublishPacket) -> Result<(), Disconnect> {
    let topic = publish.topic.as_str();
    if publish.alias.is_some() {
        return Err(Disconnect::new(
            reason::ALIAS_INVALID,
            "a topic alias was used although the maximum is 0",
        ));
    }
    if topic.is_empty() {
        let why = "neither a topic nor an alias";
        return Err(Disconnect::new(reason::PROTOCOL_ERROR, why));
    }
    if !is_valid_topic_name(topic) {
        let why = format!("no topic to publish to: {topic:?}");
        return Err(Disconnect::new(reason::TOPIC_NAME_INVALID, why));
    }
    Ok(())
}
