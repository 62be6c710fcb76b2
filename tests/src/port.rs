//! Ports of this machine that nobody else takes.

use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::atomic::{AtomicU32, Ordering};

use crate::wait;

/// A loopback address that was free a moment ago.
///
/// # Panics
/// When a bound socket has no address.
pub fn free() -> SocketAddr {
    // Below the range that the kernel hands out to outgoing connections, and another one each time: between now and its
    // use nobody else takes it.
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + std::process::id().wrapping_mul(97).wrapping_add(step) % 20_000;
        if let Ok(socket) = TcpListener::bind(("127.0.0.1", port as u16)) {
            return socket.local_addr().expect("its address");
        }
    }
}

/// A connection to a listener, which may open a moment after the others of its gateway.
///
/// # Panics
/// When nobody listens there for too long.
pub fn connect(address: SocketAddr) -> TcpStream {
    wait::find("somebody listens", || TcpStream::connect(address))
}
