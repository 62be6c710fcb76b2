//! A client that sends the bytes it is told to, however wrong they are.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use tidegate_tests::wait::PATIENCE;

/// MQTT 3.1.1 and 5, as their protocol levels.
pub(crate) const V3: u8 = 4;
pub(crate) const V5: u8 = 5;

/// One connection over any byte stream.
pub(crate) struct Client<S = TcpStream> {
    pub(crate) stream: S,
    level: u8,
}

/// A connection without CONNECT.
pub(crate) fn dial(address: SocketAddr) -> TcpStream {
    let stream = TcpStream::connect(address).expect("it listens");
    stream.set_read_timeout(Some(PATIENCE)).expect("a timeout");
    stream.set_nodelay(true).expect("no delay");
    stream
}

impl Client {
    /// A client that was let in.
    pub(crate) fn connect(address: SocketAddr, level: u8, id: &str) -> Client {
        Client::over(dial(address), level, &connect(level, id))
    }
}

impl<S: Read + Write> Client<S> {
    /// Sends `connect` and takes the accepting CONNACK.
    pub(crate) fn over(stream: S, level: u8, connect: &[u8]) -> Client<S> {
        let mut client = Client { stream, level };
        client.send(connect);
        let (first, body) = client.packet();
        assert_eq!((first, body[1]), (0x20, 0), "not let in: {body:?}");
        assert_eq!(body[0], 0, "a session is present");
        client
    }

    pub(crate) fn send(&mut self, bytes: &[u8]) {
        self.stream.write_all(bytes).expect("it reads");
    }

    /// The next packet: its first byte and its body.
    pub(crate) fn packet(&mut self) -> (u8, Vec<u8>) {
        let packet = self.try_packet();
        packet.expect("a packet, not the end of the connection")
    }

    /// The next packet; none when the connection ended.
    pub(crate) fn try_packet(&mut self) -> Option<(u8, Vec<u8>)> {
        let first = self.byte()?;
        let (mut len, mut shift) = (0, 0);
        loop {
            let byte = self.byte()?;
            len |= usize::from(byte & 0x7f) << shift;
            shift += 7;
            if byte & 0x80 == 0 {
                break;
            }
        }
        let mut body = vec![0; len];
        self.stream.read_exact(&mut body).expect("a whole packet");
        Some((first, body))
    }

    fn byte(&mut self) -> Option<u8> {
        let mut byte = [0];
        match self.stream.read(&mut byte) {
            Ok(0) => None,
            Ok(_) => Some(byte[0]),
            Err(error) if error.kind() == std::io::ErrorKind::WouldBlock => {
                panic!("nothing comes, and the connection stays open")
            }
            Err(_) => None,
        }
    }

    /// Everything that comes until the connection ends.
    pub(crate) fn until_closed(&mut self) -> Vec<(u8, Vec<u8>)> {
        std::iter::from_fn(|| self.try_packet()).collect()
    }

    /// The reason in the DISCONNECT that ends the connection; none if it just ends.
    pub(crate) fn reason(&mut self) -> Option<u8> {
        match self.until_closed().as_slice() {
            [] => None,
            [.., (0xe0, body)] => Some(body[0]),
            other => panic!("no DISCONNECT: {other:?}"),
        }
    }

    /// Publishes with QoS 1; whether it is acknowledged as stored.
    pub(crate) fn stored(&mut self, topic: &str, payload: &[u8]) -> bool {
        self.send(&publish(self.level, 1, 7, topic, payload));
        self.packet() == (0x40, vec![0, 7])
    }

    /// Answers a PINGREQ: everything sent before it was read.
    pub(crate) fn ping(&mut self) {
        self.send(&[0xc0, 0]);
        assert_eq!(self.packet(), (0xd0, vec![]));
    }
}

/// A PUBACK or PUBREC without the words behind its reason.
pub(crate) fn wordless((first, mut body): (u8, Vec<u8>)) -> (u8, Vec<u8>) {
    body.truncate(3);
    (first, body)
}

/// A packet from its first byte and its body.
pub(crate) fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut len = body.len();
    while len > 0x7f {
        bytes.push((len & 0x7f) as u8 | 0x80);
        len >>= 7;
    }
    bytes.push(len as u8);
    bytes.extend(body);
    bytes
}

/// A string with its length.
pub(crate) fn text(text: impl AsRef<[u8]>) -> Vec<u8> {
    let text = text.as_ref();
    [&(text.len() as u16).to_be_bytes(), text].concat()
}

/// CONNECT from its flags, keep-alive and payload; MQTT 5 without properties.
pub(crate) fn connect_with(
    level: u8,
    flags: u8,
    keep_alive_s: u16,
    payload: &[Vec<u8>],
) -> Vec<u8> {
    let mut body = text("MQTT");
    body.extend([level, flags]);
    body.extend(keep_alive_s.to_be_bytes());
    if level == V5 {
        body.push(0);
    }
    body.extend(payload.concat());
    packet(0x10, &body)
}

/// CONNECT of a clean session.
pub(crate) fn connect(level: u8, id: &str) -> Vec<u8> {
    connect_with(level, 2, 60, &[text(id)])
}

/// PUBLISH; MQTT 5 without properties.
pub(crate) fn publish(
    level: u8,
    qos: u8,
    id: u16,
    topic: impl AsRef<[u8]>,
    data: &[u8],
) -> Vec<u8> {
    let mut body = text(topic);
    if qos > 0 {
        body.extend(id.to_be_bytes());
    }
    if level == V5 {
        body.push(0);
    }
    body.extend(data);
    packet(0x30 | qos << 1, &body)
}

/// SUBSCRIBE to one filter with its options.
pub(crate) fn subscribe(level: u8, id: u16, filter: &str, options: u8) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if level == V5 {
        body.push(0);
    }
    body.extend(text(filter));
    body.push(options);
    packet(0x82, &body)
}

/// UNSUBSCRIBE from one filter.
pub(crate) fn unsubscribe(level: u8, id: u16, filter: &str) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    if level == V5 {
        body.push(0);
    }
    body.extend(text(filter));
    packet(0xa2, &body)
}
