//! Subscribes at an existing broker, with a session that outlives every connection.
//!
//! A PUBACK leaves only after the commit that holds its event. What could not be stored is not
//! acknowledged: the connection is given up and built anew, and the broker sends again whatever
//! it has no acknowledgement for. Verdicts belong to one connection; a late one of an earlier
//! connection goes nowhere, for its packet identifier may stand for something else by now.
//!
//! Subscriptions are QoS 1 at most: the client library takes a PUBREL of a resumed session for
//! an error, so QoS 2 would never get past it. A message that comes again with an id of its own
//! is recognised by the intake.

mod client;
pub mod config;
pub mod publisher;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_rules::event::Event;
use tokio::sync::{mpsc, watch};

use crate::event::ack::{Ack, Refusal, Verdict};
use crate::event::arrival::{Arrival, Identity};
use crate::event::cloudevents::mqtt;
use crate::event::inlet::{Closed, Inlet};
use crate::event::receipts::{Receipt, Receipts};
use crate::observe::Observe;
use crate::observe::source::{Disconnected, SourceMetrics, Subscribed};
use crate::source::id_field;
use crate::source::open::{OpenSource, Opening, Running};
use crate::time::backoff::Backoff;
use crate::time::clock;
use crate::time::shutdown::stopped;
use client::{BrokerClient, ClientEvent, ReceivedMessage};
use config::MqttSource;

/// From connecting to CONNACK.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// Pauses between connections.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Messages offered to the intake at once.
const OFFER_MAX: usize = 256;
/// How long events under way may take at shutdown.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// An `mqtt` source.
pub struct MqttClient {
    config: MqttSource,
    tls: Option<Arc<rustls::ClientConfig>>,
    name: String,
    template: Event,
    inlet: Inlet,
    observe: Arc<Observe>,
    metrics: SourceMetrics,
    reconnect: Backoff,
    /// Whether the filters were sent since the start: they may have changed before it.
    subscribed: bool,
    /// What was said last of a broken connection, so that it is said once.
    last_reported: String,
}

/// Why a connection is over.
enum ConnectionEnd {
    Broken(String),
    Shutdown,
}

/// A message that waits for its verdict.
struct UnsettledMessage {
    packet_id: u16,
    received: Instant,
}

/// One connection.
struct SubscriberConnection {
    client: BrokerClient,
    events: mpsc::Receiver<Result<ClientEvent, String>>,
    /// Its messages under way. They end with it: a late verdict goes nowhere, for by then a packet
    /// identifier may stand for something else.
    receipts: Receipts<UnsettledMessage>,
}

impl OpenSource for MqttSource {
    async fn open(&self, opening: Opening<'_>) -> Result<Running, String> {
        let name = opening.name;
        let client = MqttClient::new(
            self.clone(),
            name,
            opening.gateway_id,
            opening.inlet,
            opening.observe,
            opening.metrics,
        );
        let client = client.map_err(|why| format!("source {name}: {why}"))?;
        Ok(Box::pin(client.run(opening.stop)))
    }
}

impl MqttClient {
    /// A source that will connect to `config.broker`.
    ///
    /// # Errors
    /// When a certificate cannot be read.
    pub fn new(
        config: MqttSource,
        name: &str,
        gateway_id: &str,
        inlet: Inlet,
        observe: Arc<Observe>,
        metrics: SourceMetrics,
    ) -> Result<MqttClient, String> {
        let tls = config.broker.tls.as_ref();
        let tls = tls
            .map(crate::config::connection::tls::client::config)
            .transpose()?;
        let template = Event {
            id: "".into(),
            source: format!("{gateway_id}/{name}").into(),
            kind: "reading".into(),
            subject: None,
            topic: "".into(),
            publisher: name.into(),
            time: None,
            received: 0,
            content_type: None,
            schema: None,
            extensions: Vec::new(),
            data: bytes::Bytes::new(),
        };
        Ok(MqttClient {
            tls: tls.map(Arc::new),
            name: name.into(),
            template,
            inlet,
            observe,
            metrics,
            reconnect: Backoff::new(RETRY_MIN, RETRY_MAX),
            subscribed: false,
            last_reported: String::new(),
            config,
        })
    }

