//! The one place of the source that speaks to the client library, for both versions of MQTT.
//!
//! Its event loop runs in a task of its own: it must not be dropped in the middle of a poll. A
//! second task hands on acknowledgements, so that neither waits for the other. Both end with
//! the client.

mod objection;

use std::time::Duration;

use bytes::Bytes;
use rumqttc::{QoS, TlsConfiguration, Transport, v5};
use tidegate_rules::event::{Expiry, MqttProperties};
use tokio::sync::mpsc;
use tokio::task::AbortHandle;

use crate::config::secret::Secret;
use crate::config::{Broker, ClientTls, MqttVersion};
use crate::event::arrival::KeptPayload;
use crate::source::credentials::Credentials;
use crate::time::task;

/// The largest packet that MQTT knows: a broker that sends it is to be acknowledged, or it sends it
/// again for ever. Of a payload over `max_payload` the first part is kept at once.
const PACKET_BYTES_MAX: usize = 268_435_460;
/// Publishes that the broker may have under way (MQTT 5).
const RECEIVE_MAX: u16 = 1000;
/// Requests in the library at once.
const REQUESTS_MAX: usize = 256;
/// The shortest keep-alive that the library takes for MQTT 5; it panics below.
const KEEP_ALIVE_MIN: Duration = Duration::from_secs(5);
/// Events not looked at yet; when they are as many, the socket is not read.
const EVENTS_MAX: usize = 256;

/// What happened at the connection.
#[derive(Debug)]
pub(super) enum ClientEvent {
    /// CONNACK came; whether the broker kept the session, and whether it will keep this one.
    Connected { resumed: bool, keeps: bool },
    /// SUBACK came; what was granted to each filter.
    Subscribed { granted: Vec<Granted> },
    /// A message.
    Message(Box<ReceivedMessage>),
}

/// What a broker grants to a filter.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Granted {
    /// Nothing.
    Refused,
    /// QoS 0.
    AtMostOnce,
    /// QoS 1 or 2.
    AtLeastOnce,
}

/// A message, in neither version's shape.
#[derive(Debug)]
pub(super) struct ReceivedMessage {
    pub(super) packet_id: u16,
    pub(super) qos: u8,
    pub(super) topic: String,
    pub(super) payload: Bytes,
    /// A payload over `max_payload`; `payload` is empty then.
    pub(super) oversized: Option<KeptPayload>,
    pub(super) content_type: Option<String>,
    pub(super) user: Vec<(String, String)>,
    pub(super) mqtt: MqttProperties,
}

#[derive(Clone)]
enum LibraryClient {
    V311(rumqttc::AsyncClient),
    V5(v5::AsyncClient),
}

/// A connection under way.
pub(super) struct BrokerClient {
    client: LibraryClient,
    acknowledgements: mpsc::UnboundedSender<u16>,
    tasks: [AbortHandle; 2],
}

/// User name and password.
type Login<'l> = Option<&'l (String, Secret)>;
type ClientEventSender = mpsc::Sender<Result<ClientEvent, String>>;

impl BrokerClient {
    /// Starts to connect with these credentials; what happens comes out of the other end.
    pub(super) fn start(
        broker: &Broker,
        credentials: Credentials,
        payload_bytes_max: usize,
    ) -> (BrokerClient, mpsc::Receiver<Result<ClientEvent, String>>) {
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let login = credentials.login.as_ref();
        let transport = credentials
            .connector
            .map(|tls| Transport::tls_with_config(TlsConfiguration::Rustls(tls)));
        let tls_of = broker.tls.clone();
        let (client, listening) = match broker.version {
            MqttVersion::V311 => {
                let options = options(broker, login, transport);
                let (client, events) = rumqttc::AsyncClient::new(options, REQUESTS_MAX);
                (
                    LibraryClient::V311(client),
                    task::spawn(
                        "an mqtt source's connection",
                        listen(events, sender, payload_bytes_max, tls_of),
                    ),
                )
            }
            MqttVersion::V5 => {
                let options = options_v5(broker, login, transport);
                let (client, events) = v5::AsyncClient::new(options, REQUESTS_MAX);
                (
                    LibraryClient::V5(client),
                    tokio::spawn(listen_v5(events, sender, payload_bytes_max, tls_of)),
                )
            }
        };
        let (acknowledgements, to_acknowledge) = mpsc::unbounded_channel();
        let acknowledging = task::spawn(
            "an mqtt source's acknowledgements",
            acknowledge(client.clone(), to_acknowledge),
        );
        let client = BrokerClient {
            client,
            acknowledgements,
            tasks: [listening.abort_handle(), acknowledging.abort_handle()],
        };
        (client, events)
    }

