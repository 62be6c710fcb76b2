//! Sensor nodes over serial ports: the framed link, acknowledged after the commit.
//!
//! What came in one read is one batch: it is handed on, and the line waits until the batch is
//! settled. Stored, it is acknowledged to the node; refused, the node keeps it and offers it
//! again. Because nothing of a device is under way beside the batch, no later record of it can
//! be stored before an earlier one. The place to go on from is the device's durable mark, so a
//! restart of either side neither loses nor repeats.

pub mod node;
pub mod reading;

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_link::message::{Hello, Level};
use tidegate_link::{Body, Counters, EventId, FRAME_SIZE_MAX, HostLink, Incoming};
use tidegate_rules::event::Event;
use tidegate_store::Store;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::sync::watch;
use tokio::time::{sleep_until, timeout};

use super::port::Port;
use super::{Closed, Identity, Inlet, Verdict, batch, stopped};
use crate::clock;
use crate::config::Serial;
use crate::intake::dedup::{Boots, device_mark_key};
use crate::observe::Observe;
use crate::observe::device::{BootReused, DeviceJoined, DeviceLost, DeviceSaid};
use crate::observe::source::SourceMetrics;
use node::Node;
use reading::Schemas;

/// How long a node waits before it offers again what could not be stored, in milliseconds.
const RETRY_MS: u32 = 1_000;
/// How long a frame may take to leave; after that the line counts as noisy, and the link's own
/// repetition helps.
const WRITE_MAX: Duration = Duration::from_millis(500);
/// Bytes read at once.
const READ_BYTES: usize = 4096;
/// What a reading is called that no schema explains.
const RAW: &str = "application/vnd.tidegate.readings";

/// A `serial` source.
pub struct SerialSource {
    config: Serial,
    port: Port,
    inlet: Inlet,
    store: Store,
    metrics: SourceMetrics,
    observe: Arc<Observe>,
    /// The CloudEvents source of its events.
    source: Arc<str>,
    schemas: Schemas,
}

/// One opened line.
struct Line {
    link: HostLink,
    began: Instant,
    node: Option<Node>,
    /// Handed on by the link and not offered yet.
    batch: Vec<(EventId, Event, Identity)>,
    counted: Counters,
}

/// What is to be done once a batch is settled.
enum Next {
    Nothing,
    /// A node said hello: go on behind its mark.
    Resume {
        schema: u32,
    },
}

impl SerialSource {
    /// A source that will speak on `config.port`; marks are read from `store`.
    pub fn new(
        config: Serial,
        name: &str,
        gateway_id: &str,
        inlet: Inlet,
        store: Store,
        observe: Arc<Observe>,
        metrics: SourceMetrics,
    ) -> SerialSource {
        let port = Port {
            source: name.into(),
            wanted: config.port.clone(),
            baud: config.baud,
            reopen_max: config.reopen_max,
            observe: Arc::clone(&observe),
        };
        SerialSource {
            config,
            port,
            inlet,
            store,
            metrics,
            observe,
            source: format!("{gateway_id}/{name}").into(),
            schemas: Schemas::default(),
        }
    }

