//! What arrives by the messages of a broker.

use std::time::Instant;

use tidegate_rules::event::{Event, MqttProperties};

use super::client::ReceivedMessage;
use super::{MqttClient, SubscriberConnection, UnsettledMessage};
use crate::event::ack::Ack;
use crate::event::arrival::{Arrival, Identity, KeptPayload};
use crate::event::cloudevents::mqtt;
use crate::event::system_topic::poses_as_ours;
use crate::source::id_field;

/// Why a message is not taken: a few words for the metric, and a sentence.
type Objection = (&'static str, String);

impl MqttClient {
    /// The arrival of a message. What is not taken is set aside: the broker acknowledged it to its
    /// sender, and would send it again for ever.
    pub(super) fn arrival(
        &mut self,
        connection: &mut SubscriberConnection,
        mut message: ReceivedMessage,
        now: Instant,
    ) -> Arrival {
        let oversized = message.oversized.take();
        let bytes = oversized.as_ref().map(KeptPayload::length);
        let bytes = bytes.unwrap_or(message.payload.len() as u64) as usize;
        let ack = match message.qos {
            0 => {
                self.metrics.accepted(bytes);
                Ack::none()
            }
            _ => connection.receipts.issue(UnsettledMessage {
                packet_id: message.packet_id,
                received: now,
            }),
        };
        let at_most_once = message.qos == 0;
        let (event, excess) = self.event(message);
        let max = self.config.payload_bytes_max;
        let too_large = oversized.as_ref().map(|_| {
            let why = format!("a payload of {bytes} bytes is over max_payload = {max}");
            ("payload too large", why)
        });
        let objection = too_large.or(excess).or_else(|| {
            poses_as_ours(&event, &self.template.source).then(|| {
                let what = "its topic or type is the gateway's own, and its `source` is not another gateway";
                ("not authorized", what.to_owned())
            })
        });
        let Some((label, why)) = objection else {
            return Arrival {
                identity: Identity::of_id(&event.id, &self.template.source),
                event,
                ack,
                at_most_once,
                set_aside: None,
            };
        };
        self.metrics.malformed(label);
        tracing::debug!(
            source = self.name,
            topic = &*event.topic,
            "set aside: {why}"
        );
        let payload = oversized.unwrap_or_else(|| KeptPayload::of(&event.data));
        Arrival::set_aside(event, payload, &why, &self.template.source, ack)
    }

    fn event(&self, message: ReceivedMessage) -> (Event, Option<Objection>) {
        let mut event = self.template.clone();
        let publisher = self.config.publisher.as_ref();
        if let Some(publisher) = publisher.and_then(|publisher| publisher.of(&message.topic)) {
            event.publisher = publisher.into();
        }
        event.topic = message.topic.into();
        event.data = message.payload;
        event.content_type = message.content_type.map(Into::into);
        let says_more = message.mqtt != MqttProperties::default();
        event.mqtt = says_more.then(|| Box::new(message.mqtt));
        let user = message.user.iter();
        let mut user = user.map(|(name, value)| (name.as_str(), value.as_str()));
        let (is_document, read) = mqtt::read_publish(&mut event, user.clone());
        // A document has an id of its own.
        if let Some(field) = self.config.id_field.as_ref().filter(|_| !is_document) {
            let named = user.find(|(name, _)| name == field);
            id_field::read(&mut event, field, named.map(|(_, value)| value));
        }
        (event, read.err().map(|why| ("user properties", why)))
    }
}
