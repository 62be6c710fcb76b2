//! The session of one client: packets in, replies and arrivals out. No socket and no clock.

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Instant;

use bytes::BytesMut;
use tidegate_rules::event::Event;
use tidegate_rules::topic::{TopicFilter, is_valid_topic_name};

use super::packet::{Packet, Publish, Subscribe, V5, V311};
use super::reply::{self, reason};
use super::wire::{Invalid, Text};
use crate::config::MqttListener;
use crate::event::ack::Verdict;
use crate::event::arrival::{Arrival, Identity};
use crate::event::cloudevents::mqtt;
use crate::event::receipts::{Receipt, Receipts};
use crate::observe::source::SourceMetrics;
use crate::source::listener::access::Access;

/// Why a connection ends: the MQTT 5 reason code, and words for the log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Close {
    /// Sent in the DISCONNECT where the client knows MQTT 5.
    pub reason: u8,
    /// For the log; empty when the client said goodbye.
    pub why: String,
}

impl Close {
    pub(super) fn new(reason: u8, why: impl Into<String>) -> Close {
        Close {
            reason,
            why: why.into(),
        }
    }
}

impl From<Invalid> for Close {
    fn from(invalid: Invalid) -> Close {
        match invalid {
            Invalid::Malformed(why) => Close::new(reason::MALFORMED, why),
            Invalid::ProtocolError(why) => Close::new(reason::PROTOCOL_ERROR, why),
        }
    }
}

/// Where a QoS 2 publish stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Exactly {
    /// Not durable yet: no PUBREC was sent.
    UnderWay,
    /// Durable, PUBREC sent: repetitions are the same event.
    Stored,
}

/// A publish that waits for its verdict.
#[derive(Debug)]
pub(super) struct Unsettled {
    packet_id: u16,
    qos: u8,
    payload_bytes: usize,
    received: Instant,
}

/// A subscription of this connection.
#[derive(Debug)]
pub struct Subscription {
    text: String,
    filter: TopicFilter,
    qos: u8,
    no_local: bool,
}

/// One connected client.
pub struct Session {
    /// Protocol level, 4 or 5.
    pub level: u8,
    /// Its client id.
    pub client: Arc<str>,
    /// QoS 1 and 2 publishes not settled yet.
    pub under_way: usize,
    /// Whether a publish was refused that MQTT 3.1.1 has no words for.
    pub must_reconnect: bool,
    pub(super) will: Option<Publish>,
    pub(super) subscriptions: Vec<Subscription>,
    pub(super) outgoing_max: usize,
    /// The largest packet the client takes.
    pub(super) packet_bytes_max: usize,
    pub(super) outgoing: HashMap<u16, ()>,
    next_id: u16,
    exactly: HashMap<u16, Exactly>,
    /// Every publish not settled yet.
    pub(super) receipts: Receipts<Unsettled>,
    access: Access,
    limits: Arc<MqttListener>,
    source: Arc<str>,
    kind: Arc<str>,
    topic: Arc<str>,
    metrics: SourceMetrics,
}

/// What all sessions of a listener share.
#[derive(Clone)]
pub struct Shared {
    /// The configuration.
    pub limits: Arc<MqttListener>,
    /// CloudEvents source of its events.
    pub source: Arc<str>,
    /// Counts.
    pub metrics: SourceMetrics,
}

impl Session {
    /// A session for a client that was let in.
    pub fn new(
        level: u8,
        client: Arc<str>,
        access: Access,
        shared: &Shared,
        outgoing_max: usize,
    ) -> Session {
        Session {
            level,
            client,
            under_way: 0,
            must_reconnect: false,
            will: None,
            subscriptions: Vec::new(),
            outgoing_max,
            packet_bytes_max: usize::MAX,
            outgoing: HashMap::new(),
            next_id: 0,
            exactly: HashMap::new(),
            receipts: Receipts::default(),
            access,
            limits: Arc::clone(&shared.limits),
            source: Arc::clone(&shared.source),
            kind: "reading".into(),
            topic: "".into(),
            metrics: shared.metrics.clone(),
        }
    }

