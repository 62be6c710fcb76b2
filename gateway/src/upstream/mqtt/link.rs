//! The one place that speaks to the client library, for both versions of MQTT.
//!
//! Its event loop runs in a task of its own: it must not be dropped in the middle of a poll. The
//! task ends with the link.

use std::future::{Future, poll_fn};
use std::pin::pin;
use std::sync::Arc;
use std::task::Poll;

use bytes::Bytes;
use rumqttc::{Outgoing, QoS, TlsConfiguration, Transport, v5};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use super::super::Outcome;
use crate::config::{Broker, MqttVersion};

/// Events of the connection told at once.
const BATCH_MAX: usize = 512;
/// The largest packet the library takes from a broker.
const INCOMING_BYTES_MAX: usize = 1024 * 1024;
/// The largest packet the library sends; sources bound payloads far below.
const OUTGOING_BYTES_MAX: usize = 64 * 1024 * 1024;

/// What the connection tells.
#[derive(Debug)]
pub(super) enum Heard {
    /// CONNACK came.
    Connected {
        /// The broker's maximum packet size.
        packet_bytes_max: Option<usize>,
    },
    /// The next queued publish left under this packet identifier.
    Sent(u16),
    /// The broker settled the publish of this packet identifier.
    Settled(u16, Outcome),
}

/// A publish in neither version's shape.
pub(super) struct Publish {
    pub(super) topic: String,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) payload: Bytes,
    pub(super) content_type: Option<String>,
    pub(super) user: Vec<(String, String)>,
}

impl Publish {
    pub(super) fn user_bytes(&self) -> usize {
        self.user
            .iter()
            .map(|(name, value)| name.len() + value.len() + 5)
            .sum()
    }

    fn qos(&self) -> QoS {
        match self.qos {
            2 => QoS::ExactlyOnce,
            _ => QoS::AtLeastOnce,
        }
    }
}

