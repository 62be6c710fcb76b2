//! Publishes to an MQTT broker, 3.1.1 or 5.
//!
//! The client library forgets what it was given when a session is lost, so it is never trusted
//! with more than the window: on every disconnect its event loop is thrown away, and the lane
//! offers everything unconfirmed again. The library tells the packet identifier of a publish
//! only when it leaves; deliveries queue in the order they were handed over and are paired with
//! those identifiers first in, first out.

pub mod config;
mod connection;
mod text;

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use super::format::Format;
use super::open::OpenUpstream;
use super::topic_template;
use super::{Delivery, Outcome, Token, Trouble, Upstream};
use crate::config::MqttVersion;
use crate::event::cloudevents::{json, mqtt};
use config::MqttUpstream;
use connection::{
    BrokerConnection, BrokerLimits, ConnectionEvent, ConnectionEvents, OutgoingMessage,
};

/// Publishes in the library at once; its packet identifiers wrap above.
const WINDOW_MAX: usize = 4096;
/// From connecting to CONNACK.
const CONNECT_MAX: Duration = Duration::from_secs(10);

/// An `mqtt` upstream.
pub struct MqttOut {
    config: MqttUpstream,
    gateway: Arc<str>,
    tls: Option<Arc<rustls::ClientConfig>>,
    session: Option<PublishSession>,
    /// Settled without being sent.
    refused: Vec<(Token, Outcome)>,
}

struct PublishSession {
    connection: BrokerConnection,
    events: ConnectionEvents,
    /// Handed to the library, packet identifier not known yet.
    queued: VecDeque<Token>,
    sent: HashMap<u16, Token>,
    limits: BrokerLimits,
    /// Refused, and in flight for the library all the same.
    stuck: usize,
    /// Why the connection is over, to be told after what was settled on it.
    broken: Option<Trouble>,
}

impl OpenUpstream for MqttUpstream {
    type Upstream = MqttOut;

    fn open(&self, gateway_id: &str) -> Result<MqttOut, String> {
        MqttOut::new(self.clone(), gateway_id)
    }
}

impl MqttOut {
    /// For the broker that the configuration names.
    ///
    /// # Errors
    /// When a certificate cannot be read.
    pub fn new(config: MqttUpstream, gateway: &str) -> Result<MqttOut, String> {
        let tls = config
            .broker
            .tls
            .as_ref()
            .map(crate::config::connection::tls::client::config);
        Ok(MqttOut {
            tls: tls.transpose()?.map(Arc::new),
            gateway: gateway.into(),
            session: None,
            refused: Vec::new(),
            config,
        })
    }

