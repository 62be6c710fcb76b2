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

mod link;

use std::sync::Arc;
use std::time::{Duration, Instant};

use tidegate_rules::event::Event;
use tokio::sync::{mpsc, watch};

use crate::config::MqttSource;
use crate::event::ack::{Ack, Refusal, Verdict};
use crate::event::arrival::{Arrival, Identity};
use crate::event::cloudevents::mqtt;
use crate::event::inlet::{Closed, Inlet};
use crate::event::receipts::{Receipt, Receipts};
use crate::observe::Observe;
use crate::observe::source::{Disconnected, SourceMetrics, Subscribed};
use crate::time::backoff::Backoff;
use crate::time::clock;
use crate::time::shutdown::stopped;
use link::{Heard, Link, Publish};

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
    told: String,
}

/// Why a connection is over.
enum Ended {
    Broken(String),
    Shutdown,
}

/// A message that waits for its verdict.
struct Unsettled {
    packet_id: u16,
    received: Instant,
}

/// One connection.
struct Session {
    link: Link,
    heard: mpsc::Receiver<Result<Heard, String>>,
    /// Its messages under way. They end with it: a late verdict goes nowhere, for by then a packet
    /// identifier may stand for something else.
    receipts: Receipts<Unsettled>,
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
        let tls = tls.map(crate::tls::client::config).transpose()?;
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
            told: String::new(),
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
                Ok(session) => self.serve(session, &mut shutdown).await?,
                Err(why) => Ended::Broken(why),
            };
            let Ended::Broken(why) = ended else {
                return Ok(());
            };
            self.metrics.down("connecting", &why);
            if why != self.told {
                self.observe.emit(&Disconnected {
                    source: &self.name,
                    why: &why,
                });
                self.told = why;
            }
            let pause = self.reconnect.next(fastrand::u64(..));
            tokio::select! {
                () = stopped(&mut shutdown) => return Ok(()),
                () = tokio::time::sleep(pause) => {}
            }
        }
    }

    /// A connection with its subscriptions asked for.
    async fn connect(&mut self) -> Result<Session, String> {
        let url = &self.config.broker.url;
        let (link, mut heard) = Link::start(&self.config.broker, self.tls.clone());
        let resumed = match tokio::time::timeout(CONNECT_MAX, heard.recv()).await {
            Ok(Some(Ok(Heard::Connected { resumed }))) => resumed,
            Ok(Some(Err(why))) => return Err(format!("{url}: {why}")),
            Ok(_) => return Err(format!("{url}: the connection ended before CONNACK")),
            Err(_) => {
                let seconds = CONNECT_MAX.as_secs();
                return Err(format!("{url}: no CONNACK within {seconds} s"));
            }
        };
        if !resumed || !self.subscribed {
            link.subscribe(&self.config.topics, self.config.qos)
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
        Ok(Session {
            link,
            heard,
            receipts: Receipts::default(),
        })
    }

    async fn serve(
        &mut self,
        mut session: Session,
        shutdown: &mut watch::Receiver<bool>,
    ) -> Result<Ended, Closed> {
        self.metrics.connections(1);
        let ended = tokio::select! {
            () = stopped(shutdown) => Ok(Ended::Shutdown),
            ended = self.receive(&mut session) => ended.map(Ended::Broken),
        };
        if let Ok(Ended::Shutdown) = &ended {
            let drained = self.drain(&mut session);
            let _ = tokio::time::timeout(DRAIN_MAX, drained).await;
            session.link.disconnect().await;
        }
        self.metrics.connections(-1);
        ended
    }

    /// Hands messages on and acknowledgements back until the connection is over; says why.
    async fn receive(&mut self, session: &mut Session) -> Result<String, Closed> {
        let mut heard = Vec::new();
        loop {
            tokio::select! {
                biased;
                () = session.receipts.ready() => {
                    if let Err(why) = self.settle(session, clock::monotonic()) {
                        return Ok(why);
                    }
                }
                count = session.heard.recv_many(&mut heard, OFFER_MAX) => {
                    if count == 0 {
                        return Ok("the connection ended".into());
                    }
                    let now = clock::monotonic();
                    let (arrivals, broken) = self.take(session, heard.drain(..), now);
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
    fn settle(&mut self, session: &mut Session, now: Instant) -> Result<(), String> {
        while let Some(receipt) = session.receipts.take() {
            self.settle_one(&session.link, receipt, now)?;
        }
        Ok(())
    }

    fn settle_one(
        &mut self,
        link: &Link,
        receipt: Receipt<Unsettled>,
        now: Instant,
    ) -> Result<(), String> {
        let message = receipt.value;
        match receipt.verdict {
            Verdict::Stored => {
                link.acknowledge(message.packet_id);
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

    /// The arrivals among what was heard, and why the connection is over, if it is.
    fn take(
        &mut self,
        session: &mut Session,
        heard: impl Iterator<Item = Result<Heard, String>>,
        now: Instant,
    ) -> (Vec<Arrival>, Option<String>) {
        let mut arrivals = Vec::new();
        for item in heard {
            match item {
                Ok(Heard::Connected { .. }) => {}
                Ok(Heard::Subscribed { refused }) if refused.is_empty() => {
                    self.subscribed = true;
                    self.told.clear();
                    self.metrics.up("connected");
                }
                Ok(Heard::Subscribed { refused }) => {
                    let names = refused.iter().filter_map(|at| self.config.topics.get(*at));
                    let names: Vec<&str> = names.map(String::as_str).collect();
                    let why = format!("the broker refused to subscribe to {}", names.join(", "));
                    return (arrivals, Some(why));
                }
                Ok(Heard::Publish(publish)) => arrivals.extend(self.arrival(session, publish, now)),
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
        session: &mut Session,
        publish: Publish,
        now: Instant,
    ) -> Option<Arrival> {
        let bytes = publish.payload.len();
        if bytes > self.config.payload_bytes_max {
            self.metrics.malformed("payload too large");
            tracing::warn!(
                source = self.name,
                topic = publish.topic,
                "a payload of {bytes} bytes is over max_payload = {}; it stays with the broker, unacknowledged",
                self.config.payload_bytes_max
            );
            return None;
        }
        let ack = match publish.qos {
            0 => {
                self.metrics.accepted(bytes);
                Ack::none()
            }
            _ => session.receipts.issue(Unsettled {
                packet_id: publish.id,
                received: now,
            }),
        };
        let event = self.event(publish);
        Some(Arrival {
            identity: Identity::of_id(&event.id),
            event,
            ack,
        })
    }

    fn event(&self, publish: Publish) -> Event {
        let mut event = self.template.clone();
        event.topic = publish.topic.into();
        event.data = publish.payload;
        event.content_type = publish.content_type.map(Into::into);
        if publish.retain {
            event.extensions.push(("retain".into(), "true".into()));
        }
        for (name, value) in &publish.user {
            mqtt::read_property(&mut event, name, value);
        }
        event
    }

    /// At shutdown, what is under way is still acknowledged once it is durable.
    async fn drain(&mut self, session: &mut Session) {
        while let Some(receipt) = session.receipts.settled().await {
            let _ = self.settle_one(&session.link, receipt, clock::monotonic());
        }
    }
}
