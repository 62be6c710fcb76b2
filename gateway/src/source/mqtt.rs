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
//!
//! Over MQTT 5 the broker sends the retain flag as it was published, and what it retains only for a subscription that is new
//! to the session. MQTT 3.1.1 has no words for either: there the flag says that a message had been retained before, and a
//! subscription that is asked for again brings all of these again.

mod arrivals;
mod client;
pub mod config;
mod filters;
pub mod publisher;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_rules::event::Event;
use tokio::sync::{mpsc, watch};

use crate::event::ack::Verdict;
use crate::event::arrival::Arrival;
use crate::event::inlet::{Closed, Inlet};
use crate::event::receipts::{Receipt, Receipts};
use crate::observe::Observe;
use crate::observe::source::{Disconnected, SourceMetrics, Subscribed};
use crate::source::credentials::Credentials;
use crate::source::open::{OpenSource, Opening, Running};
use crate::time::backoff::Backoff;
use crate::time::clock;
use crate::time::shutdown::stopped;
use client::{BrokerClient, ClientEvent, Granted};
use config::MqttSource;

/// From connecting to CONNACK.
const CONNECT_MAX: Duration = Duration::from_secs(10);
/// How long a broker may take to answer SUBSCRIBE.
const SUBACK_MAX: Duration = Duration::from_secs(10);
/// Pauses between connections.
const RETRY_MIN: Duration = Duration::from_millis(250);
const RETRY_MAX: Duration = Duration::from_secs(30);
/// Messages offered to the intake at once.
const OFFER_MAX: usize = 256;
/// How long the last acknowledgements of a connection that is given up may take to leave.
const PART_MAX: Duration = Duration::from_millis(100);
/// How long events under way may take at shutdown.
const DRAIN_MAX: Duration = Duration::from_secs(2);

/// An `mqtt` source.
pub struct MqttClient {
    config: MqttSource,
    /// What is subscribed to: the configured filters without those that others cover that were not refused.
    filters: Vec<String>,
    credentials: watch::Receiver<Credentials>,
    name: String,
    template: Event,
    inlet: Inlet,
    observe: Arc<Observe>,
    metrics: SourceMetrics,
    reconnect: Backoff,
    /// Whether the filters were sent since the start: they may have changed before it.
    subscribed: bool,
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
    /// Whether the broker kept the session.
    resumed: bool,
    /// Until then a SUBSCRIBE is to be answered.
    answer_due: Option<Instant>,
}

/// Waits until then; for ever where there is no such time.
async fn sleep_until(then: Option<Instant>) {
    match then {
        Some(then) => tokio::time::sleep_until(then.into()).await,
        None => std::future::pending().await,
    }
}