    /// Speaks until shutdown.
    ///
    /// # Errors
    /// [`Closed`] when the intake is gone.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) -> Result<(), Closed> {
        while let Some(mut stream) = self.port.open(&mut shutdown).await {
            self.metrics.connections(1);
            let mut line = Line::new();
            let ended = tokio::select! {
                () = stopped(&mut shutdown) => None,
                ended = self.speak(&mut line, &mut stream) => Some(ended),
            };
            self.metrics.connections(-1);
            let Some(why) = ended.transpose()? else {
                return Ok(());
            };
            drop(stream);
            self.port.lost(&why);
            if let Some(node) = &line.node {
                self.observe.emit(&DeviceLost {
                    source: &self.port.source,
                    device: node.name(),
                });
            }
        }
        Ok(())
    }

    /// Speaks on one opened line to its end and tells how the end showed.
    async fn speak(
        &mut self,
        line: &mut Line,
        stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    ) -> Result<String, Closed> {
        let mut buffer = [0; READ_BYTES];
        loop {
            if let Err(error) = line.send(stream).await {
                return Ok(error.to_string());
            }
            let count = tokio::select! {
                read = stream.read(&mut buffer) => match read {
                    Ok(0) => return Ok("the line hung up".into()),
                    Ok(count) => count,
                    Err(error) => return Ok(error.to_string()),
                },
                () = sleep_until(line.deadline().into()) => continue,
            };
            self.receive(line, buffer.get(..count).unwrap_or_default())
                .await?;
        }
    }

    /// Takes what was read: everything in it, hellos in their place between events.
    async fn receive(&mut self, line: &mut Line, mut bytes: &[u8]) -> Result<(), Closed> {
        loop {
            let now_ms = line.now_ms();
            let Some(incoming) = line.link.receive(&mut bytes, now_ms) else {
                break;
            };
            let next = self.take(incoming, &mut line.node, &mut line.batch, line.began);
            if let Next::Resume { schema } = next {
                self.settle(line).await?;
                self.resume(line, schema);
            }
        }
        self.count(line);
        self.settle(line).await
    }

    /// Takes one thing that the link hands on.
    fn take(
        &mut self,
        incoming: Incoming<'_>,
        node: &mut Option<Node>,
        batch: &mut Vec<(EventId, Event, Identity)>,
        began: Instant,
    ) -> Next {
        match (incoming, node) {
            (Incoming::Hello(hello), node) => {
                *node = Some(self.meet(&hello));
                return Next::Resume {
                    schema: hello.schema,
                };
            }
            (
                Incoming::Event {
                    id,
                    uptime_ms,
                    body,
                },
                Some(node),
            ) => {
                let (content_type, data) = self.payload(body);
                let (event, identity) = node.reading(id, uptime_ms, content_type, data);
                batch.push((id, event, identity));
            }
            (Incoming::Gap { last, count }, Some(node)) => {
                let (event, identity) = node.gap(last, count);
                batch.push((last, event, identity));
            }
            (
                Incoming::Time {
                    boot,
                    uptime_ms,
                    sent_ms,
                    received_ms,
                },
                Some(node),
            ) => {
                let middle = began + Duration::from_millis(sent_ms.midpoint(received_ms));
                let ago_ms = clock::monotonic().duration_since(middle).as_millis() as i64;
                node.set_clock(boot, uptime_ms, clock::unix_ms() - ago_ms);
            }
            (
                Incoming::SchemaField {
                    key,
                    index,
                    count,
                    field,
                },
                _,
            ) if count > 0 => {
                self.schemas.take(key, index, count, field);
            }
            (Incoming::Log { level, text }, node) => self.observe.emit(&DeviceSaid {
                source: &self.port.source,
                device: node.as_ref().map_or("", |node| node.name()),
                is_bad: !matches!(level, Level::Debug | Level::Info),
                text,
            }),
            (Incoming::BootReused(id), _) => self.boot_reused(id),
            _ => {}
        }
        Next::Nothing
    }

    fn meet(&self, hello: &Hello<'_>) -> Node {
        let durable = self.durable(&node::name(hello.device));
        let node = Node::new(hello, &self.source, &self.config.topic, &durable);
        self.observe.emit(&DeviceJoined {
            source: &self.port.source,
            device: node.name(),
            boot: hello.boot,
            firmware: hello.firmware,
            lost: hello.lost,
        });
        node
    }

    /// Goes on behind what is durable of the node that said hello.
    fn resume(&self, line: &mut Line, schema: u32) {
        let Some(node) = &mut line.node else {
            return;
        };
        node.step_back(&self.durable(node.name()));
        let now_ms = line.began.elapsed().as_millis() as u64;
        let resumed = line
            .link
            .resume(node.mark(), self.schemas.knows(schema), now_ms);
        if let Err(error) = resumed {
            self.metrics.malformed("boot reused");
            tracing::error!(
                source = &*self.port.source,
                device = &**node.name(),
                "{error}"
            );
        }
    }

    /// What is durable of a device.
    fn durable(&self, device: &str) -> Boots {
        let mark = self.store.mark(&device_mark_key(device));
        mark.map_or_else(Boots::default, |mark| Boots::from_bytes(&mark))
    }

    fn boot_reused(&self, id: EventId) {
        self.metrics.malformed("boot reused");
        self.observe.emit(&BootReused {
            source: &self.port.source,
            device: &node::name(id.device),
            boot: id.boot,
        });
    }

    /// Readings as JSON where their schema is known, else the bytes as they are.
    fn payload(&self, body: Body<'_>) -> (&'static str, Bytes) {
        match body {
            Body::Readings { schema, values } => match self.schemas.read(schema, values) {
                Some(json) => ("application/json", json.to_string().into()),
                None => (RAW, Bytes::copy_from_slice(values)),
            },
            Body::Unreadable(record) => (RAW, Bytes::copy_from_slice(record)),
        }
    }

    /// Offers the batch, waits until it is settled, and tells the node.
    async fn settle(&mut self, line: &mut Line) -> Result<(), Closed> {
        if line.batch.is_empty() {
            return Ok(());
        }
        let mut offered = Vec::with_capacity(line.batch.len());
        let mut ids = Vec::with_capacity(line.batch.len());
        for (id, event, identity) in line.batch.drain(..) {
            ids.push((id, event.data.len()));
            offered.push((event, identity));
        }
        let verdicts = batch::settle(&self.inlet, offered).await?;
        for ((id, payload_bytes), verdict) in ids.into_iter().zip(verdicts) {
            match verdict {
                Verdict::Stored => {
                    self.metrics.accepted(payload_bytes);
                    line.link.acknowledge(id);
                }
                Verdict::Refused(_) => {
                    self.metrics.refused();
                    line.link.refuse(RETRY_MS);
                    let durable = line.node.as_ref().map(|node| self.durable(node.name()));
                    if let (Some(node), Some(durable)) = (&mut line.node, durable) {
                        node.step_back(&durable);
                    }
                    break;
                }
            }
        }
        Ok(())
    }

    /// Counts what the link found wrong since the last time.
    fn count(&self, line: &mut Line) {
        let now = line.link.counters();
        let before = std::mem::replace(&mut line.counted, now);
        for (reason, now, before) in [
            ("frame checksum", now.crc_errors, before.crc_errors),
            ("frame too long", now.oversize, before.oversize),
            ("frame version", now.foreign_version, before.foreign_version),
            ("frame unknown", now.unknown, before.unknown),
        ] {
            for _ in before..now {
                self.metrics.malformed(reason);
            }
        }
    }
}

impl Line {
    fn new() -> Line {
        Line {
            link: HostLink::new(fastrand::u16(1..)),
            began: clock::monotonic(),
            node: None,
            batch: Vec::new(),
            counted: Counters::default(),
        }
    }

    fn now_ms(&self) -> u64 {
        self.began.elapsed().as_millis() as u64
    }

    fn deadline(&self) -> Instant {
        let far = self.now_ms() + 60_000;
        self.began + Duration::from_millis(self.link.next_deadline().min(far))
    }

    /// Sends every frame that is due.
    async fn send(&mut self, stream: &mut (impl AsyncWrite + Unpin)) -> std::io::Result<()> {
        let mut frame = [0; FRAME_SIZE_MAX];
        let now_ms = self.now_ms();
        while let Some(frame) = self.link.transmit(now_ms, &mut frame) {
            match timeout(WRITE_MAX, stream.write_all(frame)).await {
                Ok(written) => written?,
                Err(_) => break,
            }
        }
        Ok(())
    }
}
