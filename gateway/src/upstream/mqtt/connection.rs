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
    Connected(BrokerLimits),
    /// The broker settled a publish with a reason that the library cannot read, and thereby does
    /// not tell which. The connection is over.
    Unreadable(u8),
    /// The next queued publish left under this packet identifier.
    Sent(u16),
    /// The broker settled the publish of this packet identifier.
    Settled(u16, Outcome),
    /// The same with the PUBREC of a QoS 2 publish: the library goes on counting it as in flight.
    RefusedReceipt(u16, Outcome),
}

/// What a broker takes, by its CONNACK.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) struct BrokerLimits {
    pub(super) packet_bytes_max: usize,
    pub(super) in_flight_max: usize,
    pub(super) qos_max: u8,
    pub(super) retains: bool,
}

impl BrokerLimits {
    /// Those of a broker that names none.
    pub(super) const NONE: BrokerLimits = BrokerLimits {
        packet_bytes_max: usize::MAX,
        in_flight_max: usize::MAX,
        qos_max: 2,
        retains: true,
    };

    fn of(properties: Option<&v5::mqttbytes::v5::ConnAckProperties>) -> BrokerLimits {
        let Some(named) = properties else {
            return BrokerLimits::NONE;
        };
        BrokerLimits {
            packet_bytes_max: named.max_packet_size.map_or(usize::MAX, |max| max as usize),
            in_flight_max: named.receive_max.map_or(usize::MAX, usize::from),
            qos_max: named.max_qos.unwrap_or(2),
            retains: named.retain_available != Some(0),
        }
    }

    /// What stands in the way of every event of an upstream with this QoS and `retain`.
    pub(super) fn obstacle(&self, qos: u8, retain: bool) -> Option<String> {
        if self.qos_max == 0 {
            return Some(
                "the broker takes QoS 0 only, which it never acknowledges; forward to another one"
                    .to_owned(),
            );
        }
        if qos > self.qos_max {
            return Some(format!(
                "the broker takes QoS {} at most; set `qos = {}` of the upstream",
                self.qos_max, self.qos_max
            ));
        }
        (retain && !self.retains).then(|| {
            "the broker retains no messages; set `retain = false` of the upstream".to_owned()
        })
    }
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
    /// The bytes of its PUBLISH of MQTT 5.
    pub(super) fn packet_bytes(&self) -> usize {
        let user = self.user.iter();
        let user: usize = user.map(|(name, value)| name.len() + value.len() + 5).sum();
        let content_type = self.content_type.as_ref().map_or(0, |text| text.len() + 3);
        let properties = user + content_type;
        let topic_and_id = 2 + self.topic.len() + 2;
        let rest = topic_and_id + length_bytes(properties) + properties + self.payload.len();
        1 + length_bytes(rest) + rest
    }

    fn qos(&self) -> QoS {
        match self.qos {
            2 => QoS::ExactlyOnce,
            _ => QoS::AtLeastOnce,
        }
    }
}

