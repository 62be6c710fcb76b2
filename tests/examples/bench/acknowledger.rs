//! The far end that costs next to nothing: a broker that acknowledges what is published to it, and
//! does nothing else with it. Behind an edge it shows what the edge can do.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;

use crate::ticks::{self, Ticks};

/// Bytes read at once.
const READ_BYTES: usize = 256 << 10;
/// How often it is looked whether all has arrived.
const LOOK_EVERY: Duration = Duration::from_millis(20);
const MQTT_5: u8 = 5;

/// What is to be seen; `None` before a cell begins.
type Seen = Arc<Mutex<Option<Ticks>>>;

/// A broker for one edge, MQTT 3.1.1 and 5, QoS 0 and 1. It listens as long as the process.
#[derive(Clone)]
pub(crate) struct Acknowledger {
    pub address: SocketAddr,
    seen: Seen,
}

impl Acknowledger {
    /// Listens.
    ///
    /// # Errors
    /// When the system has no port.
    pub(crate) fn start() -> std::io::Result<Acknowledger> {
        let listener = TcpListener::bind("127.0.0.1:0")?;
        let address = listener.local_addr()?;
        let seen = Seen::default();
        let shared = Arc::clone(&seen);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let seen = Arc::clone(&shared);
                // An edge that breaks its connection is seen by what is missing.
                std::thread::spawn(move || serve(stream, &seen));
            }
        });
        Ok(Acknowledger { address, seen })
    }

    /// Ticks off what arrives from now on.
    pub(crate) fn expect(&self, ticks: Ticks) {
        *self.seen.lock().unwrap_or_else(PoisonError::into_inner) = Some(ticks);
    }

    /// Waits until `events` distinct ones arrived or nothing came for `quiet`.
    ///
    /// # Errors
    /// When nothing was expected.
    pub(crate) async fn drain(self, events: u64, quiet: Duration) -> std::io::Result<Ticks> {
        loop {
            if let Some(ticks) =
                self.take_if(|ticks| ticks.arrived >= events || ticks.last.elapsed() > quiet)?
            {
                return Ok(ticks);
            }
            tokio::time::sleep(LOOK_EVERY).await;
        }
    }

    fn take_if(&self, over: impl Fn(&Ticks) -> bool) -> std::io::Result<Option<Ticks>> {
        let mut seen = self.seen.lock().unwrap_or_else(PoisonError::into_inner);
        match &*seen {
            None => Err(std::io::Error::other("nothing was expected")),
            Some(ticks) if over(ticks) => Ok(seen.take()),
            Some(_) => Ok(None),
        }
    }
}

/// Serves one connection: the answers to all that was read leave as one.
fn serve(mut stream: TcpStream, seen: &Seen) -> std::io::Result<()> {
    stream.set_nodelay(true)?;
    let (mut buffer, mut filled) = (vec![0; READ_BYTES], 0);
    let (mut level, mut answers) = (0, Vec::new());
    loop {
        match stream.read(&mut buffer[filled..])? {
            0 => return Ok(()),
            count => filled += count,
        }
        let mut at = 0;
        let mut payloads = Vec::new();
        while let Some((body, next)) = ticks::packet(&buffer[..filled], at) {
            payloads.extend(take(
                buffer[at],
                &buffer[body..next],
                &mut level,
                &mut answers,
            ));
            at = next;
        }
        if let Some(ticks) = &mut *seen.lock().unwrap_or_else(PoisonError::into_inner) {
            ticks.take(payloads.into_iter());
        }
        stream.write_all(&answers)?;
        answers.clear();
        buffer.copy_within(at..filled, 0);
        filled -= at;
    }
}

/// Answers a packet; gives the payload of a PUBLISH to `bench/…`.
fn take<'a>(first: u8, body: &'a [u8], level: &mut u8, answers: &mut Vec<u8>) -> Option<&'a [u8]> {
    match first >> 4 {
        1 => {
            // A bridge sets the topmost bit.
            *level = body.get(6)? & 0x7f;
            match *level {
                MQTT_5 => answers.extend([0x20, 3, 0, 0, 0]),
                _ => answers.extend([0x20, 2, 0, 0]),
            }
        }
        3 => {
            let (topic, mut rest) = ticks::topic(body)?;
            if first & 0x06 != 0 {
                let (id, behind) = rest.split_first_chunk::<2>()?;
                answers.extend([0x40, 2, id[0], id[1]]);
                rest = behind;
            }
            if *level == MQTT_5 {
                let (length, bytes) = ticks::varint(rest)?;
                rest = rest.get(bytes + length..)?;
            }
            return topic.starts_with(b"bench/").then_some(rest);
        }
        8 => answers.extend([0x90, 3, *body.first()?, *body.get(1)?, 1]),
        10 => answers.extend([0xb0, 2, *body.first()?, *body.get(1)?]),
        12 => answers.extend([0xd0, 0]),
        _ => {}
    }
    None
}
