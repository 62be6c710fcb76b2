//! MQTT 3.1, 3.1.1 and 5 byte by byte, for clients that differ from good ones.

use std::io::{ErrorKind, Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{packet, take, text};
use crate::wait::PATIENCE;

/// MQTT 3.1, as its protocol level.
pub const V31: u8 = 3;
/// MQTT 3.1.1.
pub const V311: u8 = 4;
/// MQTT 5.
pub const V5: u8 = 5;
/// All of them.
pub const LEVELS: [u8; 3] = [V31, V311, V5];

/// A will, with its properties in MQTT 5.
#[derive(Debug, Clone, Default)]
pub struct Will {
    /// Its topic.
    pub topic: String,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Whether it is retained.
    pub retain: bool,
    /// Its properties, without their length.
    pub properties: Vec<u8>,
}

/// A CONNECT. The default is a client that nobody expects anything of.
#[derive(Debug, Clone, Default)]
pub struct Hello {
    /// 3, 4 or 5.
    pub level: u8,
    /// The client id.
    pub client: String,
    /// In seconds.
    pub keep_alive_s: u16,
    /// The will.
    pub will: Option<Will>,
    /// User name.
    pub user: Option<String>,
    /// Password.
    pub password: Option<Vec<u8>>,
    /// Properties of MQTT 5, without their length.
    pub properties: Vec<u8>,
}

impl Hello {
    /// A client of this name.
    pub fn new(level: u8, client: &str) -> Hello {
        Hello {
            level,
            client: client.into(),
            keep_alive_s: 60,
            ..Hello::default()
        }
    }

    /// The same with a will of QoS 1 and the payload `gone`.
    #[must_use]
    pub fn with_will(mut self, topic: &str) -> Hello {
        self.will = Some(Will {
            topic: topic.into(),
            payload: b"gone".into(),
            ..Will::default()
        });
        self
    }

    /// Its bytes, of a clean session.
    pub fn packet(&self) -> Vec<u8> {
        let v5 = self.level == V5;
        let mut body = Vec::new();
        text(&mut body, if self.level == V31 { "MQIsdp" } else { "MQTT" });
        let mut flags = 2;
        if let Some(will) = &self.will {
            flags |= 0x0c | u8::from(will.retain) << 5;
        }
        flags |= u8::from(self.user.is_some()) << 7 | u8::from(self.password.is_some()) << 6;
        body.extend([self.level, flags]);
        body.extend(self.keep_alive_s.to_be_bytes());
        if v5 {
            body.extend(counted(&self.properties));
        }
        text(&mut body, &self.client);
        if let Some(will) = &self.will {
            if v5 {
                body.extend(counted(&will.properties));
            }
            text(&mut body, &will.topic);
            body.extend((will.payload.len() as u16).to_be_bytes());
            body.extend(&will.payload);
        }
        if let Some(user) = &self.user {
            text(&mut body, user);
        }
        if let Some(password) = &self.password {
            body.extend((password.len() as u16).to_be_bytes());
            body.extend(password);
        }
        packet(0x10, &body)
    }
}

/// Properties behind their length.
pub fn counted(properties: &[u8]) -> Vec<u8> {
    // The length is written like that of a packet.
    packet(0, properties).split_off(1)
}

/// A PUBLISH; MQTT 5 without properties.
pub fn publish(level: u8, qos: u8, id: u16, topic: &str, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::new();
    text(&mut body, topic);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    if level == V5 {
        body.push(0);
    }
    body.extend(payload);
    packet(0x30 | qos << 1, &body)
}

/// A SUBSCRIBE to one filter with its options.
pub fn subscribe(level: u8, id: u16, filter: &str, options: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if level == V5 {
        body.push(0);
    }
    text(&mut body, filter);
    body.push(options);
    packet(0x82, &body)
}

/// PINGREQ.
pub const PINGREQ: [u8; 2] = [0xc0, 0];
/// PINGRESP, as [`RawClient::packet`] reads it.
pub const PINGRESP: (u8, Vec<u8>) = (0xd0, Vec::new());
/// The DISCONNECT that takes a will back.
pub const DISCONNECT: [u8; 2] = [0xe0, 0];

/// One connection.
pub struct RawClient {
    /// Its socket.
    pub stream: TcpStream,
    /// The body of the CONNACK.
    pub connack: Vec<u8>,
    buffer: Vec<u8>,
}

impl RawClient {
    /// A connection on which nothing was said yet.
    ///
    /// # Panics
    /// When nobody listens.
    pub fn dial(address: SocketAddr) -> RawClient {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        stream.set_nodelay(true).expect("no delay");
        RawClient {
            stream,
            connack: Vec::new(),
            buffer: Vec::new(),
        }
    }

    /// A client that was let in.
    ///
    /// # Panics
    /// When it was not.
    pub fn connect(address: SocketAddr, hello: &Hello) -> RawClient {
        let mut client = RawClient::dial(address);
        client.send(&hello.packet());
        client.await_connack();
        client
    }

    /// Takes an accepting CONNACK.
    ///
    /// # Panics
    /// When something else comes.
    pub fn await_connack(&mut self) {
        let (first, body) = self.packet().expect("a CONNACK");
        assert_eq!((first, body[1]), (0x20, 0), "not let in: {body:?}");
        self.connack = body;
    }

    /// Sends bytes.
    ///
    /// # Panics
    /// When the connection is over.
    pub fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it reads");
    }

    /// The next packet: its first byte and its body. None when the connection ended.
    ///
    /// # Panics
    /// When nothing comes, and the connection stays open.
    pub fn packet(&mut self) -> Option<(u8, Vec<u8>)> {
        loop {
            if let Some(packet) = take(&mut self.buffer) {
                return Some(packet);
            }
            let mut piece = [0; 4096];
            match self.stream.read(&mut piece) {
                Ok(0) => return None,
                Ok(count) => self.buffer.extend(&piece[..count]),
                Err(error) if error.kind() == ErrorKind::WouldBlock => {
                    panic!("nothing comes, and the connection stays open")
                }
                Err(_) => return None,
            }
        }
    }

    /// Everything that comes until the connection ends.
    pub fn until_closed(&mut self) -> Vec<(u8, Vec<u8>)> {
        std::iter::from_fn(|| self.packet()).collect()
    }

    /// The reason in the DISCONNECT that ends the connection; none if it just ends.
    pub fn reason(&mut self) -> Option<u8> {
        match self.until_closed().last() {
            Some((0xe0, body)) => Some(body[0]),
            _ => None,
        }
    }

    /// Publishes with QoS 1 and waits until it is acknowledged.
    ///
    /// # Panics
    /// When something else comes.
    pub fn stored(&mut self, level: u8, topic: &str, payload: &[u8]) {
        self.send(&publish(level, 1, 7, topic, payload));
        assert_eq!(self.packet(), Some((0x40, vec![0, 7])), "{topic}");
    }

    /// Ends it as a client that says goodbye does.
    pub fn goodbye(mut self) {
        self.send(&DISCONNECT);
        self.until_closed();
    }

    /// Ends it by a reset: a socket that is closed on unread bytes.
    ///
    /// # Panics
    /// When nothing comes.
    pub fn reset(mut self) {
        self.send(&PINGREQ);
        self.stream
            .peek(&mut [0])
            .expect("a PINGRESP to leave unread");
    }
}
