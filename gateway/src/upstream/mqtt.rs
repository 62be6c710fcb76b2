//! Publishes to an MQTT broker, 3.1.1 or 5.
//!
//! The store is the only queue: a session of the broker ends with its connection, and the lane offers everything unconfirmed
//! again on the next one. That session is ours, for the client library ends a connection over reasons that it does not know, and
//! goes on counting what was refused; its codec writes CONNECT.

pub mod config;
mod connection;
mod limits;
mod packet;
mod reason;
mod text;

use std::collections::HashMap;
use std::hash::{BuildHasherDefault, Hasher};
use std::sync::Arc;
use std::time::Duration;

use super::format::Format;
use super::open::{OpenUpstream, Opening};
use super::topic_template;
use super::{Delivery, Outcome, Token, Trouble, Upstream};
use crate::config::MqttVersion;
use crate::event::cloudevents::mqtt::publish::PublishProperties;
use crate::event::cloudevents::{json, mqtt};
use crate::event::delivery::expiry::{ExpiryClock, Remaining};
use crate::event::way::Way;
use crate::event::way::sent::Content;
use crate::time::clock::{self, Now};
use config::{MqttUpstream, Retain};
use connection::BrokerConnection;
use limits::BrokerLimits;
use packet::{Acknowledgement, Incoming, OutgoingMessage};

/// Publishes under way at once.
const WINDOW_MAX: usize = 4096;
/// From connecting to CONNACK.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How often it is looked whether what is held may go on.
const HELD_LOOK: Duration = Duration::from_millis(50);

/// An `mqtt` upstream.
pub struct MqttOut {
    config: MqttUpstream,
    name: Arc<str>,
    gateway: Arc<str>,
    way: Way,
    expiry: ExpiryClock,
    tls: Option<Arc<rustls::ClientConfig>>,
    session: Option<PublishSession>,
    /// Settled without being sent.
    refused: Vec<(Token, Outcome)>,
}

struct PublishSession {
    connection: BrokerConnection,
    limits: BrokerLimits,
    last_id: u16,
    /// By packet identifier.
    under_way: HashMap<u16, UnderWay, BuildHasherDefault<IdHasher>>,
    /// Why the connection is over, to be told after what was settled on it.
    broken: Option<String>,
}

/// Spreads packet identifiers, which are ours: nobody aims at a collision.
#[derive(Default)]
struct IdHasher(u64);

impl Hasher for IdHasher {
    fn finish(&self) -> u64 {
        self.0.wrapping_mul(0x9e37_79b9_7f4a_7c15)
    }

    fn write(&mut self, bytes: &[u8]) {
        for byte in bytes {
            self.0 = self.0 << 8 | u64::from(*byte);
        }
    }
}

/// A publish that is not settled.
struct UnderWay {
    token: Token,
    qos: u8,
    /// PUBREC came.
    received: bool,
}

impl OpenUpstream for MqttUpstream {
    type Upstream = MqttOut;
    const KEEPS_CONNECTION: bool = true;

    fn open(&self, opening: Opening<'_>) -> Result<MqttOut, String> {
        MqttOut::new(self.clone(), opening)
    }
}

impl MqttOut {
    /// For the broker that the configuration names.
    ///
    /// # Errors
    /// When a certificate cannot be read.
    pub fn new(config: MqttUpstream, opening: Opening<'_>) -> Result<MqttOut, String> {
        let tls = config
            .broker
            .tls
            .as_ref()
            .map(crate::config::connection::tls::client::config);
        Ok(MqttOut {
            tls: tls.transpose()?.map(Arc::new),
            name: opening.name.into(),
            gateway: opening.gateway_id.into(),
            way: opening.way.clone(),
            expiry: opening.expiry.clone(),
            session: None,
            refused: Vec::new(),
            config,
        })
    }

    /// Bytes of the PUBLISH of a short event without a payload.
    fn least_bytes(&self) -> usize {
        let delivery = Delivery::least(&self.gateway, self.way.mark());
        let message = self.message(&delivery, Remaining::Unlimited);
        message.map_or(0, |message| message.size(self.config.broker.version))
    }

