//! One connection to a broker: bytes out, packets in, and whether the other end still lives.
//!
//! Nothing here waits for anything but the socket, and nothing is lost when a wait is given up: the forwarder offers more in
//! the middle of it.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::BytesMut;
use rustls::pki_types::ServerName;
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::sleep_until;
use tokio_rustls::TlsConnector;

use super::limits::BrokerLimits;
use super::packet::{self, Incoming};
use super::reason;
use crate::config::connection::tls::objection;
use crate::config::{Broker, MqttVersion};
use crate::time::clock;

/// Room made for what a broker sends.
const READ_BYTES: usize = 16 * 1024;
/// Nothing is asked for so long before the keep-alive is agreed on.
const QUIET_MAX: Duration = Duration::from_secs(3600);
/// How long the last bytes may take to leave.
const CLOSE_MAX: Duration = Duration::from_secs(1);

/// A connection that a broker accepted.
pub(super) struct BrokerConnection {
    reader: Box<dyn AsyncRead + Send + Unpin>,
    writer: Box<dyn AsyncWrite + Send + Unpin>,
    incoming: BytesMut,
    /// What is still to be written.
    pub(super) out: BytesMut,
    flushed: bool,
    /// Why nothing more can be read, told after what was read.
    broken: Option<String>,
    /// What that was, where the system or the TLS layer said it.
    failed: Option<std::io::Error>,
    /// What the first bytes are.
    first: FirstBytes,
    life: Life,
}

/// What the other end speaks, by the first bytes that it sends.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum FirstBytes {
    Mqtt,
    Tls,
    Http,
}

impl FirstBytes {
    /// An alert of TLS, or an answer of HTTP; everything else may be MQTT.
    fn of(bytes: &[u8]) -> FirstBytes {
        match bytes {
            [0x15, 0x03, ..] => FirstBytes::Tls,
            [b'H', b'T', b'T', b'P', ..] => FirstBytes::Http,
            _ => FirstBytes::Mqtt,
        }
    }

    /// What to do about it.
    fn words(self) -> Option<&'static str> {
        match self {
            FirstBytes::Tls => Some("it speaks TLS; write mqtts:// in `url`"),
            FirstBytes::Http => Some("it speaks HTTP, not MQTT; see the port in `url`"),
            FirstBytes::Mqtt => None,
        }
    }
}

/// What went wrong with the connection, in words.
fn told(error: &std::io::Error, broker: &Broker) -> String {
    let tls = broker.tls.as_ref();
    let objection = tls.and_then(|tls| objection::of_server(error, tls, "mqtt://"));
    objection.unwrap_or_else(|| error.to_string())
}

impl BrokerConnection {
    /// Connects and logs in.
    ///
    /// # Errors
    /// Why that failed, in words.
    pub(super) async fn open(
        broker: &Broker,
        tls: Option<Arc<rustls::ClientConfig>>,
    ) -> Result<(BrokerConnection, BrokerLimits), String> {
        let host = broker.host.trim_matches(['[', ']']);
        let stream = TcpStream::connect((host, broker.port)).await;
        let stream = stream.map_err(|error| error.to_string())?;
        let _ = stream.set_nodelay(true);
        let mut connection = match tls {
            None => {
                let (reader, writer) = stream.into_split();
                BrokerConnection::over(Box::new(reader), Box::new(writer))
            }
            Some(tls) => {
                let name = ServerName::try_from(host.to_owned());
                let name = name.map_err(|error| error.to_string())?;
                let stream = TlsConnector::from(tls).connect(name, stream).await;
                let stream = stream.map_err(|error| told(&error, broker))?;
                let (reader, writer) = tokio::io::split(stream);
                BrokerConnection::over(Box::new(reader), Box::new(writer))
            }
        };
        packet::connect(broker, &mut connection.out)?;
        let limits = connection.log_in(broker).await?;
        connection.life = Life::new(broker.keep_alive, limits.keep_alive_s);
        Ok((connection, limits))
    }

    fn over(
        reader: Box<dyn AsyncRead + Send + Unpin>,
        writer: Box<dyn AsyncWrite + Send + Unpin>,
    ) -> BrokerConnection {
        BrokerConnection {
            reader,
            writer,
            incoming: BytesMut::new(),
            out: BytesMut::new(),
            flushed: true,
            broken: None,
            failed: None,
            first: FirstBytes::Mqtt,
            // A PINGREQ must not go before CONNACK.
            life: Life::new(QUIET_MAX, None),
        }
    }

    async fn log_in(&mut self, broker: &Broker) -> Result<BrokerLimits, String> {
        let version = broker.version;
        let first = self.receive().await;
        let first = first.map_err(|why| match (&self.failed, self.first.words()) {
            (Some(error), _) if objection::of_rustls(error).is_some() => told(error, broker),
            (_, Some(words)) => words.to_owned(),
            _ if version == MqttVersion::V5 => format!(
                "{why} before CONNACK; if it knows MQTT 3.1.1 only, set `version = \"3.1.1\"`"
            ),
            _ => format!("{why} before CONNACK"),
        })?;
        match first.into_iter().next() {
            Some(Incoming::ConnAck {
                reason: 0,
                properties,
                ..
            }) => Ok(match version {
                MqttVersion::V5 => BrokerLimits::of(&properties),
                MqttVersion::V311 => BrokerLimits::NONE,
            }),
            Some(Incoming::ConnAck { reason, said, .. }) => {
                Err(reason::of_connack(reason, said.as_deref()))
            }
            _ => Err("the broker sends something else before CONNACK".to_owned()),
        }
    }