    /// The message of a delivery.
    fn message(&self, delivery: &Delivery) -> Result<OutgoingMessage, String> {
        let topic = topic_template::filled(&self.config.topic, delivery, &self.gateway);
        text::check_topic(&topic)?;
        let structured = self.config.format == Format::Structured;
        let content_type = match structured {
            true => Some(json::CONTENT_TYPE.into()),
            false => delivery.event.content_type.as_deref().map(str::to_owned),
        };
        let user = match structured {
            true => Vec::new(),
            false => mqtt::properties_of(delivery),
        };
        let payload = match structured {
            true => json::structured(delivery).into(),
            false => delivery.payload().clone(),
        };
        if self.config.broker.version == MqttVersion::V5 {
            text::check_properties(content_type.as_deref(), &user)?;
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
        let broker = &self.config.broker;
        let (connection, events) = BrokerConnection::start(broker, self.tls.clone(), WINDOW_MAX);
        let mut session = PublishSession {
            connection,
            events,
            queued: VecDeque::new(),
            sent: HashMap::new(),
            limits: BrokerLimits::NONE,
            stuck: 0,
            broken: None,
        };
        let events = tokio::time::timeout(CONNECT_MAX, session.events.recv()).await;
        // Nothing was sent yet, so that CONNACK comes alone or an error does.
        match events.map(|events| events.and_then(|events| events.into_iter().next())) {
            Ok(Some(Ok(ConnectionEvent::Connected(limits)))) => {
                let MqttUpstream { qos, retain, .. } = self.config;
                if let Some(obstacle) = limits.obstacle(qos, retain) {
                    session.connection.disconnect().await;
                    return Err(Trouble::new(format!("{}: {obstacle}", broker.url)));
                }
                session.limits = limits;
                self.session = Some(session);
                Ok(())
            }
            Ok(Some(Err(why))) => Err(Trouble::new(format!("{}: {why}", broker.url))),
            Ok(_) => Err(Trouble::new(format!(
                "{}: the connection ended before CONNACK",
                broker.url
            ))),
            Err(_) => Err(Trouble::new(format!(
                "{}: no CONNACK within {} s",
                broker.url,
                CONNECT_MAX.as_secs()
            ))),
        }
    }

    fn room(&self) -> usize {
        self.session.as_ref().map_or(0, PublishSession::room)
    }

    fn offer(&mut self, batch: Vec<Delivery>) {
        for delivery in batch {
            let refused = match self.message(&delivery) {
                Err(why) => Some(Outcome::Undeliverable(why)),
                Ok(message) => self
                    .session
                    .as_mut()
                    .and_then(|session| session.send(delivery.token, message)),
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
        let Some(session) = &mut self.session else {
            return Err(Trouble::new("not connected"));
        };
        if let Some(trouble) = session.broken.take() {
            return Err(trouble);
        }
        let mut settled = Vec::new();
        while settled.is_empty() && session.broken.is_none() {
            let events = session.events.recv().await;
            for event in events.ok_or_else(|| Trouble::new("the connection ended"))? {
                let taken = event.and_then(|event| session.take(event));
                match taken {
                    Ok(answer) => settled.extend(answer),
                    Err(why) => {
                        let url = &self.config.broker.url;
                        session.broken = Some(Trouble::new(format!("{url}: {why}")));
                    }
                }
            }
        }
        match session.broken.take_if(|_| settled.is_empty()) {
            Some(trouble) => Err(trouble),
            None => Ok(settled),
        }
    }

    async fn close(&mut self) {
        if let Some(session) = self.session.take() {
            session.connection.disconnect().await;
        }
    }
}

impl PublishSession {
    /// Hands a message to the library; what comes back is settled at once.
    fn send(&mut self, token: Token, message: OutgoingMessage) -> Option<Outcome> {
        let (bytes, max) = (message.packet_bytes(), self.limits.packet_bytes_max);
        if bytes > max {
            return Some(Outcome::Undeliverable(format!(
                "{bytes} bytes are over the broker's maximum packet size {max}"
            )));
        }
        match self.connection.publish(message) {
            Ok(()) => {
                self.queued.push_back(token);
                None
            }
            Err(why) => Some(Outcome::busy(why)),
        }
    }

    fn under_way(&self) -> usize {
        self.queued.len() + self.sent.len()
    }

    fn room(&self) -> usize {
        let max = self.limits.in_flight_max.min(WINDOW_MAX);
        max.saturating_sub(self.under_way() + self.stuck)
    }

    /// What an event settles.
    ///
    /// # Errors
    /// Why the connection is of no more use.
    fn take(&mut self, event: ConnectionEvent) -> Result<Option<(Token, Outcome)>, String> {
        let settled = match event {
            ConnectionEvent::Connected(_) => None,
            ConnectionEvent::Sent(id) => {
                let token = self.queued.pop_front();
                token.and_then(|token| self.sent.insert(id, token));
                None
            }
            ConnectionEvent::Settled(id, outcome) => {
                self.sent.remove(&id).map(|token| (token, outcome))
            }
            ConnectionEvent::RefusedReceipt(id, outcome) => {
                self.stuck += 1;
                let settled = self.sent.remove(&id).map(|token| (token, outcome));
                if self.under_way() == 0 && self.room() == 0 {
                    self.broken = Some(Trouble::new("refused events fill the window of QoS 2"));
                }
                settled
            }
            ConnectionEvent::Unreadable(reason) => {
                let reason = connection::unreadable(reason);
                let mut sent = self.sent.drain();
                let (Some((_, token)), None) = (sent.next(), sent.next()) else {
                    return Err(format!(
                        "the broker refused one of several events: {reason}"
                    ));
                };
                Some((token, Outcome::Refused(reason)))
            }
        };
        Ok(settled)
    }
}