    /// The message of a delivery.
    fn message<'a>(
        &self,
        delivery: &'a Delivery,
        remaining: Remaining,
    ) -> Result<OutgoingMessage<'a>, String> {
        let topic = topic_template::filled(&self.config.topic, delivery, &self.gateway);
        text::check_topic(&topic)?;
        let structured = self.config.format == Format::Structured;
        let payload = match structured {
            true => json::structured(delivery).into(),
            false => delivery.payload().clone(),
        };
        let properties = match (self.config.broker.version, structured) {
            (MqttVersion::V311, _) => PublishProperties::default(),
            (MqttVersion::V5, true) => PublishProperties {
                content_type: Some(json::CONTENT_TYPE),
                ..PublishProperties::of(
                    &delivery.event,
                    &payload,
                    remaining,
                    mqtt::beside_document(delivery),
                )
            },
            (MqttVersion::V5, false) => {
                let user = mqtt::properties_of(delivery);
                PublishProperties::of(&delivery.event, &payload, remaining, user)
            }
        };
        text::check_properties(&properties)?;
        let options = delivery.output.options.as_deref();
        let qos = options.and_then(|options| options.qos);
        Ok(OutgoingMessage {
            topic,
            // One of QoS 0 would never be acknowledged.
            qos: qos.map_or(self.config.qos, |qos| qos.clamp(1, 2)),
            retain: self.retains(delivery, &payload),
            payload,
            properties,
        })
    }

    /// Whether a delivery goes out as a retained message. An empty one wipes what is retained, so only one that came to do
    /// that does.
    fn retains(&self, delivery: &Delivery, payload: &[u8]) -> bool {
        let event = &delivery.event;
        let came_so = mqtt::is_retained(event);
        let options = delivery.output.options.as_deref();
        let of_rule = options.and_then(|options| options.retain);
        let wanted = of_rule.unwrap_or(match self.config.retain {
            Retain::Never => false,
            Retain::Keep => came_so,
            Retain::Always => true,
        });
        wanted && (!payload.is_empty() || (came_so && event.data.is_empty()))
    }

    /// What is left of the time of a delivery. An event that a rule made has a time of its own.
    fn remaining(&self, delivery: &Delivery, now: Now) -> Remaining {
        let options = delivery.output.options.as_deref();
        match options.is_some_and(|options| options.made.is_some()) {
            true => Remaining::Unlimited,
            false => self.expiry.remaining(&delivery.event, now),
        }
    }
}

impl Upstream for MqttOut {
    async fn connect(&mut self) -> Result<(), Trouble> {
        self.session = None;
        self.refused.clear();
        let MqttUpstream {
            broker,
            qos,
            retain,
            ..
        } = &self.config;
        let trouble = |why: &str| Trouble::new(format!("{}: {why}", broker.url));
        let opened = BrokerConnection::open(broker, self.tls.clone());
        let (connection, limits) = match tokio::time::timeout(CONNECT_MAX, opened).await {
            Ok(opened) => opened.map_err(|why| trouble(&why))?,
            Err(_) => {
                let seconds = CONNECT_MAX.as_secs();
                return Err(trouble(&format!("no CONNACK within {seconds} s")));
            }
        };
        let retain = *retain == Retain::Always;
        if let Some(obstacle) = limits.obstacle(*qos, retain, self.least_bytes()) {
            connection.close().await;
            return Err(trouble(&obstacle));
        }
        self.session = Some(PublishSession {
            connection,
            limits,
            last_id: 0,
            under_way: HashMap::default(),
            broken: None,
        });
        Ok(())
    }

    fn room(&self) -> usize {
        let room = self.session.as_ref().map_or(0, PublishSession::room);
        match room > 0 && self.way.holds(&self.name, clock::monotonic()) {
            true => 0,
            false => room,
        }
    }

    fn offer(&mut self, batch: Vec<Delivery>) {
        let now = clock::now();
        for delivery in batch {
            let remaining = self.remaining(&delivery, now);
            let message = self.message(&delivery, remaining);
            let refused = match (message, &mut self.session) {
                _ if remaining == Remaining::Expired => Some(Outcome::Expired),
                (Err(why), _) => Some(Outcome::Undeliverable(why)),
                (Ok(_), None) => None,
                (Ok(mut message), Some(session)) => {
                    let content = Content {
                        topic: &message.topic,
                        payload: &message.payload,
                    };
                    let (id, event) = (delivery.id(), &delivery.event);
                    self.way.sent(&self.name, content, &id, event, now.instant);
                    session.send(delivery.token, &mut message, self.config.broker.version)
                }
            };
            if let Some(outcome) = refused {
                self.refused.push((delivery.token, outcome));
            }
        }
    }