    /// Writes what is to be written until something was read; may be given up at any time.
    ///
    /// # Errors
    /// Why the connection is of no more use.
    pub(super) async fn receive(&mut self) -> Result<Vec<Incoming>, String> {
        loop {
            let read = self.decode();
            if !read.is_empty() {
                return Ok(read);
            }
            if let Some(why) = &self.broken {
                return Err(why.clone());
            }
            let due = self.life.due(clock::monotonic(), &mut self.out)?;
            let writes = !self.out.is_empty() || !self.flushed;
            tokio::select! {
                read = self.reader.read_buf(&mut self.incoming) => match read {
                    Ok(0) => self.broken = Some("the broker closed the connection".to_owned()),
                    Ok(_) => {
                        self.first = FirstBytes::of(&self.incoming);
                        self.life.heard();
                    }
                    Err(error) => {
                        self.broken = Some(error.to_string());
                        self.failed = Some(error);
                    }
                },
                written = write(&mut self.writer, &mut self.out, &mut self.flushed), if writes => {
                    // What the broker said before may still be read, and be the reason.
                    if let Err(error) = written {
                        self.out.clear();
                        self.flushed = true;
                        self.last_words().await;
                        self.broken.get_or_insert(error.to_string());
                    }
                }
                () = sleep_until(due.into()) => {}
            }
        }
    }

    /// Reads what is there to be read, without waiting for more.
    async fn last_words(&mut self) {
        let moment = Duration::from_millis(50);
        let read = async { while let Ok(1..) = self.reader.read_buf(&mut self.incoming).await {} };
        let _ = tokio::time::timeout(moment, read).await;
    }

    /// The packets that are there as a whole.
    fn decode(&mut self) -> Vec<Incoming> {
        let mut read = Vec::new();
        while self.broken.is_none() || !self.incoming.is_empty() {
            match packet::next(&mut self.incoming) {
                Ok(Some(Incoming::Disconnect(words))) => {
                    self.broken = Some(format!("the broker disconnected: {words}"));
                    self.incoming.clear();
                }
                Ok(Some(Incoming::Other)) => {}
                Ok(Some(incoming)) => read.push(incoming),
                Ok(None) => break,
                Err(why) => {
                    self.broken = Some(why);
                    self.incoming.clear();
                }
            }
        }
        self.incoming.reserve(READ_BYTES);
        read
    }

    /// Says goodbye.
    pub(super) async fn close(mut self) {
        self.out.extend_from_slice(&packet::DISCONNECT);
        let leaves = async {
            let written = self.writer.write_all_buf(&mut self.out).await;
            written.and(self.writer.shutdown().await)
        };
        // What does not leave in time is sent again in the next session.
        let _ = tokio::time::timeout(CLOSE_MAX, leaves).await;
    }
}

/// Writes a part, or pushes on what was written.
async fn write(
    writer: &mut (impl AsyncWrite + Unpin),
    out: &mut BytesMut,
    flushed: &mut bool,
) -> std::io::Result<()> {
    if out.is_empty() {
        writer.flush().await?;
        *flushed = true;
        return Ok(());
    }
    *flushed = false;
    match writer.write_buf(out).await? {
        0 => Err(std::io::ErrorKind::WriteZero.into()),
        _ => Ok(()),
    }
}

/// Whether the other end lives: asked by a PINGREQ in time for its keep-alive, and given up where nothing comes.
struct Life {
    every: Duration,
    patience: Duration,
    asked: Instant,
    /// A PINGREQ that nothing was heard after.
    waits: bool,
}

impl Life {
    /// The broker's keep-alive goes before ours (3.2.2.3.14); where it asks for none, ours still tells a dead connection.
    fn new(keep_alive: Duration, of_broker_s: Option<u16>) -> Life {
        let of_broker = of_broker_s.filter(|seconds| *seconds > 0);
        let of_broker = of_broker.map(|seconds| Duration::from_secs(seconds.into()));
        let shortest = of_broker.map_or(keep_alive, |of_broker| of_broker.min(keep_alive));
        Life {
            every: shortest * 3 / 4,
            patience: keep_alive,
            asked: clock::monotonic(),
            waits: false,
        }
    }

    fn heard(&mut self) {
        self.waits = false;
    }

    /// When to look again. Asks where it is time to.
    fn due(&mut self, now: Instant, out: &mut BytesMut) -> Result<Instant, String> {
        if self.waits {
            let until = self.asked + self.patience;
            let seconds = self.patience.as_secs();
            return match until <= now {
                true => Err(format!(
                    "the broker does not answer a ping within {seconds} s"
                )),
                false => Ok(until),
            };
        }
        if self.asked + self.every <= now {
            out.extend_from_slice(&packet::PINGREQ);
            self.asked = now;
            self.waits = true;
            return Ok(now + self.patience);
        }
        Ok(self.asked + self.every)
    }
}
