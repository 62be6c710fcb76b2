//! Just enough MQTT 3.1.1 for an oracle that shares no code with the program under test.

pub mod broker;
pub mod load;
pub mod publisher;
pub mod raw;
pub mod subscriber;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use crate::wait::PATIENCE;

/// Connects and waits for an accepting CONNACK.
///
/// # Errors
/// When the peer is not there or refuses.
pub fn connect(address: SocketAddr, client: &str, clean: bool) -> std::io::Result<TcpStream> {
    let mut stream = TcpStream::connect_timeout(&address, PATIENCE)?;
    stream.set_nodelay(true)?;
    let mut body = vec![
        0,
        4,
        b'M',
        b'Q',
        b'T',
        b'T',
        4,
        if clean { 2 } else { 0 },
        0,
        60,
    ];
    text(&mut body, client);
    stream.write_all(&packet(0x10, &body))?;
    stream.set_read_timeout(Some(PATIENCE))?;
    let mut answer = [0; 4];
    stream.read_exact(&mut answer)?;
    stream.set_read_timeout(None)?;
    match answer {
        [0x20, 2, _, 0] => Ok(stream),
        refused => Err(std::io::Error::other(format!("refused: {refused:?}"))),
    }
}

/// A PUBLISH with QoS 1.
pub fn publish(topic: &str, id: u16, payload: &[u8]) -> Vec<u8> {
    let mut body = Vec::with_capacity(topic.len() + payload.len() + 4);
    text(&mut body, topic);
    body.extend(id.to_be_bytes());
    body.extend(payload);
    packet(0x32, &body)
}

/// Publishes with QoS 1 and waits until that is acknowledged.
///
/// # Panics
/// When something else comes, or the connection ends.
pub fn publish_acknowledged(stream: &mut TcpStream, topic: &str, id: u16, payload: &[u8]) {
    let packet = publish(topic, id, payload);
    stream.write_all(&packet).expect("it reads");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("acknowledged");
    assert_eq!(answer[..], puback(id)[..], "{topic}");
}

/// A SUBSCRIBE with QoS 1.
pub fn subscribe(id: u16, filter: &str) -> Vec<u8> {
    let mut body = id.to_be_bytes().to_vec();
    text(&mut body, filter);
    body.push(1);
    packet(0x82, &body)
}

/// A PUBACK.
pub fn puback(id: u16) -> Vec<u8> {
    packet(0x40, &id.to_be_bytes())
}

/// A packet from its first byte and its body.
pub fn packet(first: u8, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![first];
    let mut len = body.len();
    loop {
        let byte = (len & 0x7f) as u8;
        len >>= 7;
        if len == 0 {
            bytes.push(byte);
            break;
        }
        bytes.push(byte | 0x80);
    }
    bytes.extend(body);
    bytes
}

fn text(into: &mut Vec<u8>, text: &str) {
    into.extend((text.len() as u16).to_be_bytes());
    into.extend(text.as_bytes());
}

/// Takes the first whole packet out of `buffer`: its first byte and its body.
pub fn take(buffer: &mut Vec<u8>) -> Option<(u8, Vec<u8>)> {
    let mut len = 0;
    let mut at = 1;
    loop {
        let byte = *buffer.get(at)?;
        len |= usize::from(byte & 0x7f) << (7 * (at - 1));
        at += 1;
        if byte & 0x80 == 0 {
            break;
        }
    }
    if buffer.len() < at + len {
        return None;
    }
    let rest = buffer.split_off(at + len);
    let whole = std::mem::replace(buffer, rest);
    Some((whole[0], whole[at..].to_vec()))
}
