//! What comes over HTTP compressed, half, with a token or from another gateway, at the real program.

mod bodies;
mod chain;
mod halves;
mod heads;
mod tokens;

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::port;

pub(crate) const STRUCTURED: &str = "Content-Type: application/cloudevents+json\r\n";

/// A gateway with an HTTP source `hooks`; `more` are further keys of it and what follows.
pub(crate) fn with_hooks(more: &str) -> (Gateway, SocketAddr) {
    let hooks = port::free();
    let source = format!("[sources.hooks]\ntype = \"http\"\nlisten = \"{hooks}\"\n{more}");
    (Gateway::new(&source), hooks)
}

/// Starts a gateway and waits for its HTTP source.
pub(crate) fn start(gateway: &mut Gateway, hooks: SocketAddr) {
    gateway.start();
    gateway.wait_until("the HTTP source listens", || {
        TcpStream::connect(hooks).is_ok()
    });
}

/// Posts to `path`; the answer with its head.
pub(crate) fn post(address: SocketAddr, path: &str, headers: &str, body: &[u8]) -> String {
    post_bytes(address, path, headers.as_bytes(), body)
}

/// The same with headers that are no text.
pub(crate) fn post_bytes(address: SocketAddr, path: &str, headers: &[u8], body: &[u8]) -> String {
    let mut stream = port::connect(address);
    let is_chunked = String::from_utf8_lossy(headers).contains("Transfer-Encoding");
    let length = match is_chunked {
        true => String::new(),
        false => format!("Content-Length: {}\r\n", body.len()),
    };
    let head = format!("POST {path} HTTP/1.1\r\nHost: h\r\nConnection: close\r\n{length}");
    let head = [head.as_bytes(), headers, b"\r\n"].concat();
    stream.write_all(&head).expect("a head");
    // The other end may answer and close before it has read everything.
    let _ = stream.write_all(body);
    let mut answer = Vec::new();
    let _ = stream.read_to_end(&mut answer);
    String::from_utf8_lossy(&answer).into_owned()
}