    /// Takes one packet.
    ///
    /// # Errors
    /// [`Close`] when the connection ends, with the reason the standard gives.
    pub fn take(
        &mut self,
        packet: Packet,
        now: Instant,
        arrivals: &mut Vec<Arrival>,
        out: &mut BytesMut,
    ) -> Result<(), Close> {
        match packet {
            Packet::Connect(_) => Err(Close::new(reason::PROTOCOL_ERROR, "CONNECT was sent twice")),
            Packet::Publish(publish) => self.publish(publish, now, arrivals, out),
            Packet::PubRel(id) => {
                self.exactly.remove(&id);
                reply::acknowledge(out, self.level, reply::PUBCOMP, id, reason::SUCCESS);
                Ok(())
            }
            Packet::PubAck(id) => {
                self.outgoing.remove(&id);
                Ok(())
            }
            Packet::PubRec(_) | Packet::PubComp(_) => Ok(()),
            Packet::Subscribe(subscribe) => self.subscribe(&subscribe, out),
            Packet::Unsubscribe(id, filters) => {
                self.unsubscribe(id, &filters, out);
                Ok(())
            }
            Packet::PingReq => {
                reply::pong(out);
                Ok(())
            }
            Packet::Disconnect { with_will } => {
                if !with_will {
                    self.will = None;
                }
                Err(Close::new(reason::SUCCESS, ""))
            }
        }
    }

    fn publish(
        &mut self,
        publish: Publish,
        now: Instant,
        arrivals: &mut Vec<Arrival>,
        out: &mut BytesMut,
    ) -> Result<(), Close> {
        self.check_publish(&publish)?;
        if publish.qos == 2 && self.is_repetition(publish.packet_id, out) {
            return Ok(());
        }
        if !self.access.may_publish(publish.topic.as_str()) {
            return self.refuse_topic(&publish, out);
        }
        if publish.qos > 0 && self.under_way >= usize::from(self.limits.receive_max) {
            let why = format!("more than {} publishes under way", self.limits.receive_max);
            return Err(Close::new(reason::RECEIVE_MAX_EXCEEDED, why));
        }
        self.under_way += usize::from(publish.qos > 0);
        let ack = self.receipts.issue(Unsettled {
            packet_id: publish.packet_id,
            qos: publish.qos,
            payload_bytes: publish.payload.len(),
            received: now,
        });
        if publish.qos == 2 {
            self.exactly.insert(publish.packet_id, Exactly::UnderWay);
        }
        let event = self.event(publish);
        arrivals.push(Arrival {
            identity: Identity::of_id(&event.id),
            event,
            ack,
        });
        Ok(())
    }

