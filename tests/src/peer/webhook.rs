//! An HTTP server for webhooks.

use std::io::{Read, Write};
use std::net::TcpListener;

use crate::port;

/// Starts one that takes no event; gives the address to post to.
///
/// # Panics
/// When there is no port.
pub fn that_refuses() -> String {
    let listener = TcpListener::bind(port::free()).expect("an address");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let mut chunk = [0; 65536];
                let mut held = Vec::new();
                while let Ok(count) = stream.read(&mut chunk)
                    && count > 0
                {
                    held.extend_from_slice(&chunk[..count]);
                    while let Some(length) = request_length(&held) {
                        held.drain(..length);
                        let _ = stream
                            .write_all(b"HTTP/1.1 400 Bad Request\r\nContent-Length: 0\r\n\r\n");
                    }
                }
            });
        }
    });
    format!("http://{address}/events")
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