    async fn settled(&mut self) -> Result<Vec<(Token, Outcome)>, Trouble> {
        if !self.refused.is_empty() {
            return Ok(std::mem::take(&mut self.refused));
        }
        let held = self.way.holds(&self.name, clock::monotonic());
        let Some(session) = &mut self.session else {
            return Err(Trouble::new("not connected"));
        };
        tokio::select! {
            settled = session.settled() => settled.map_err(|why| {
                Trouble::new(format!("{}: {why}", self.config.broker.url))
            }),
            () = tokio::time::sleep(HELD_LOOK), if held => Ok(Vec::new()),
        }
    }

    async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.connection.close().await;
        }
    }
}

impl PublishSession {
    /// Writes a message; what comes back is settled at once.
    fn send(
        &mut self,
        token: Token,
        message: &mut OutgoingMessage<'_>,
        version: MqttVersion,
    ) -> Option<Outcome> {
        // What this broker has no place for is left out; what the configuration asks for it was asked about.
        message.qos = message.qos.min(self.limits.qos_max);
        message.retain &= self.limits.retains;
        let qos = message.qos;
        let (bytes, max) = (message.size(version), self.limits.packet_bytes_max);
        if bytes > max {
            return Some(Outcome::Undeliverable(format!(
                "{bytes} bytes are over the broker's maximum packet size {max}"
            )));
        }
        let id = self.next_id();
        if let Err(why) = message.write(version, id, &mut self.connection.out) {
            return Some(Outcome::Undeliverable(why));
        }
        let received = false;
        self.under_way.insert(
            id,
            UnderWay {
                token,
                qos,
                received,
            },
        );
        None
    }

    /// A packet identifier that is not under way; the window keeps most of them free.
    fn next_id(&mut self) -> u16 {
        loop {
            self.last_id = self.last_id.wrapping_add(1).max(1);
            if !self.under_way.contains_key(&self.last_id) {
                return self.last_id;
            }
        }
    }

    fn room(&self) -> usize {
        let max = self.limits.in_flight_max.min(WINDOW_MAX);
        max.saturating_sub(self.under_way.len())
    }

    /// Drives the connection until something is settled; may be given up at any time.
    async fn settled(&mut self) -> Result<Vec<(Token, Outcome)>, String> {
        loop {
            if let Some(why) = self.broken.take() {
                return Err(why);
            }
            let mut settled = Vec::new();
            for incoming in self.connection.receive().await? {
                match self.take(incoming) {
                    Ok(answer) => settled.extend(answer),
                    Err(why) => {
                        self.broken = Some(why);
                        break;
                    }
                }
            }
            if !settled.is_empty() {
                return Ok(settled);
            }
        }
    }

    /// What a packet settles.
    ///
    /// # Errors
    /// Why the connection is of no more use.
    fn take(&mut self, incoming: Incoming) -> Result<Option<(Token, Outcome)>, String> {
        let Acknowledgement { id, reason, said } = match incoming {
            Incoming::PubAck(acknowledgement) => acknowledgement,
            Incoming::PubRec(acknowledgement) if acknowledgement.reason < 0x80 => {
                if let Some(publish) = self.under_way.get_mut(&acknowledgement.id) {
                    publish.received = true;
                }
                let pubrel = packet::pubrel(acknowledgement.id);
                self.connection.out.extend_from_slice(&pubrel);
                return Ok(None);
            }
            Incoming::PubRec(acknowledgement) => acknowledgement,
            // It has had the event since PUBREC, whatever it says now.
            Incoming::PubComp(id) => Acknowledgement {
                id,
                reason: 0,
                said: None,
            },
            Incoming::ConnAck { .. } => return Err("the broker sends a second CONNACK".into()),
            Incoming::Disconnect(_) | Incoming::Other => return Ok(None),
        };
        let Some(publish) = self.under_way.remove(&id) else {
            return Err(format!(
                "the broker acknowledges packet {id}, which is not under way"
            ));
        };
        let is_taken = reason < 0x80;
        if is_taken && publish.qos == 2 && !publish.received {
            return Err(format!(
                "the broker acknowledges packet {id} of QoS 2 without PUBREC"
            ));
        }
        Ok(Some((
            publish.token,
            reason::outcome(reason, said.as_deref()),
        )))
    }
}
