//! What a client subscribes to, and live events on their way to it.

use bytes::BytesMut;
use tidegate_rules::event::Event;
use tidegate_rules::topic::TopicFilter;

use super::ClientSession;
use crate::event::cloudevents::mqtt;
use crate::source::mqtt_listener::codec::encode;
use crate::source::mqtt_listener::codec::fields::Utf8String;
use crate::source::mqtt_listener::codec::packet::SubscribePacket;
use crate::source::mqtt_listener::codec::reason;
use crate::source::mqtt_listener::disconnect::Disconnect;

/// A subscription of this connection.
#[derive(Debug)]
pub(in crate::source::mqtt_listener) struct Subscription {
    text: String,
    filter: TopicFilter,
    qos: u8,
    no_local: bool,
}

impl ClientSession {
    pub(super) fn subscribe(
        &mut self,
        subscribe: &SubscribePacket,
        out: &mut BytesMut,
    ) -> Result<(), Disconnect> {
        if subscribe.id.is_some() {
            let why = "a subscription identifier, although CONNACK said that there are none";
            return Err(Disconnect::new(reason::SUBSCRIPTION_ID_NOT_SUPPORTED, why));
        }
        let codes: Vec<u8> = subscribe
            .filters
            .iter()
            .map(|(filter, options)| self.add_subscription(filter.as_str(), *options))
            .collect();
        encode::subscription_ack(out, self.level, encode::SUBACK, subscribe.packet_id, &codes);
        Ok(())
    }

    fn add_subscription(&mut self, text: &str, options: u8) -> u8 {
        if text.starts_with("$share/") {
            return reason::SHARED_NOT_SUPPORTED;
        }
        let Ok(filter) = TopicFilter::parse(text) else {
            return reason::TOPIC_FILTER_INVALID;
        };
        if !self.access.may_subscribe(text) {
            return reason::NOT_AUTHORIZED;
        }
        self.subscriptions.retain(|known| known.text != text);
        if self.subscriptions.len() >= self.limits.subscriptions_max {
            return reason::QUOTA_EXCEEDED;
        }
        let qos = (options & 3).min(1);
        self.subscriptions.push(Subscription {
            text: text.into(),
            filter,
            qos,
            no_local: options & 4 != 0,
        });
        qos
    }

    pub(super) fn unsubscribe(&mut self, id: u16, filters: &[Utf8String], out: &mut BytesMut) {
        let codes: Vec<u8> = filters
            .iter()
            .map(|filter| {
                let before = self.subscriptions.len();
                self.subscriptions
                    .retain(|known| known.text != filter.as_str());
                match before == self.subscriptions.len() {
                    true => reason::NO_SUBSCRIPTION,
                    false => reason::SUCCESS,
                }
            })
            .collect();
        encode::subscription_ack(out, self.level, encode::UNSUBACK, id, &codes);
    }

    /// Writes a live event to this client if it subscribed to it.
    pub fn deliver(&mut self, event: &Event, out: &mut BytesMut) {
        let own = event.publisher == self.client;
        let qos = self
            .subscriptions
            .iter()
            .filter(|subscription| !(own && subscription.no_local))
            .filter(|subscription| subscription.filter.matches(&event.topic))
            .map(|subscription| subscription.qos)
            .max();
        let Some(qos) = qos else {
            return;
        };
        let packet_id = match qos {
            0 => 0,
            _ if self.outgoing_inflight.len() >= self.outgoing_inflight_max => {
                return self.metrics.missed(1);
            }
            _ => self.next_outgoing_id(),
        };
        let user = mqtt::properties(event);
        let outgoing = encode::OutgoingPublish {
            topic: &event.topic,
            qos,
            packet_id,
            content_type: event.content_type.as_deref(),
            user: &user,
            payload: &event.data,
        };
        let before = out.len();
        encode::publish(out, self.level, &outgoing);
        if out.len() - before > self.packet_bytes_max {
            out.truncate(before);
            self.outgoing_inflight.remove(&packet_id);
            self.metrics.missed(1);
        }
    }

    /// A packet identifier that is not in use; the window keeps most of them free.
    fn next_outgoing_id(&mut self) -> u16 {
        loop {
            self.next_packet_id = self.next_packet_id.wrapping_add(1).max(1);
            if self.outgoing_inflight.insert(self.next_packet_id) {
                return self.next_packet_id;
            }
        }
    }
}