impl OpenSource for MqttSource {
    fn credentials(&self) -> Result<Credentials, String> {
        Credentials::of_client(&self.broker)
    }

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
        let client = MqttClient {
            credentials: opening.credentials,
            ..client.map_err(|why| format!("source {name}: {why}"))?
        };
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
        let credentials = config.credentials()?.unchanging();
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
            ..Event::default()
        };
        Ok(MqttClient {
            credentials,
            name: name.into(),
            template,
            inlet,
            observe,
            metrics,
            reconnect: Backoff::new(RETRY_MIN, RETRY_MAX),
            subscribed: false,
            filters: filters::uncovered(&config.topics, &[]),
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
            let told = Disconnected {
                source: &self.name,
                why: &why,
            };
            self.metrics.down(&self.observe, "connecting", &why, &told);
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
        let (client, mut events) = BrokerClient::start(
            &self.config.broker,
            self.credentials.borrow().clone(),
            self.config.payload_bytes_max,
        );
        let (resumed, keeps) = match tokio::time::timeout(CONNECT_MAX, events.recv()).await {
            Ok(Some(Ok(ClientEvent::Connected { resumed, keeps }))) => (resumed, keeps),
            Ok(Some(Err(why))) => return Err(format!("{url}: {why}")),
            Ok(_) => return Err(format!("{url}: the connection ended before CONNACK")),
            Err(_) => {
                let seconds = CONNECT_MAX.as_secs();
                return Err(format!("{url}: no CONNACK within {seconds} s"));
            }
        };
        self.tell(
            "session",
            (!keeps).then(|| {
                format!("{url} keeps no session (expiry 0): what is published while the connection is down is lost; allow persistent sessions there")
            }),
        );
        let asks = !resumed || !self.subscribed;
        if asks && let Err(why) = client.subscribe(&self.filters, self.config.qos) {
            let why = client::why_over(&mut events).await.unwrap_or(why);
            return Err(format!("{url}: {why}"));
        }
        if resumed && self.subscribed {
            self.up(resumed);
        }
        Ok(SubscriberConnection {
            client,
            events,
            receipts: Receipts::default(),
            resumed,
            answer_due: asks.then(|| clock::monotonic() + SUBACK_MAX),
        })
    }

    fn up(&self, resumed: bool) {
        let told = Subscribed {
            source: &self.name,
            url: &self.config.broker.url,
            resumed,
        };
        self.metrics.up(&self.observe, "connected", &told);
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
                        self.part(connection).await;
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
                () = sleep_until(connection.answer_due), if connection.answer_due.is_some() => {
                    let (url, seconds) = (&self.config.broker.url, SUBACK_MAX.as_secs());
                    return Ok(format!("{url}: the broker does not answer SUBSCRIBE within {seconds} s"));
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
        let mut settled = Ok(());
        while let Some(receipt) = connection.receipts.take() {
            // One that is refused keeps no acknowledgement behind it from leaving.
            settled = settled.and(self.settle_one(&connection.client, receipt, now));
        }
        settled
    }

    /// Before a connection is given up: what is stored is still acknowledged, for else it comes
    /// again. What arrives meanwhile comes again.
    async fn part(&mut self, connection: &mut SubscriberConnection) {
        let drained = tokio::time::timeout(DRAIN_MAX, self.drain(connection));
        let _ = drained.await;
        let heard = async { while connection.events.recv().await.is_some() {} };
        let _ = tokio::time::timeout(PART_MAX, heard).await;
    }

    /// Tells of a trouble of the source, or that it is over.
    fn tell(&self, kind: &'static str, what: Option<String>) {
        let subject = format!("source {}", self.name);
        match what {
            Some(what) => self.observe.raise(&subject, kind, &what),
            None => self.observe.clear(&subject, kind),
        }
    }

    /// What the broker granted: the refused filters are a trouble and keep none of the others from
    /// being served; those that a refused one covers are asked for then.
    ///
    /// # Errors
    /// When none was granted.
    fn granted(
        &mut self,
        granted: &[Granted],
        connection: &mut SubscriberConnection,
    ) -> Result<(), String> {
        connection.answer_due = None;
        filters::check_answers(&self.filters, granted)?;
        let refused = filters::answered(&self.filters, granted, |one| one == Granted::Refused);
        let wanted = filters::uncovered(&self.config.topics, &refused);
        if wanted.iter().any(|filter| !self.filters.contains(filter)) {
            self.filters = wanted;
            connection.answer_due = Some(clock::monotonic() + SUBACK_MAX);
            return connection.client.subscribe(&self.filters, self.config.qos);
        }
        let of = |wanted: Granted| {
            let named = filters::answered(&self.filters, granted, |one| one == wanted);
            Some(named.join(", ")).filter(|names| !names.is_empty())
        };
        let refused = of(Granted::Refused);
        let refused = refused.map(|names| format!("the broker refused to subscribe to {names}"));
        let at_most_once = of(Granted::AtMostOnce).filter(|_| self.config.qos > 0);
        let at_most_once = at_most_once.map(|names| {
            format!("the broker grants only QoS 0 to {names}: events may be lost on the way here")
        });
        self.tell(
            "filters",
            refused
                .as_ref()
                .map(|why| format!("{why}; grant it there, or take it out of `topics`")),
        );
        self.tell("granted", at_most_once);
        let served = filters::answered(&self.filters, granted, |one| one != Granted::Refused);
        let overlap = filters::overlapping(&served).map(|(one, other)| {
            format!("the topics {one} and {other} overlap: what both match may come, and be stored, twice")
        });
        self.tell("overlap", overlap);
        if granted.iter().all(|granted| *granted == Granted::Refused) {
            return Err(refused.unwrap_or_else(|| "the broker granted no filter".into()));
        }
        // Asked for again on the next connection while one is refused.
        self.subscribed = refused.is_none();
        self.up(connection.resumed);
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
                let why = refusal.told(|| self.metrics.why_refused());
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
                Ok(ClientEvent::Subscribed { granted }) => {
                    if let Err(why) = self.granted(&granted, connection) {
                        return (arrivals, Some(why));
                    }
                }
                Ok(ClientEvent::Message(message)) => {
                    arrivals.push(self.arrival(connection, *message, now));
                }
                Err(why) => {
                    let why = format!("{}: {why}", self.config.broker.url);
                    return (arrivals, Some(why));
                }
            }
        }
        (arrivals, None)
    }

    /// At shutdown, what is under way is still acknowledged once it is durable.
    async fn drain(&mut self, connection: &mut SubscriberConnection) {
        while let Some(receipt) = connection.receipts.settled().await {
            let _ = self.settle_one(&connection.client, receipt, clock::monotonic());
        }
    }
}