    /// Receives until shutdown.
    ///
    /// # Errors
    /// [`Closed`] when the intake is gone.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) -> Result<(), Closed> {
        loop {
            let connected = tokio::select! {
                () = stopped(&mut shutdown) => return Ok(()),
                connected = self.connect() => connected,
            };
            let ended = match connected {
                Ok(connection) => self.serve(connection, &mut shutdown).await?,
                Err(why) => ConnectionEnd::Broken(why),
            };
            let ConnectionEnd::Broken(why) = ended else {
                return Ok(());
            };
            self.metrics.down("connecting", &why);
            if why != self.last_reported {
                self.observe.emit(&Disconnected {
                    source: &self.name,
                    why: &why,
                });
                self.last_reported = why;
            }
            let pause = self.reconnect.next(fastrand::u64(..));
            tokio::select! {
                () = stopped(&mut shutdown) => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// A connection with its subscriptions asked for.
    async fn connect(&mut self) -> Result<SubscriberConnection, String> {
        let url = &self.config.broker.url;
        let (client, mut events) = BrokerClient::start(&self.config.broker, self.tls.clone());
        let resumed = match tokio::time::timeout(CONNECT_MAX, events.recv()).await {
            Ok(Some(Ok(ClientEvent::Connected { resumed }))) => resumed,
            Ok(Some(Err(why))) => return Err(format!("{url}: {why}")),
            Ok(_) => return Err(format!("{url}: the connection ended before CONNACK")),
            Err(_) => {
                let seconds = CONNECT_MAX.as_secs();
                return Err(format!("{url}: no CONNACK within {seconds} s"));
            }
        };
        if !resumed || !self.subscribed {
            client
                .subscribe(&self.config.topics, self.config.qos)
                .map_err(|why| format!("{url}: {why}"))?;
        }
        if resumed && self.subscribed {
            self.metrics.up("connected");
        }
        self.observe.emit(&Subscribed {
            source: &self.name,
            url,
            resumed,
        });
        Ok(SubscriberConnection {
            client,
            events,
            receipts: Receipts::default(),
        })
    }

    async fn serve(
        &mut self,
        mut connection: SubscriberConnection,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<ConnectionEnd, Closed> {
        self.metrics.connections(1);
        let ended = tokio::select! {
            () = stopped(shutdown) => Ok(ConnectionEnd::Shutdown),
            ended = self.receive(&mut connection) => ended.map(ConnectionEnd::Broken),
        };
        if let Ok(ConnectionEnd::Shutdown) = &ended {
            let drained = self.drain(&mut connection);
            let _ = tokio::time::timeout(DRAIN_MAX, drained).await;
            connection.client.disconnect().await;
        }
        self.metrics.connections(-1);
        ended
    }

    /// Hands messages on and acknowledgements back until the connection is over; says why.
    async fn receive(&mut self, connection: &mut SubscriberConnection) -> Result<String, Closed> {
        let mut events = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = connection.receipts.ready() => {
                    if let Err(why) = self.settle(connection, clock::monotonic()) {
                        return Ok(why);
                    }
                }
                count = connection.events.recv_many(&mut events, OFFER_MAX) => {
                    if count == 0 {
                        return Ok("the connection ended".into());
                    }
                    let now = clock::monotonic();
                    let (arrivals, broken) = self.arrivals(connection, events.drain(..), now);
                    self.inlet.offer(arrivals).await?;
                    if let Some(why) = broken {
                        return Ok(why);
                    }
                }
            }
        }
    }

    /// Acknowledges what is stored.
    ///
    /// # Errors
    /// Why the connection must be given up: then the broker sends again what was refused.
    fn settle(
        &mut self,
        connection: &mut SubscriberConnection,
        now: Instant,
    ) -> Result<(), String> {
        while let Some(receipt) = connection.receipts.take() {
            self.settle_one(&connection.client, receipt, now)?;
        }
        Ok(())
    }

    fn settle_one(
        &mut self,
        client: &BrokerClient,
        receipt: Receipt<UnsettledMessage>,
        now: Instant,
    ) -> Result<(), String> {
        let message = receipt.value;
        match receipt.verdict {
            Verdict::Stored => {
                client.acknowledge(message.packet_id);
                let took = now.saturating_duration_since(message.received);
                self.metrics.acknowledged_after(took);
                self.metrics.accepted(0);
                self.reconnect.reset();
                Ok(())
            }
            Verdict::Refused(refusal) => {
                self.metrics.refused();
                let why = match refusal {
                    Refusal::Full => "the store takes no more",
                    Refusal::Failed => "the disk reported an error",
                    Refusal::Closing => "the gateway is shutting down",
                };
                Err(format!("{why}; the broker keeps what is not acknowledged"))
            }
        }
    }

    /// The arrivals among what happened, and why the connection is over, if it is.
    fn arrivals(
        &mut self,
        connection: &mut SubscriberConnection,
        events: impl Iterator<Item = Result<ClientEvent, String>>,
        now: Instant,
    ) -> (Vec<Arrival>, Option<String>) {
        let mut arrivals = Vec::new();
        for event in events {
            match event {
                Ok(ClientEvent::Connected { .. }) => {}
                Ok(ClientEvent::Subscribed { refused }) if refused.is_empty() => {
                    self.subscribed = true;
                    self.last_reported.clear();
                    self.metrics.up("connected");
                }
                Ok(ClientEvent::Subscribed { refused }) => {
                    let names = refused.iter().filter_map(|at| self.config.topics.get(*at));
                    let names: Vec<&str> = names.map(String::as_str).collect();
                    let why = format!("the broker refused to subscribe to {}", names.join(", "));
                    return (arrivals, Some(why));
                }
                Ok(ClientEvent::Message(message)) => {
                    arrivals.extend(self.arrival(connection, message, now))
                }
                Err(why) => {
                    let why = format!("{}: {why}", self.config.broker.url);
                    return (arrivals, Some(why));
                }
            }
        }
        (arrivals, None)
    }

    /// The arrival of a message; none if it is over `max_payload`: that stays with the broker.
    fn arrival(
        &mut self,
        connection: &mut SubscriberConnection,
        message: ReceivedMessage,
        now: Instant,
    ) -> Option<Arrival> {
        let bytes = message.payload.len();
        if bytes > self.config.payload_bytes_max {
            self.metrics.malformed("payload too large");
            tracing::warn!(
                source = self.name,
                topic = message.topic,
                "a payload of {bytes} bytes is over max_payload = {}; it stays with the broker, unacknowledged",
                self.config.payload_bytes_max
            );
            return None;
        }
        let ack = match message.qos {
            0 => {
                self.metrics.accepted(bytes);
                Ack::none()
            }
            _ => connection.receipts.issue(UnsettledMessage {
                packet_id: message.packet_id,
                received: now,
            }),
        };
        let at_most_once = message.qos == 0;
        let event = self.event(message);
        Some(Arrival {
            identity: Identity::of_id(&event.id, &self.template.source),
            event,
            ack,
            at_most_once,
            set_aside: None,
        })
    }

    fn event(&self, message: ReceivedMessage) -> Event {
        let mut event = self.template.clone();
        let publisher = self.config.publisher.as_ref();
        if let Some(publisher) = publisher.and_then(|publisher| publisher.of(&message.topic)) {
            event.publisher = publisher.into();
        }
        event.topic = message.topic.into();
        event.data = message.payload;
        event.content_type = message.content_type.map(Into::into);
        if message.retain {
            event.extensions.push(("retain".into(), "true".into()));
        }
        let user = message.user.iter();
        let mut user = user.map(|(name, value)| (name.as_str(), value.as_str()));
        mqtt::read_properties(&mut event, user.clone());
        if let Some(field) = &self.config.id_field {
            let named = user.find(|(name, _)| name == field);
            id_field::read(&mut event, field, named.map(|(_, value)| value));
        }
        event
    }

    /// At shutdown, what is under way is still acknowledged once it is durable.
    async fn drain(&mut self, connection: &mut SubscriberConnection) {
        while let Some(receipt) = connection.receipts.settled().await {
            let _ = self.settle_one(&connection.client, receipt, clock::monotonic());
        }
    }
}
