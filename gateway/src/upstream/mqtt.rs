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
use crate::event::cloudevents::{json, mqtt};
use crate::event::way::Way;
use crate::event::way::sent::Content;
use crate::time::clock;
use config::MqttUpstream;
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
            session: None,
            refused: Vec::new(),
            config,
        })
    }

    /// Bytes of the PUBLISH of a short event without a payload.
    fn least_bytes(&self) -> usize {
        let delivery = Delivery::least(&self.gateway, self.way.mark());
        let message = self.message(&delivery);
        message.map_or(0, |message| message.size(self.config.broker.version))
    }

    /// The message of a delivery.
    fn message<'a>(&self, delivery: &'a Delivery) -> Result<OutgoingMessage<'a>, String> {
        let topic = topic_template::filled(&self.config.topic, delivery, &self.gateway);
        text::check_topic(&topic)?;
        let structured = self.config.format == Format::Structured;
        let v5 = self.config.broker.version == MqttVersion::V5;
        let content_type = match structured {
            true => Some(json::CONTENT_TYPE),
            false => delivery.event.content_type.as_deref(),
        };
        let user = match (v5, structured) {
            (false, _) => Vec::new(),
            (true, true) => mqtt::way_of(delivery),
            (true, false) => mqtt::properties_of(delivery),
        };
        let payload = match structured {
            true => json::structured(delivery).into(),
            false => delivery.payload().clone(),
        };
        if v5 {
            text::check_properties(content_type, &user)?;
        }
        Ok(OutgoingMessage {
            topic,
            qos: self.config.qos,
            retain: self.config.retain,
            payload,
            content_type,
            user,
        })
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
        if let Some(obstacle) = limits.obstacle(*qos, *retain, self.least_bytes()) {
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
        let now = clock::monotonic();
        for delivery in batch {
            let message = self.message(&delivery);
            let refused = match (message, &mut self.session) {
                (Err(why), _) => Some(Outcome::Undeliverable(why)),
                (Ok(_), None) => None,
                (Ok(message), Some(session)) => {
                    let content = Content {
                        topic: &message.topic,
                        payload: &message.payload,
                    };
                    let id = delivery.id();
                    self.way
                        .sent(&self.name, content, &id, &delivery.event, now);
                    session.send(delivery.token, &message, self.config.broker.version)
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
        message: &OutgoingMessage<'_>,
        version: MqttVersion,
    ) -> Option<Outcome> {
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