    /// Subscribes to `topics` at QoS 0 or 1.
    ///
    /// # Errors
    /// When the library's queue is full, in words.
    pub(super) fn subscribe(&self, topics: &[String], qos: u8) -> Result<(), String> {
        match &self.client {
            LibraryClient::V311(client) => {
                let qos = if qos == 0 {
                    QoS::AtMostOnce
                } else {
                    QoS::AtLeastOnce
                };
                let filter = |topic: &String| rumqttc::SubscribeFilter::new(topic.clone(), qos);
                let subscribed = client.try_subscribe_many(topics.iter().map(filter));
                subscribed.map_err(|error| error.to_string())
            }
            LibraryClient::V5(client) => {
                use v5::mqttbytes::QoS;
                use v5::mqttbytes::v5::{Filter, RetainForwardRule};
                let qos = if qos == 0 {
                    QoS::AtMostOnce
                } else {
                    QoS::AtLeastOnce
                };
                let filter = |topic: &String| Filter {
                    preserve_retain: true,
                    retain_forward_rule: RetainForwardRule::OnNewSubscribe,
                    ..Filter::new(topic.clone(), qos)
                };
                let subscribed = client.try_subscribe_many(topics.iter().map(filter));
                subscribed.map_err(|error| error.to_string())
            }
        }
    }

    /// Sends a PUBACK.
    pub(super) fn acknowledge(&self, id: u16) {
        // A connection that is over acknowledges nothing: the broker sends the message again.
        let _ = self.acknowledgements.send(id);
    }

    /// Lets acknowledgements leave, and says goodbye. The session stays with the broker.
    pub(super) async fn disconnect(self) {
        let moment = Duration::from_millis(100);
        tokio::time::sleep(moment).await;
        let _ = match &self.client {
            LibraryClient::V311(client) => client.try_disconnect().map_err(drop),
            LibraryClient::V5(client) => client.try_disconnect().map_err(drop),
        };
        tokio::time::sleep(moment / 2).await;
    }
}

impl Drop for BrokerClient {
    fn drop(&mut self) {
        self.tasks.iter().for_each(AbortHandle::abort);
    }
}

/// Why the connection is over that nothing can be sent on any more, if it said so.
pub(super) async fn why_over(
    events: &mut mpsc::Receiver<Result<ClientEvent, String>>,
) -> Option<String> {
    loop {
        match events.recv().await? {
            Ok(_) => {}
            Err(why) => return Some(why),
        }
    }
}

async fn acknowledge(client: LibraryClient, mut acknowledgements: mpsc::UnboundedReceiver<u16>) {
    while let Some(id) = acknowledgements.recv().await {
        let sent = match &client {
            LibraryClient::V311(client) => {
                let mut publish = rumqttc::Publish::new("", QoS::AtLeastOnce, "");
                publish.pkid = id;
                client.ack(&publish).await.map_err(drop)
            }
            LibraryClient::V5(client) => {
                use v5::mqttbytes::{QoS, v5::Publish};
                let mut publish = Publish::new("", QoS::AtLeastOnce, Bytes::new(), None);
                publish.pkid = id;
                client.ack(&publish).await.map_err(drop)
            }
        };
        if sent.is_err() {
            return;
        }
    }
}

fn options(
    broker: &Broker,
    login: Login<'_>,
    transport: Option<Transport>,
) -> rumqttc::MqttOptions {
    let mut options = rumqttc::MqttOptions::new(&broker.client_id, &broker.host, broker.port);
    options.set_keep_alive(broker.keep_alive);
    options.set_clean_session(false);
    options.set_manual_acks(true);
    options.set_max_packet_size(PACKET_BYTES_MAX, PACKET_BYTES_MAX);
    if let Some((user, password)) = login {
        options.set_credentials(user, password.reveal());
    }
    if let Some(transport) = transport {
        options.set_transport(transport);
    }
    options
}

fn options_v5(broker: &Broker, login: Login<'_>, transport: Option<Transport>) -> v5::MqttOptions {
    let mut options = v5::MqttOptions::new(&broker.client_id, &broker.host, broker.port);
    options.set_keep_alive(broker.keep_alive.max(KEEP_ALIVE_MIN));
    options.set_clean_start(false);
    options.set_manual_acks(true);
    options.set_session_expiry_interval(Some(u32::MAX));
    options.set_receive_maximum(Some(RECEIVE_MAX));
    // It publishes nothing; the library keeps a slot for each publish that it might.
    options.set_outgoing_inflight_upper_limit(1);
    options.set_max_packet_size(Some(PACKET_BYTES_MAX as u32));
    if let Some((user, password)) = login {
        options.set_credentials(user, password.reveal());
    }
    if let Some(transport) = transport {
        options.set_transport(transport);
    }
    options
}