    fn check_publish(&self, publish: &Publish) -> Result<(), Close> {
        let topic = publish.topic.as_str();
        if publish.alias.is_some() {
            return Err(Close::new(
                reason::ALIAS_INVALID,
                "a topic alias was used although the maximum is 0",
            ));
        }
        if topic.is_empty() {
            let why = "neither a topic nor an alias";
            return Err(Close::new(reason::PROTOCOL_ERROR, why));
        }
        if topic.starts_with('$') || !is_valid_topic_name(topic) {
            return Err(Close::new(
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
            return Err(Close::new(reason::TOPIC_NAME_INVALID, why));
        }
        if publish.payload.len() > self.limits.payload_bytes_max {
            let why = format!(
                "a payload of {} bytes is over max_payload = {}",
                publish.payload.len(),
                self.limits.payload_bytes_max
            );
            return Err(Close::new(reason::PACKET_TOO_LARGE, why));
        }
        Ok(())
    }

    /// A QoS 2 publish that is known by its packet identifier (4.3.3).
    fn is_repetition(&mut self, id: u16, out: &mut BytesMut) -> bool {
        match self.exactly.get(&id) {
            None => false,
            Some(Exactly::UnderWay) => true,
            Some(Exactly::Stored) => {
                reply::acknowledge(out, self.level, reply::PUBREC, id, reason::SUCCESS);
                true
            }
        }
    }

    /// MQTT 5 can say so; in MQTT 3.1.1 an ack would claim that it was stored, so it closes.
    fn refuse_topic(&mut self, publish: &Publish, out: &mut BytesMut) -> Result<(), Close> {
        self.metrics.malformed("not authorized");
        let first = match publish.qos {
            1 => reply::PUBACK,
            2 => reply::PUBREC,
            _ => return Ok(()),
        };
        if self.level != V5 {
            let why = format!("not allowed to publish to {}", publish.topic.as_str());
            return Err(Close::new(reason::NOT_AUTHORIZED, why));
        }
        reply::acknowledge(
            out,
            self.level,
            first,
            publish.packet_id,
            reason::NOT_AUTHORIZED,
        );
        Ok(())
    }

    /// The event of a publish; the topic of the last one is used again where it is the same.
    pub(super) fn event(&mut self, publish: Publish) -> Event {
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
        for (name, value) in &publish.user {
            mqtt::read_property(&mut event, name.as_str(), value.as_str());
        }
        event
    }

    /// Whether the client is held back: MQTT 3.1.1 has no word for how many publishes may be
    /// under way, so its packets wait in the socket until some are settled.
    pub fn is_full(&self) -> bool {
        self.level == V311 && self.under_way >= usize::from(self.limits.receive_max)
    }

    /// Counts the verdicts that are there, and replies to them with QoS 1 and 2.
    pub fn settle(&mut self, now: Instant, out: &mut BytesMut) {
        while let Some(Receipt { value, verdict, .. }) = self.receipts.take() {
            match verdict {
                Verdict::Stored => {
                    let took = now.saturating_duration_since(value.received);
                    self.metrics.acknowledged_after(took);
                    self.metrics.accepted(value.payload_bytes);
                }
                Verdict::Refused(_) => self.metrics.refused(),
            }
            match value.qos {
                0 => {}
                1 => self.reply(reply::PUBACK, value.packet_id, verdict, out),
                _ => {
                    self.stands(value.packet_id, verdict);
                    self.reply(reply::PUBREC, value.packet_id, verdict, out);
                }
            }
        }
    }

    fn reply(&mut self, first: u8, id: u16, verdict: Verdict, out: &mut BytesMut) {
        self.under_way = self.under_way.saturating_sub(1);
        match verdict {
            Verdict::Stored => reply::acknowledge(out, self.level, first, id, reason::SUCCESS),
            Verdict::Refused(_) if self.level == V5 => {
                reply::acknowledge(out, self.level, first, id, reason::QUOTA_EXCEEDED);
            }
            Verdict::Refused(_) => self.must_reconnect = true,
        }
    }

    /// After an early PUBREL a packet identifier is free: it may stand for a new event by now.
    fn stands(&mut self, id: u16, verdict: Verdict) {
        match verdict {
            Verdict::Stored => {
                if let Some(stands) = self.exactly.get_mut(&id) {
                    *stands = Exactly::Stored;
                }
            }
            Verdict::Refused(_) => drop(self.exactly.remove(&id)),
        }
    }

    fn subscribe(&mut self, subscribe: &Subscribe, out: &mut BytesMut) -> Result<(), Close> {
        if subscribe.id.is_some() {
            let why = "a subscription identifier, although CONNACK said that there are none";
            return Err(Close::new(reason::SUBSCRIPTION_ID_NOT_SUPPORTED, why));
        }
        let codes: Vec<u8> = subscribe
            .filters
            .iter()
            .map(|(filter, options)| self.subscribe_one(filter.as_str(), *options))
            .collect();
        reply::granted(out, self.level, reply::SUBACK, subscribe.packet_id, &codes);
        Ok(())
    }

    fn subscribe_one(&mut self, text: &str, options: u8) -> u8 {
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

    fn unsubscribe(&mut self, id: u16, filters: &[Text], out: &mut BytesMut) {
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
        reply::granted(out, self.level, reply::UNSUBACK, id, &codes);
    }

    /// Writes a live event to this client if it subscribed to it.
    pub fn live(&mut self, event: &Event, out: &mut BytesMut) {
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
            _ if self.outgoing.len() >= self.outgoing_max => return self.metrics.missed(1),
            _ => self.outgoing_id(),
        };
        let user = mqtt::properties(event);
        let outgoing = reply::Outgoing {
            topic: &event.topic,
            qos,
            packet_id,
            content_type: event.content_type.as_deref(),
            user: &user,
            payload: &event.data,
        };
        let before = out.len();
        reply::publish(out, self.level, &outgoing);
        if out.len() - before > self.packet_bytes_max {
            out.truncate(before);
            self.outgoing.remove(&packet_id);
            self.metrics.missed(1);
        }
    }

    /// A packet identifier that is not in use; the window keeps most of them free.
    fn outgoing_id(&mut self) -> u16 {
        loop {
            self.next_id = self.next_id.wrapping_add(1).max(1);
            if self.outgoing.insert(self.next_id, ()).is_none() {
                return self.next_id;
            }
        }
    }

    /// The will as an event, if the client may publish there.
    pub fn last_words(&mut self) -> Option<Event> {
        let will = self.will.take()?;
        let allowed =
            self.check_publish(&will).is_ok() && self.access.may_publish(will.topic.as_str());
        allowed.then(|| self.event(will))
    }
}
