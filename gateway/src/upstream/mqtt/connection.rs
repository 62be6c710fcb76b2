//! The one place that speaks to the client library, for both versions of MQTT.
//!
//! Its event loop runs in a task of its own: it must not be dropped in the middle of a poll. The
//! task ends with the connection.

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
pub(super) enum ConnectionEvent {
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

/// What is published, in neither version's shape.
pub(super) struct OutgoingMessage {
    pub(super) topic: String,
    pub(super) qos: u8,
    pub(super) retain: bool,
    pub(super) payload: Bytes,
    pub(super) content_type: Option<String>,
    pub(super) user: Vec<(String, String)>,
}

impl OutgoingMessage {
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

/// The library's client for the version of the broker.
enum LibraryPublisher {
    V311(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

/// A connection under way.
pub(super) struct BrokerConnection {
    client: LibraryPublisher,
    task: AbortHandle,
}

type EventSender = mpsc::UnboundedSender<Vec<Result<ConnectionEvent, String>>>;
/// What happens to a connection, as much at once as there is.
pub(super) type ConnectionEvents = mpsc::UnboundedReceiver<Vec<Result<ConnectionEvent, String>>>;

impl BrokerConnection {
    /// Starts to connect; what happens comes out at the other end.
    pub(super) fn start(
        broker: &Broker,
        tls: Option<Arc<rustls::ClientConfig>>,
        window: usize,
    ) -> (BrokerConnection, ConnectionEvents) {
        let (sender, happened) = mpsc::unbounded_channel();
        let transport = tls.map(|tls| Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
        let (client, task) = match broker.version {
            MqttVersion::V311 => {
                let (client, events) =
                    rumqttc::AsyncClient::new(options(broker, transport, window), window);
                (
                    LibraryPublisher::V311(client),
                    tokio::spawn(listen(events, sender)).abort_handle(),
                )
            }
            MqttVersion::V5 => {
                let (client, events) =
                    v5::AsyncClient::new(options_v5(broker, transport, window), window);
                (
                    LibraryPublisher::V5(client),
                    tokio::spawn(listen_v5(events, sender)).abort_handle(),
                )
            }
        };
        (BrokerConnection { client, task }, happened)
    }

    /// Queues a publish.
    ///
    /// # Errors
    /// When the library's queue is full, in words.
    pub(super) fn publish(&self, message: OutgoingMessage) -> Result<(), String> {
        let qos = message.qos();
        match &self.client {
            LibraryPublisher::V311(client) => client
                .try_publish(message.topic, qos, message.retain, message.payload)
                .map_err(|error| error.to_string()),
            LibraryPublisher::V5(client) => {
                let properties = v5::mqttbytes::v5::PublishProperties {
                    content_type: message.content_type,
                    user_properties: message.user,
                    ..Default::default()
                };
                let qos = match qos {
                    QoS::ExactlyOnce => v5::mqttbytes::QoS::ExactlyOnce,
                    _ => v5::mqttbytes::QoS::AtLeastOnce,
                };
                client
                    .try_publish_with_properties(
                        message.topic,
                        qos,
                        message.retain,
                        message.payload,
                        properties,
                    )
                    .map_err(|error| error.to_string())
            }
        }
    }

    /// Says goodbye and gives it a moment to leave.
    pub(super) async fn disconnect(self) {
        let _ = match &self.client {
            LibraryPublisher::V311(client) => client.try_disconnect().map_err(drop),
            LibraryPublisher::V5(client) => client.try_disconnect().map_err(drop),
        };
        tokio::time::sleep(std::time::Duration::from_millis(50)).await;
    }
}

impl Drop for BrokerConnection {
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

async fn listen(mut events: rumqttc::EventLoop, sender: EventSender) {
    let mut relay = EventRelay::new(sender);
    while relay.pass(events.poll(), told).await {}
}

async fn listen_v5(mut events: v5::EventLoop, sender: EventSender) {
    let mut relay = EventRelay::new(sender);
    while relay.pass(events.poll(), told_v5).await {}
}

fn told(
    event: Result<rumqttc::Event, rumqttc::ConnectionError>,
) -> Option<Result<ConnectionEvent, String>> {
    use rumqttc::{Event, Packet};
    let told = match event {
        Ok(Event::Incoming(Packet::ConnAck(_))) => ConnectionEvent::Connected {
            packet_bytes_max: None,
        },
        Ok(Event::Incoming(Packet::PubAck(ack))) => {
            ConnectionEvent::Settled(ack.pkid, Outcome::Confirmed)
        }
        Ok(Event::Incoming(Packet::PubComp(complete))) => {
            ConnectionEvent::Settled(complete.pkid, Outcome::Confirmed)
        }
        Ok(Event::Outgoing(Outgoing::Publish(id))) => ConnectionEvent::Sent(id),
        Ok(_) => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    Some(Ok(told))
}

fn told_v5(
    event: Result<v5::Event, v5::ConnectionError>,
) -> Option<Result<ConnectionEvent, String>> {
    use v5::Event;
    use v5::mqttbytes::v5::Packet;
    let told = match event {
        Ok(Event::Incoming(Packet::ConnAck(ack))) => ConnectionEvent::Connected {
            packet_bytes_max: ack
                .properties
                .and_then(|p| p.max_packet_size)
                .map(|max| max as usize),
        },
        Ok(Event::Incoming(Packet::PubAck(ack))) => {
            ConnectionEvent::Settled(ack.pkid, outcome(ack.reason))
        }
        Ok(Event::Incoming(Packet::PubComp(complete))) => {
            ConnectionEvent::Settled(complete.pkid, Outcome::Confirmed)
        }
        Ok(Event::Incoming(Packet::Disconnect(goodbye))) => {
            let reason = goodbye.reason_code;
            return Some(Err(format!("the broker disconnected: {reason:?}")));
        }
        Ok(Event::Outgoing(Outgoing::Publish(id))) => ConnectionEvent::Sent(id),
        Ok(_) => return None,
        Err(error) => return Some(Err(error.to_string())),
    };
    Some(Ok(told))
}

/// Passes on what the connection tells, all there is at once: each message to the forwarder wakes it, and a
/// wake costs more than the message.
struct EventRelay {
    sender: EventSender,
    batch: Vec<Result<ConnectionEvent, String>>,
}

impl EventRelay {
    fn new(sender: EventSender) -> EventRelay {
        let batch = Vec::new();
        EventRelay { sender, batch }
    }

    /// Passes on what one poll of the library gives; `false` when that was the last.
    async fn pass<T>(
        &mut self,
        poll: impl Future<Output = T>,
        told: impl FnOnce(T) -> Option<Result<ConnectionEvent, String>>,
    ) -> bool {
        // The same future is tried and then awaited: the library must finish each poll it began.
        let mut poll = pin!(poll);
        let tried = poll_fn(|context| Poll::Ready(poll.as_mut().poll(context))).await;
        let event = match tried {
            Poll::Ready(event) => event,
            Poll::Pending if !self.send() => return false,
            Poll::Pending => poll.await,
        };
        let told = told(event);
        let over = matches!(told, Some(Err(_)));
        self.batch.extend(told);
        if over || self.batch.len() >= BATCH_MAX {
            return self.send() && !over;
        }
        true
    }

    /// `false` when nobody listens any more.
    fn send(&mut self) -> bool {
        self.batch.is_empty() || self.sender.send(std::mem::take(&mut self.batch)).is_ok()
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