enum Client {
    V311(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

/// A connection under way.
pub(super) struct Link {
    client: Client,
    task: AbortHandle,
}

type Ears = mpsc::UnboundedSender<Vec<Result<Heard, String>>>;
/// What is heard of a connection, as much at once as there is.
pub(super) type News = mpsc::UnboundedReceiver<Vec<Result<Heard, String>>>;

impl Link {
    /// Starts to connect; what happens is heard at the other end.
    pub(super) fn start(
        broker: &Broker,
        tls: Option<Arc<rustls::ClientConfig>>,
        window: usize,
    ) -> (Link, News) {
        let (ears, heard) = mpsc::unbounded_channel();
        let transport = tls.map(|tls| Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
        let (client, task) = match broker.version {
            MqttVersion::V311 => {
                let (client, events) =
                    rumqttc::AsyncClient::new(options(broker, transport, window), window);
                (
                    Client::V311(client),
                    tokio::spawn(listen(events, ears)).abort_handle(),
                )
            }
            MqttVersion::V5 => {
                let (client, events) =
                    v5::AsyncClient::new(options_v5(broker, transport, window), window);
                (
                    Client::V5(client),
                    tokio::spawn(listen_v5(events, ears)).abort_handle(),
                )
            }
        };
        (Link { client, task }, heard)
    }

    /// Queues a publish.
    ///
    /// # Errors
    /// When the library's queue is full, in words.
    pub(super) fn publish(&self, publish: Publish) -> Result<(), String> {
        let qos = publish.qos();
        match &self.client {
            Client::V311(client) => client
                .try_publish(publish.topic, qos, publish.retain, publish.payload)
                .map_err(|error| error.to_string()),
            Client::V5(client) => {
                let properties = v5::mqttbytes::v5::PublishProperties {
                    content_type: publish.content_type,
                    user_properties: publish.user,
                    ..Default::default()
                };
                let qos = match qos {
                    QoS::ExactlyOnce => v5::mqttbytes::QoS::ExactlyOnce,
                    _ => v5::mqttbytes::QoS::AtLeastOnce,
                };
                client
                    .try_publish_with_properties(
                        publish.topic,
                        qos,
                        publish.retain,
                        publish.payload,
                        properties,
                    )
                    .map_err(|error| error.to_string())
            }
        }
    }

    /// Says goodbye and gives it a moment to leave.
    pub(super) async fn disconnect(self) {
        let _ = match &self.client {
            Client::V311(client) => client.try_disconnect().map_err(drop),
            Client::V5(client) => client.try_disconnect().map_err(drop),
        };
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

impl Drop for Link {
    fn drop(&mut self) {
        self.task.abort();
    }
}

/// How many packet identifiers are used before they wrap: above the window, so that none is
/// met again while it is under way. The library keeps a slot for each.
fn identifiers(window: usize) -> u16 {
    u16::try_from(window.saturating_mul(2)).unwrap_or(u16::MAX)
}

fn options(broker: &Broker, transport: Option<Transport>, window: usize) -> rumqttc::MqttOptions {
    let mut options = rumqttc::MqttOptions::new(&broker.client_id, &broker.host, broker.port);
    options.set_keep_alive(broker.keep_alive);
    options.set_clean_session(true);
    options.set_inflight(identifiers(window));
    options.set_max_packet_size(INCOMING_BYTES_MAX, OUTGOING_BYTES_MAX);
    if let Some((user, password)) = &broker.login {
        options.set_credentials(user, password.reveal());
    }
    if let Some(transport) = transport {
        options.set_transport(transport);
    }
    options
}

fn options_v5(broker: &Broker, transport: Option<Transport>, window: usize) -> v5::MqttOptions {
    let mut options = v5::MqttOptions::new(&broker.client_id, &broker.host, broker.port);
    options.set_keep_alive(broker.keep_alive);
    options.set_clean_start(true);
    options.set_outgoing_inflight_upper_limit(identifiers(window));
    options.set_max_packet_size(Some(INCOMING_BYTES_MAX as u32));
    if let Some((user, password)) = &broker.login {
        options.set_credentials(user, password.reveal());
    }
    if let Some(transport) = transport {
        options.set_transport(transport);
    }
    options
}

async fn listen(mut events: rumqttc::EventLoop, ears: Ears) {
    let mut relay = Relay::new(ears);
    while relay.pass(events.poll(), heard).await {}
}

async fn listen_v5(mut events: v5::EventLoop, ears: Ears) {
    let mut relay = Relay::new(ears);
    while relay.pass(events.poll(), heard_v5).await {}
}

fn heard(event: Result<rumqttc::Event, rumqttc::ConnectionError>) -> Option<Result<Heard, String>> {
    use rumqttc::{Event, Packet};
    let heard = match event {
        Ok(Event::Incoming(Packet::ConnAck(_))) => Heard::Connected {
            packet_bytes_max: None,
        },
        Ok(Event::Incoming(Packet::PubAck(ack))) => Heard::Settled(ack.pkid, Outcome::Confirmed),
        Ok(Event::Incoming(Packet::PubComp(complete))) => {
            Heard::Settled(complete.pkid, Outcome::Confirmed)
        }
        Ok(Event::Outgoing(Outgoing::Publish(id))) => Heard::Sent(id),
        Ok(_) => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    Some(Ok(heard))
}

fn heard_v5(event: Result<v5::Event, v5::ConnectionError>) -> Option<Result<Heard, String>> {
    use v5::Event;
    use v5::mqttbytes::v5::Packet;
    let heard = match event {
        Ok(Event::Incoming(Packet::ConnAck(ack))) => Heard::Connected {
            packet_bytes_max: ack
                .properties
                .and_then(|p| p.max_packet_size)
                .map(|max| max as usize),
        },
        Ok(Event::Incoming(Packet::PubAck(ack))) => Heard::Settled(ack.pkid, outcome(ack.reason)),
        Ok(Event::Incoming(Packet::PubComp(complete))) => {
            Heard::Settled(complete.pkid, Outcome::Confirmed)
        }
        Ok(Event::Incoming(Packet::Disconnect(goodbye))) => {
            let reason = goodbye.reason_code;
            return Some(Err(format!("the broker disconnected: {reason:?}")));
        }
        Ok(Event::Outgoing(Outgoing::Publish(id))) => Heard::Sent(id),
        Ok(_) => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    Some(Ok(heard))
}

/// Passes on what is heard, all there is at once: each message to the forwarder wakes it, and a
/// wake costs more than the message.
struct Relay {
    ears: Ears,
    batch: Vec<Result<Heard, String>>,
}

impl Relay {
    fn new(ears: Ears) -> Relay {
        let batch = Vec::new();
        Relay { ears, batch }
    }

    /// Passes on what one poll of the library gives; `false` when that was the last.
    async fn pass<T>(
        &mut self,
        poll: impl Future<Output = T>,
        heard: impl FnOnce(T) -> Option<Result<Heard, String>>,
    ) -> bool {
        // The same future is tried and then awaited: the library must finish each poll it began.
        let mut poll = pin!(poll);
        let tried = poll_fn(|context| Poll::Ready(poll.as_mut().poll(context))).await;
        let event = match tried {
            Poll::Ready(event) => event,
            Poll::Pending if !self.send() => return false,
            Poll::Pending => poll.await,
        };
        let heard = heard(event);
        let over = matches!(heard, Some(Err(_)));
        self.batch.extend(heard);
        if over || self.batch.len() >= BATCH_MAX {
            return self.send() && !over;
        }
        true
    }

    /// `false` when nobody listens any more.
    fn send(&mut self) -> bool {
        self.batch.is_empty() || self.ears.send(std::mem::take(&mut self.batch)).is_ok()
    }
}

/// What a PUBACK of MQTT 5 means (3.4.2.1): nobody subscribing is no failure, a quota passes, and
/// the rest is a definite refusal of this event.
fn outcome(reason: v5::mqttbytes::v5::PubAckReason) -> Outcome {
    use v5::mqttbytes::v5::PubAckReason as Reason;
    match reason {
        Reason::Success | Reason::NoMatchingSubscribers => Outcome::Confirmed,
        Reason::QuotaExceeded => Outcome::busy("the broker's quota is exceeded (0x97)"),
        Reason::PacketIdentifierInUse => Outcome::busy("packet identifier in use (0x91)"),
        Reason::UnspecifiedError => Outcome::Refused("unspecified error (0x80)".into()),
        Reason::ImplementationSpecificError => {
            Outcome::Refused("implementation specific error (0x83)".into())
        }
        Reason::NotAuthorized => Outcome::Refused("not authorized (0x87)".into()),
        Reason::TopicNameInvalid => Outcome::Refused("topic name invalid (0x90)".into()),
        Reason::PayloadFormatInvalid => Outcome::Refused("payload format invalid (0x99)".into()),
    }
}
