//! Just enough MQTT 5 to send and see every property of a publish.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use super::{packet, take};
use crate::wait::PATIENCE;

/// Options of a subscription: QoS 1, and the retain flag as it was published.
pub const AS_PUBLISHED: u8 = 1 | 8;

/// A PUBLISH, with everything that it may say but a topic alias.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Message {
    /// Its topic.
    pub topic: String,
    /// Its retain flag.
    pub retain: bool,
    /// Its payload.
    pub payload: Vec<u8>,
    /// Payload Format Indicator.
    pub payload_format: Option<u8>,
    /// Message Expiry Interval.
    pub expiry_s: Option<u32>,
    /// Content Type.
    pub content_type: Option<String>,
    /// Response Topic.
    pub response_topic: Option<String>,
    /// Correlation Data.
    pub correlation_data: Option<Vec<u8>>,
    /// User properties, in their order.
    pub user: Vec<(String, String)>,
}

impl Message {
    /// One with a payload and no property.
    pub fn new(topic: &str, payload: &str) -> Message {
        Message {
            topic: topic.into(),
            payload: payload.into(),
            ..Message::default()
        }
    }

    /// The same with these user properties.
    pub fn with_user(self, user: &[(&str, &str)]) -> Message {
        let owned = |(name, value): &(&str, &str)| ((*name).to_owned(), (*value).to_owned());
        Message {
            user: user.iter().map(owned).collect(),
            ..self
        }
    }

    /// Its packet with QoS 1.
    pub fn packet(&self, id: u16) -> Vec<u8> {
        let mut properties = Vec::new();
        if let Some(format) = self.payload_format {
            properties.extend([0x01, format]);
        }
        if let Some(seconds) = self.expiry_s {
            properties.push(0x02);
            properties.extend(seconds.to_be_bytes());
        }
        let texts = [(0x03, &self.content_type), (0x08, &self.response_topic)];
        for (number, text) in texts {
            if let Some(text) = text {
                properties.push(number);
                field(&mut properties, text.as_bytes());
            }
        }
        if let Some(bytes) = &self.correlation_data {
            properties.push(0x09);
            field(&mut properties, bytes);
        }
        for (name, value) in &self.user {
            properties.push(0x26);
            field(&mut properties, name.as_bytes());
            field(&mut properties, value.as_bytes());
        }
        let mut body = Vec::new();
        field(&mut body, self.topic.as_bytes());
        body.extend(id.to_be_bytes());
        length(&mut body, properties.len());
        body.extend(properties);
        body.extend(&self.payload);
        packet(0x32 | u8::from(self.retain), &body)
    }

    /// The message of a PUBLISH, and its packet identifier where its QoS has one.
    fn read(first: u8, body: &[u8]) -> (Message, Option<u16>) {
        let mut rest = body;
        let topic = text(&mut rest);
        let id = (first & 6 != 0).then(|| u16::from_be_bytes([byte(&mut rest), byte(&mut rest)]));
        let properties = read_length(&mut rest);
        let (mut properties, payload) = rest.split_at(properties);
        let mut message = Message {
            topic,
            retain: first & 1 != 0,
            payload: payload.to_vec(),
            ..Message::default()
        };
        while !properties.is_empty() {
            message.property(&mut properties);
        }
        (message, id)
    }

    fn property(&mut self, rest: &mut &[u8]) {
        match byte(rest) {
            0x01 => self.payload_format = Some(byte(rest)),
            0x02 => self.expiry_s = Some(u32::from_be_bytes([(); 4].map(|()| byte(rest)))),
            0x03 => self.content_type = Some(text(rest)),
            0x08 => self.response_topic = Some(text(rest)),
            0x09 => self.correlation_data = Some(bytes(rest).to_vec()),
            0x26 => self.user.push((text(rest), text(rest))),
            other => panic!("property {other:#x} in a PUBLISH"),
        }
    }
}

/// A client with a session of its own.
pub struct Client {
    stream: TcpStream,
    buffer: Vec<u8>,
    acknowledges: bool,
}

impl Client {
    /// Connects, and takes as much unacknowledged as the peer likes to send.
    ///
    /// # Panics
    /// When it is not let in.
    pub fn connect(address: SocketAddr, id: &str) -> Client {
        Client::with_window(address, id, u16::MAX)
    }