async fn listen(
    mut events: rumqttc::EventLoop,
    sender: ClientEventSender,
    bytes_max: usize,
    tls: Option<ClientTls>,
) {
    use rumqttc::{Event, Packet, SubscribeReasonCode};
    let mut connected = false;
    loop {
        let heard = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(ack))) => Ok(ClientEvent::Connected {
                resumed: ack.session_present,
                keeps: true,
            }),
            Ok(Event::Incoming(Packet::SubAck(ack))) => Ok(ClientEvent::Subscribed {
                granted: granted(&ack.return_codes, |code| match code {
                    SubscribeReasonCode::Success(qos) => Some(*qos as u8),
                    _ => None,
                }),
            }),
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                let (payload, oversized) = within(publish.payload, bytes_max);
                Ok(ClientEvent::Message(Box::new(ReceivedMessage {
                    packet_id: publish.pkid,
                    qos: publish.qos as u8,
                    topic: publish.topic,
                    payload,
                    oversized,
                    content_type: None,
                    user: Vec::new(),
                    mqtt: MqttProperties {
                        retain: publish.retain,
                        ..MqttProperties::default()
                    },
                })))
            }
            Ok(_) => continue,
            Err(error) => Err(objection::told(&error, tls.as_ref(), connected)),
        };
        connected |= matches!(heard, Ok(ClientEvent::Connected { .. }));
        let over = heard.is_err();
        if sender.send(heard).await.is_err() || over {
            return;
        }
    }
}

async fn listen_v5(
    mut events: v5::EventLoop,
    sender: ClientEventSender,
    bytes_max: usize,
    tls: Option<ClientTls>,
) {
    use v5::Event;
    use v5::mqttbytes::v5::{Packet, SubscribeReasonCode};
    let mut connected = false;
    loop {
        let heard = match events.poll().await {
            Ok(Event::Incoming(Packet::ConnAck(ack))) => Ok(ClientEvent::Connected {
                resumed: ack.session_present,
                keeps: ack
                    .properties
                    .is_none_or(|properties| properties.session_expiry_interval != Some(0)),
            }),
            Ok(Event::Incoming(Packet::SubAck(ack))) => Ok(ClientEvent::Subscribed {
                granted: granted(&ack.return_codes, |code| match code {
                    SubscribeReasonCode::Success(qos) => Some(*qos as u8),
                    _ => None,
                }),
            }),
            Ok(Event::Incoming(Packet::Publish(publish))) => {
                let properties = publish.properties.unwrap_or_default();
                let (payload, oversized) = within(publish.payload, bytes_max);
                Ok(ClientEvent::Message(Box::new(ReceivedMessage {
                    packet_id: publish.pkid,
                    qos: publish.qos as u8,
                    topic: String::from_utf8_lossy(&publish.topic).into_owned(),
                    payload,
                    oversized,
                    content_type: properties.content_type,
                    user: properties.user_properties,
                    mqtt: MqttProperties {
                        retain: publish.retain,
                        payload_format: properties.payload_format_indicator,
                        response_topic: properties.response_topic.map(Into::into),
                        correlation_data: properties.correlation_data,
                        expiry: properties.message_expiry_interval.map(Expiry::from),
                    },
                })))
            }
            Ok(Event::Incoming(Packet::Disconnect(goodbye))) => {
                let said = goodbye.properties.and_then(|said| said.reason_string);
                Err(objection::disconnected(
                    goodbye.reason_code,
                    said.as_deref(),
                ))
            }
            Ok(_) => continue,
            Err(error) => Err(objection::told_v5(&error, tls.as_ref(), connected)),
        };
        connected |= matches!(heard, Ok(ClientEvent::Connected { .. }));
        let over = heard.is_err();
        if sender.send(heard).await.is_err() || over {
            return;
        }
    }
}

/// The payload; of one over the limit only what is kept, so that the queue stays small.
fn within(payload: Bytes, bytes_max: usize) -> (Bytes, Option<KeptPayload>) {
    match payload.len() <= bytes_max {
        true => (payload, None),
        false => (Bytes::new(), Some(KeptPayload::of(&payload))),
    }
}

fn granted<T>(codes: &[T], qos: impl Fn(&T) -> Option<u8>) -> Vec<Granted> {
    let granted = |code| match qos(code) {
        None => Granted::Refused,
        Some(0) => Granted::AtMostOnce,
        Some(_) => Granted::AtLeastOnce,
    };
    codes.iter().map(granted).collect()
}