/// The bytes that a length of MQTT takes.
fn length_bytes(length: usize) -> usize {
    match length {
        0..=127 => 1,
        128..=16_383 => 2,
        16_384..=2_097_151 => 3,
        _ => 4,
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
    let keep_alive = events.options.keep_alive();
    while relay.pass(events.poll(), told_v5).await {
        if events.options.keep_alive().is_zero() {
            // The broker asks for none (Server Keep Alive 0); the library would ping without end.
            events.options.set_keep_alive(keep_alive);
        }
        // The library keeps a publish back while its identifier is taken, and forgets to send it
        // when that one is refused.
        let state = &mut events.state;
        let freed = state.collision.take_if(|_| relay.refused.is_some());
        if let Some(publish) = freed {
            match relay.refused == Some(publish.pkid) {
                true => events.pending.push_front(v5::Request::Publish(publish)),
                false => state.collision = Some(publish),
            }
        }
    }
}

fn told(
    event: Result<rumqttc::Event, rumqttc::ConnectionError>,
) -> Option<Result<ConnectionEvent, String>> {
    use rumqttc::{Event, Packet};
    let told = match event {
        Ok(Event::Incoming(Packet::ConnAck(_))) => ConnectionEvent::Connected(BrokerLimits::NONE),
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
        Ok(Event::Incoming(Packet::ConnAck(ack))) => {
            ConnectionEvent::Connected(BrokerLimits::of(ack.properties.as_ref()))
        }
        Ok(Event::Incoming(Packet::PubAck(ack))) => {
            ConnectionEvent::Settled(ack.pkid, outcome(ack.reason))
        }
        Ok(Event::Incoming(Packet::PubComp(complete))) => {
            ConnectionEvent::Settled(complete.pkid, Outcome::Confirmed)
        }
        Ok(Event::Incoming(Packet::PubRec(received))) => {
            match outcome_of_receipt(received.reason) {
                Outcome::Confirmed => return None,
                refused => ConnectionEvent::RefusedReceipt(received.pkid, refused),
            }
        }
        Err(v5::ConnectionError::MqttState(v5::StateError::Deserialization(
            v5::mqttbytes::Error::InvalidConnectReturnCode(reason),
        ))) => ConnectionEvent::Unreadable(reason),
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
    /// The packet identifier that was refused just now.
    refused: Option<u16>,
    batch: Vec<Result<ConnectionEvent, String>>,
}

impl EventRelay {
    fn new(sender: EventSender) -> EventRelay {
        let batch = Vec::new();
        EventRelay {
            sender,
            refused: None,
            batch,
        }
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
        let over = matches!(told, Some(Err(_) | Ok(ConnectionEvent::Unreadable(_))));
        self.refused = match &told {
            Some(Ok(ConnectionEvent::Settled(id, outcome))) if *outcome != Outcome::Confirmed => {
                Some(*id)
            }
            _ => None,
        };
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

/// The same of a PUBREC (3.5.2.1), whose reasons are those of a PUBACK.
fn outcome_of_receipt(reason: v5::mqttbytes::v5::PubRecReason) -> Outcome {
    use v5::mqttbytes::v5::{PubAckReason as Ack, PubRecReason as Receipt};
    outcome(match reason {
        Receipt::Success => Ack::Success,
        Receipt::NoMatchingSubscribers => Ack::NoMatchingSubscribers,
        Receipt::UnspecifiedError => Ack::UnspecifiedError,
        Receipt::ImplementationSpecificError => Ack::ImplementationSpecificError,
        Receipt::NotAuthorized => Ack::NotAuthorized,
        Receipt::TopicNameInvalid => Ack::TopicNameInvalid,
        Receipt::PacketIdentifierInUse => Ack::PacketIdentifierInUse,
        Receipt::QuotaExceeded => Ack::QuotaExceeded,
        Receipt::PayloadFormatInvalid => Ack::PayloadFormatInvalid,
    })
}

/// A reason that no PUBACK may have and that brokers send all the same, in words.
pub(super) fn unreadable(reason: u8) -> String {
    match reason {
        0x95 => "packet too large (0x95)".to_owned(),
        _ => format!("reason 0x{reason:02x}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use v5::mqttbytes::v5::{Publish, PublishProperties};

    #[test]
    fn the_size_of_a_publish_is_known_to_the_byte() {
        for payload in [0, 1, 70, 100, 113, 16_000, 16_376, 70_000, 2_097_140] {
            for attributes in [0, 1, 9, 16, 17, 1_000] {
                let message = OutgoingMessage {
                    topic: "a/b".into(),
                    qos: 1,
                    retain: false,
                    payload: vec![0; payload].into(),
                    content_type: (attributes % 2 == 1).then(|| "text/plain".into()),
                    user: vec![("id".into(), "x".into()); attributes],
                };
                let properties = PublishProperties {
                    content_type: message.content_type.clone(),
                    user_properties: message.user.clone(),
                    ..Default::default()
                };
                let topic = message.topic.clone();
                let qos = v5::mqttbytes::QoS::AtLeastOnce;
                let mut sent = Publish::new(topic, qos, message.payload.clone(), Some(properties));
                sent.pkid = 7;
                assert_eq!(
                    message.packet_bytes(),
                    sent.size(),
                    "{payload} {attributes}"
                );
            }
        }
    }

    #[test]
    fn a_limit_that_no_event_passes_is_an_obstacle_of_the_whole_upstream() {
        let none = BrokerLimits::NONE;
        let qos = |qos_max| BrokerLimits { qos_max, ..none };
        let no_retain = BrokerLimits {
            retains: false,
            ..none
        };
        let cases = [
            (none, 2, true, ""),
            (qos(1), 1, true, ""),
            (qos(1), 2, false, "`qos = 1`"),
            (qos(0), 1, false, "never acknowledges"),
            (no_retain, 1, false, ""),
            (no_retain, 1, true, "`retain = false`"),
        ];
        for (limits, qos, retain, says) in cases {
            let obstacle = limits.obstacle(qos, retain).unwrap_or_default();
            assert!(obstacle.contains(says), "{obstacle}");
            assert_eq!(obstacle.is_empty(), says.is_empty(), "{obstacle}");
        }
    }
}