    /// The same with a Receive Maximum; of one message at a time it acknowledges none by itself.
    ///
    /// # Panics
    /// When it is not let in.
    pub fn with_window(address: SocketAddr, id: &str, window: u16) -> Client {
        let stream = TcpStream::connect(address).expect("it listens");
        stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
        let mut client = Client {
            stream,
            buffer: Vec::new(),
            acknowledges: window > 1,
        };
        let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 5, 2, 0, 0, 3, 0x21];
        body.extend(window.to_be_bytes());
        field(&mut body, id.as_bytes());
        client.send(&packet(0x10, &body));
        let (first, body) = client.packet();
        assert_eq!((first, body[1]), (0x20, 0), "let in");
        client
    }

    fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it reads");
    }

    /// The next packet.
    fn packet(&mut self) -> (u8, Vec<u8>) {
        let mut chunk = [0; 16_384];
        loop {
            if let Some(found) = take(&mut self.buffer) {
                return found;
            }
            let count = self.stream.read(&mut chunk).expect("a packet");
            assert!(count > 0, "the connection ended");
            self.buffer.extend(&chunk[..count]);
        }
    }

    /// Subscribes with these options.
    ///
    /// # Panics
    /// When it is not granted.
    pub fn subscribe(&mut self, filter: &str, options: u8) {
        let mut body = vec![0, 1, 0];
        field(&mut body, filter.as_bytes());
        body.push(options);
        self.send(&packet(0x82, &body));
        let (first, body) = self.packet();
        assert_eq!((first, body[3]), (0x90, options & 3), "granted");
    }

    /// Publishes with QoS 1; the reason of the PUBACK.
    ///
    /// # Panics
    /// When something else comes.
    pub fn publish(&mut self, message: &Message) -> u8 {
        self.send(&message.packet(7));
        let (first, body) = self.packet();
        assert_eq!((first, &body[..2]), (0x40, &[0, 7][..]), "a PUBACK");
        body.get(2).copied().unwrap_or(0)
    }

    /// The next message; acknowledged, if this client does that by itself.
    ///
    /// # Panics
    /// When something else comes, or nothing.
    pub fn message(&mut self) -> Message {
        let (first, body) = self.packet();
        assert_eq!(first >> 4, 3, "a PUBLISH, not {first:#x} {body:?}");
        let (message, id) = Message::read(first, &body);
        if let (Some(id), true) = (id, self.acknowledges) {
            self.acknowledge(id);
        }
        message
    }

    /// Sends a PUBACK.
    pub fn acknowledge(&mut self, id: u16) {
        self.send(&packet(0x40, &id.to_be_bytes()));
    }

    /// The next messages up to and with one under this topic.
    ///
    /// # Panics
    /// As [`Client::message`].
    pub fn messages_until(&mut self, topic: &str) -> Vec<Message> {
        let mut all = Vec::new();
        while all.last().is_none_or(|last: &Message| last.topic != topic) {
            all.push(self.message());
        }
        all
    }
}

fn field(into: &mut Vec<u8>, bytes: &[u8]) {
    into.extend((bytes.len() as u16).to_be_bytes());
    into.extend(bytes);
}

fn length(into: &mut Vec<u8>, mut length: usize) {
    while length > 0x7f {
        into.push(length as u8 | 0x80);
        length >>= 7;
    }
    into.push(length as u8);
}

fn read_length(rest: &mut &[u8]) -> usize {
    let (mut length, mut shift) = (0, 0);
    loop {
        let byte = byte(rest);
        length |= usize::from(byte & 0x7f) << shift;
        shift += 7;
        if byte & 0x80 == 0 {
            return length;
        }
    }
}

fn byte(rest: &mut &[u8]) -> u8 {
    let (first, behind) = rest.split_first().expect("a whole packet");
    *rest = behind;
    *first
}

fn bytes<'a>(rest: &mut &'a [u8]) -> &'a [u8] {
    let length = usize::from(u16::from_be_bytes([byte(rest), byte(rest)]));
    let (bytes, behind) = rest.split_at(length);
    *rest = behind;
    bytes
}

fn text(rest: &mut &[u8]) -> String {
    String::from_utf8(bytes(rest).to_vec()).expect("UTF-8")
}
