//! What a client subscribes to, and committed events on their way to it.

use bytes::BytesMut;
use tidegate_rules::event::Event;
use tidegate_rules::topic::TopicFilter;
use tidegate_store::Sequence;

use super::ClientSession;
use crate::event::cloudevents::mqtt;
use crate::event::cloudevents::mqtt::publish::PublishProperties;
use crate::event::committed_log::{CommittedRecord, Note};
use crate::event::delivery::expiry::Remaining;
use crate::source::mqtt_listener::codec::encode;
use crate::source::mqtt_listener::codec::fields::Utf8String;
use crate::source::mqtt_listener::codec::packet::SubscribePacket;
use crate::source::mqtt_listener::codec::reason;
use crate::source::mqtt_listener::disconnect::Disconnect;
use crate::time::clock::Now;

/// A subscription of this connection.
#[derive(Debug)]
pub(in crate::source::mqtt_listener) struct Subscription {
    text: String,
    filter: TopicFilter,
    qos: u8,
    no_local: bool,
    /// It gets the retain flag as it was published.
    keeps_retain: bool,
    /// The end of the log when it was asked for: what is older is not for it.
    since: Sequence,
}

/// How an event goes to a client.
#[derive(Debug, Clone, Copy)]
struct Granted {
    qos: u8,
    retain: bool,
}

/// What became of an event that was to be written to a client.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::source::mqtt_listener) enum Written {
    /// It is written, or not for this client.
    Done,
    /// The client has as much unacknowledged as it may: once more, later.
    WindowFull,
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
        let known = self.subscriptions.iter().find(|known| known.text == text);
        let since = known.map_or_else(|| self.log.end(), |known| known.since);
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
            keeps_retain: options & 8 != 0,
            since,
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

    /// Writes a committed event to this client if it subscribed to it, at the lower of the two QoS.
    pub(in crate::source::mqtt_listener) fn deliver(
        &mut self,
        found: &CommittedRecord,
        now: Now,
        out: &mut BytesMut,
    ) -> Written {
        let event = &found.record.event;
        let Some(granted) = self.granted(event, found.sequence) else {
            return Written::Done;
        };
        let qos = match found.note {
            Some(Note::Hidden) => return Written::Done,
            Some(Note::AtMostOnce) => 0,
            None => granted.qos,
        };
        let remaining = self.log.expiry().remaining(event, now);
        if remaining == Remaining::Expired {
            self.metrics.expired();
            return Written::Done;
        }
        let packet_id = match qos {
            0 => 0,
            _ if self.outgoing_inflight.len() >= self.outgoing_inflight_max => {
                return Written::WindowFull;
            }
            _ => self.next_outgoing_id(),
        };
        let granted = Granted { qos, ..granted };
        self.write(event, granted, packet_id, remaining, out);
        Written::Done
    }

    /// What the subscriptions that an event is for ask of it.
    fn granted(&self, event: &Event, sequence: Sequence) -> Option<Granted> {
        let own = event.publisher == self.client;
        self.subscriptions
            .iter()
            .filter(|subscription| sequence >= subscription.since)
            .filter(|subscription| !(own && subscription.no_local))
            .filter(|subscription| subscription.filter.matches(&event.topic))
            .map(|subscription| Granted {
                qos: subscription.qos,
                retain: subscription.keeps_retain && mqtt::is_retained(event),
            })
            .reduce(|one, other| Granted {
                qos: one.qos.max(other.qos),
                retain: one.retain || other.retain,
            })
    }

    /// Writes a PUBLISH; one over the client's Maximum Packet Size goes without the attributes of the event, as its sender
    /// wrote it. If that is too large as well, the client must not get it.
    fn write(
        &mut self,
        event: &Event,
        granted: Granted,
        packet_id: u16,
        remaining: Remaining,
        out: &mut BytesMut,
    ) {
        let before = out.len();
        for of_sender in [false, true] {
            let user = match of_sender {
                false => mqtt::properties(event, self.log.mark()),
                true => mqtt::properties_of_sender(event),
            };
            let outgoing = encode::OutgoingPublish {
                topic: &event.topic,
                qos: granted.qos,
                packet_id,
                retain: granted.retain,
                properties: PublishProperties::of(event, &event.data, remaining, user),
                payload: &event.data,
            };
            encode::publish(out, self.level, &outgoing);
            if out.len() - before <= self.packet_bytes_max {
                return;
            }
            out.truncate(before);
        }
        self.outgoing_inflight.remove(&packet_id);
        self.metrics.missed(1);
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
