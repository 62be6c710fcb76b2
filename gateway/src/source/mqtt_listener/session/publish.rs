//! What a client publishes: checked, recognised, handed on.

use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tidegate_rules::event::Event;
use tidegate_rules::topic::is_valid_topic_name;

use super::{ClientSession, InflightPublish, Qos2State};
use crate::event::arrival::{Arrival, Identity};
use crate::event::cloudevents::mqtt;
use crate::source::id_field;
use crate::source::mqtt_listener::codec::encode;
use crate::source::mqtt_listener::codec::packet::{PublishPacket, V5};
use crate::source::mqtt_listener::codec::reason;
use crate::source::mqtt_listener::disconnect::Disconnect;

impl ClientSession {
    pub(super) fn publish(
        &mut self,
        publish: PublishPacket,
        now: Instant,
        arrivals: &mut Vec<Arrival>,
        out: &mut BytesMut,
    ) -> Result<(), Disconnect> {
        self.check_publish(&publish)?;
        if publish.qos == 2 && self.is_repetition(publish.packet_id, out) {
            return Ok(());
        }
        if !self.access.may_publish(publish.topic.as_str()) {
            return self.refuse_topic(&publish, out);
        }
        if publish.qos > 0 && self.inflight >= usize::from(self.limits.receive_max) {
            let why = format!("more than {} publishes under way", self.limits.receive_max);
            return Err(Disconnect::new(reason::RECEIVE_MAX_EXCEEDED, why));
        }
        self.inflight += usize::from(publish.qos > 0);
        let ack = self.receipts.issue(InflightPublish {
            packet_id: publish.packet_id,
            qos: publish.qos,
            payload_bytes: publish.payload.len(),
            received: now,
        });
        if publish.qos == 2 {
            self.qos2.insert(publish.packet_id, Qos2State::UnderWay);
        }
        let at_most_once = publish.qos == 0;
        let event = self.event(publish);
        arrivals.push(Arrival {
            identity: Identity::of_id(&event.id, &self.source),
            event,
            ack,
            at_most_once,
        });
        Ok(())
    }

    pub(super) fn check_publish(&self, publish: &PublishPacket) -> Result<(), Disconnect> {
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
        if topic.starts_with('$') || !is_valid_topic_name(topic) {
            return Err(Disconnect::new(
                reason::TOPIC_NAME_INVALID,
                format!("no topic to publish to: {topic:?}"),
            ));
        }
        let levels = topic.split('/').count();
        if topic.len() > self.limits.topic_bytes_max || levels > self.limits.topic_levels_max {
            let why = format!(
                "a topic of {} bytes and {levels} levels is over max_topic or max_topic_levels",
                topic.len()
            );
            return Err(Disconnect::new(reason::TOPIC_NAME_INVALID, why));
        }
        if publish.payload.len() > self.limits.payload_bytes_max {
            let why = format!(
                "a payload of {} bytes is over max_payload = {}",
                publish.payload.len(),
                self.limits.payload_bytes_max
            );
            return Err(Disconnect::new(reason::PACKET_TOO_LARGE, why));
        }
        Ok(())
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

    /// MQTT 5 can say so; in MQTT 3.1.1 an ack would claim that it was stored, so it closes.
    fn refuse_topic(
        &mut self,
        publish: &PublishPacket,
        out: &mut BytesMut,
    ) -> Result<(), Disconnect> {
        self.metrics.malformed("not authorized");
        let first = match publish.qos {
            1 => encode::PUBACK,
            2 => encode::PUBREC,
            _ => return Ok(()),
        };
        if self.level != V5 {
            let why = format!("not allowed to publish to {}", publish.topic.as_str());
            return Err(Disconnect::new(reason::NOT_AUTHORIZED, why));
        }
        encode::acknowledge(
            out,
            self.level,
            first,
            publish.packet_id,
            reason::NOT_AUTHORIZED,
        );
        Ok(())
    }

    /// The event of a publish; the topic of the last one is used again where it is the same.
    pub(super) fn event(&mut self, publish: PublishPacket) -> Event {
        if &*self.topic != publish.topic.as_str() {
            self.topic = publish.topic.as_str().into();
        }
        let mut event = Event {
            id: "".into(),
            source: Arc::clone(&self.source),
            kind: Arc::clone(&self.kind),
            subject: None,
            topic: Arc::clone(&self.topic),
            publisher: Arc::clone(&self.client),
            time: None,
            received: 0,
            content_type: publish.content_type.map(|text| text.as_str().into()),
            schema: None,
            extensions: Vec::new(),
            data: publish.payload,
        };
        if publish.retain {
            event.extensions.push(("retain".into(), "true".into()));
        }
        let user = publish.user.iter();
        let mut user = user.map(|(name, value)| (name.as_str(), value.as_str()));
        mqtt::read_properties(&mut event, user.clone());
        if let Some(field) = &self.limits.id_field {
            let named = user.find(|(name, _)| name == field);
            id_field::read(&mut event, field, named.map(|(_, value)| value));
        }
        event
    }
}
