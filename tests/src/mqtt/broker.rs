//! A broker that answers as it is told, for what a real one cannot be brought to.

use std::io::{Read, Write};
use std::net::{Shutdown, SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, MutexGuard};

use crate::mqtt;

/// A PUBLISH that came.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Message {
    /// The connection it came on, counted from 1.
    pub connection: usize,
    /// Its topic.
    pub topic: String,
    /// Its user properties.
    pub user: Vec<(String, String)>,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Bytes of its packet.
    pub packet_bytes: usize,
}

/// What to do with a PUBLISH.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Answer {
    /// PUBACK or PUBREC with this reason.
    Reason(u8),
    /// No answer.
    Silence,
    /// Close the connection.
    Cut,
    /// DISCONNECT with this reason, and close.
    Disconnect(u8),
}

/// What the broker saw.
#[derive(Debug, Default)]
pub struct Seen {
    /// Connections that it accepted.
    pub connections: usize,
    /// All that was published.
    pub published: Vec<Message>,
    /// Publishes that wait for an answer or a PUBREL, at most.
    pub under_way_max: usize,
    /// PINGREQs.
    pub pings: usize,
}

type Decide = Arc<Mutex<dyn FnMut(&Message) -> Answer + Send>>;

/// The broker.
pub struct Broker {
    /// Where it listens.
    pub address: SocketAddr,
    seen: Arc<Mutex<Seen>>,
}

impl Broker {
    /// Listens. CONNACK has these `properties`, where the client speaks MQTT 5; `decide` says what to do with a PUBLISH.
    ///
    /// # Panics
    /// When there is no port.
    pub fn start(
        properties: &[u8],
        decide: impl FnMut(&Message) -> Answer + Send + 'static,
    ) -> Broker {
        let socket = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = socket.local_addr().expect("an address");
        let seen = Arc::new(Mutex::new(Seen::default()));
        let decide: Decide = Arc::new(Mutex::new(decide));
        let (properties, of_all) = (properties.to_vec(), Arc::clone(&seen));
        std::thread::spawn(move || {
            for stream in socket.incoming().flatten() {
                let mut served = Served {
                    stream,
                    properties: properties.clone(),
                    decide: Arc::clone(&decide),
                    seen: Arc::clone(&of_all),
                    number: 0,
                    v5: false,
                    under_way: 0,
                };
                std::thread::spawn(move || served.run());
            }
        });
        Broker { address, seen }
    }

    /// What it saw so far.
    ///
    /// # Panics
    /// When one of its threads did.
    pub fn seen(&self) -> MutexGuard<'_, Seen> {
        self.seen.lock().expect("it runs")
    }

    /// The topics of what was published, in order.
    pub fn topics(&self) -> Vec<String> {
        let seen = self.seen();
        let topics = seen.published.iter();
        topics.map(|message| message.topic.clone()).collect()
    }
}

/// A connection to the broker.
struct Served {
    stream: TcpStream,
    properties: Vec<u8>,
    decide: Decide,
    seen: Arc<Mutex<Seen>>,
    number: usize,
    v5: bool,
    under_way: usize,
}

impl Served {
    /// Serves until it is over.
    fn run(&mut self) -> Option<()> {
        let (mut buffer, mut chunk) = (Vec::new(), vec![0; 65536]);
        loop {
            while let Some((first, body)) = mqtt::take(&mut buffer) {
                self.take(first, &body)?;
            }
            match self.stream.read(&mut chunk) {
                Ok(count @ 1..) => buffer.extend(&chunk[..count]),
                _ => return None,
            }
        }
    }

    fn take(&mut self, first: u8, body: &[u8]) -> Option<()> {
        match first >> 4 {
            1 => {
                self.v5 = *body.get(6)? == 5;
                let mut seen = self.seen.lock().ok()?;
                seen.connections += 1;
                self.number = seen.connections;
                let mut answer = vec![0, 0];
                if self.v5 {
                    answer.push(self.properties.len() as u8);
                    answer.extend(&self.properties);
                }
                self.stream.write_all(&mqtt::packet(0x20, &answer)).ok()
            }
            3 => self.publish(first, body),
            6 => {
                self.under_way -= 1;
                self.stream.write_all(&mqtt::packet(0x70, &body[..2])).ok()
            }
            12 => {
                self.seen.lock().ok()?.pings += 1;
                self.stream.write_all(&[0xd0, 0]).ok()
            }
            _ => None,
        }
    }

    fn publish(&mut self, first: u8, body: &[u8]) -> Option<()> {
        let (id, message) = publish(self.number, body, self.v5)?;
        self.under_way += 1;
        {
            let mut seen = self.seen.lock().ok()?;
            seen.under_way_max = seen.under_way_max.max(self.under_way);
            seen.published.push(message.clone());
        }
        let answer = (self.decide.lock().ok()?)(&message);
        match answer {
            Answer::Silence => Some(()),
            Answer::Cut => {
                let _ = self.stream.shutdown(Shutdown::Both);
                None
            }
            Answer::Disconnect(reason) => {
                let goodbye = mqtt::packet(0xe0, &[reason]);
                self.stream.write_all(&goodbye).ok()?;
                let _ = self.stream.shutdown(Shutdown::Write);
                None
            }
            Answer::Reason(reason) => {
                let exactly_once = first & 0x06 == 4;
                self.under_way -= usize::from(!exactly_once || reason >= 0x80);
                let mut body = id.to_vec();
                body.extend(Some(reason).filter(|reason| self.v5 && *reason > 0));
                let first = if exactly_once { 0x50 } else { 0x40 };
                self.stream.write_all(&mqtt::packet(first, &body)).ok()
            }
        }
    }
}

/// The packet identifier and the message of a PUBLISH of QoS 1 or 2.
fn publish(connection: usize, body: &[u8], v5: bool) -> Option<([u8; 2], Message)> {
    let mut rest = body;
    let topic = text(&mut rest)?;
    let (id, behind) = rest.split_at_checked(2)?;
    rest = behind;
    let mut user = Vec::new();
    if v5 {
        let (length, at) = varint(rest)?;
        let mut properties = rest.get(at..at + length)?;
        rest = rest.get(at + length..)?;
        while let Some((first, behind)) = properties.split_first() {
            properties = behind;
            match first {
                0x26 => user.push((text(&mut properties)?, text(&mut properties)?)),
                0x03 => drop(text(&mut properties)?),
                _ => return None,
            }
        }
    }
    let message = Message {
        connection,
        topic,
        user,
        payload: rest.to_vec(),
        packet_bytes: mqtt::packet(0x30, body).len(),
    };
    Some((id.try_into().ok()?, message))
}

fn text(rest: &mut &[u8]) -> Option<String> {
    let (length, behind) = rest.split_at_checked(2)?;
    let length = usize::from(u16::from_be_bytes(length.try_into().ok()?));
    let (text, behind) = behind.split_at_checked(length)?;
    *rest = behind;
    String::from_utf8(text.to_vec()).ok()
}

fn varint(bytes: &[u8]) -> Option<(usize, usize)> {
    let mut value = 0;
    for (at, byte) in bytes.iter().take(4).enumerate() {
        value |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Some((value, at + 1));
        }
    }
    None
}
