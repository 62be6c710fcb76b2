//! An HTTP server for webhooks.

use std::io::{Read, Write};
use std::net::{TcpListener, TcpStream};
use std::sync::Arc;

use crate::port;

/// What a webhook does with a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Reaction {
    /// Answers with this status and no body.
    Status(u16),
    /// Answers with these bytes.
    Answer(&'static str),
    /// Sends these bytes and closes the connection.
    Close(&'static str),
    /// Leaves the connection as it is.
    Hang,
}

/// It took the event.
pub const TAKEN: Reaction = Reaction::Status(200);

/// Starts one that takes no event; gives the address to post to.
///
/// # Panics
/// When there is no port.
pub fn that_refuses() -> String {
    that(|_| Reaction::Status(400))
}

/// Starts one that reacts so to each request, of which it is given head and body; gives the address to post to.
///
/// # Panics
/// When there is no port.
pub fn that(reacts: impl Fn(&str) -> Reaction + Send + Sync + 'static) -> String {
    let listener = TcpListener::bind(port::free()).expect("an address");
    let address = listener.local_addr().expect("an address");
    let reacts = Arc::new(reacts);
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            let reacts = Arc::clone(&reacts);
            std::thread::spawn(move || serve(stream, &*reacts));
        }
    });
    format!("http://{address}/events")
}

fn serve(mut stream: TcpStream, reacts: &dyn Fn(&str) -> Reaction) {
    let mut chunk = [0; 65536];
    let mut held = Vec::new();
    while let Ok(count) = stream.read(&mut chunk)
        && count > 0
    {
        held.extend_from_slice(&chunk[..count]);
        while let Some(length) = request_length(&held) {
            let request: Vec<u8> = held.drain(..length).collect();
            match reacts(&String::from_utf8_lossy(&request)) {
                Reaction::Status(status) => {
                    let answer = format!("HTTP/1.1 {status} So\r\nContent-Length: 0\r\n\r\n");
                    let _ = stream.write_all(answer.as_bytes());
                }
                Reaction::Answer(answer) => _ = stream.write_all(answer.as_bytes()),
                Reaction::Close(answer) => {
                    let _ = stream.write_all(answer.as_bytes());
                    return;
                }
                Reaction::Hang => {}
            }
        }
    }
}

/// Bytes of the first request, if all of it is there.
fn request_length(held: &[u8]) -> Option<usize> {
    let head = held.windows(4).position(|end| end == b"\r\n\r\n")? + 4;
    let text = String::from_utf8_lossy(&held[..head]).to_lowercase();
    let length = text
        .lines()
        .find_map(|line| line.strip_prefix("content-length:"));
    let length = head + length.map_or(0, |length| length.trim().parse().unwrap_or(0));
    (held.len() >= length).then_some(length)
}
