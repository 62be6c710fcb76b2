//! A receiver that writes down every arrival in order.

use std::io::{Read, Write};
use std::net::SocketAddr;
use std::sync::atomic::{AtomicBool, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use crate::books::{self, Id};
use crate::gateway::Gateway;
use crate::mqtt;
use crate::peer::mosquitto::Mosquitto;
use crate::wait::{self, PATIENCE};

/// One arrival.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Arrival {
    /// The topic it came under.
    pub topic: String,
    /// The id its payload belongs to; none if it belongs to nobody.
    pub id: Option<Id>,
    /// What it carried, where that belongs to nobody.
    pub foreign: Vec<u8>,
    /// Whether it is marked as part of a backlog.
    pub historical: bool,
}

/// A subscriber to everything, in a thread of its own.
pub struct Subscriber {
    arrived: Arc<Mutex<Vec<Arrival>>>,
    stop: Arc<AtomicBool>,
    thread: Option<JoinHandle<()>>,
}

impl Subscriber {
    /// Subscribes to `#` with a session that survives reconnects; returns when it is granted.
    ///
    /// # Panics
    /// When the broker does not grant it.
    pub fn start(broker: SocketAddr) -> Subscriber {
        let arrived = Arc::new(Mutex::new(Vec::new()));
        let stop = Arc::new(AtomicBool::new(false));
        let granted = Arc::new(AtomicBool::new(false));
        let thread = std::thread::spawn({
            let (arrived, stop, granted) = (
                Arc::clone(&arrived),
                Arc::clone(&stop),
                Arc::clone(&granted),
            );
            move || {
                while !stop.load(Ordering::Relaxed) {
                    let _ = listen(broker, &arrived, &stop, &granted);
                    std::thread::sleep(Duration::from_millis(20));
                }
            }
        });
        wait::until("SUBACK", || granted.load(Ordering::Relaxed));
        Subscriber {
            arrived,
            stop,
            thread: Some(thread),
        }
    }

    /// Starts a broker with a subscriber on it, and only then can a gateway that is waiting for that
    /// broker get there: what it forwards first is not forwarded to nobody.
    ///
    /// # Panics
    /// When the gateway does not run or the broker does not grant it.
    pub fn ahead_of(gateway: &Gateway, broker: &mut Mosquitto) -> Subscriber {
        gateway.signal("STOP");
        broker.start();
        let subscriber = Subscriber::start(broker.address);
        gateway.signal("CONT");
        subscriber
    }

    /// How many arrived.
    ///
    /// # Panics
    /// When its thread did.
    pub fn count(&self) -> usize {
        self.arrived.lock().expect("it runs").len()
    }

    /// Waits until at least `enough` arrived and nothing new for `quiet`, or until patience is over;
    /// then all arrivals.
    ///
    /// # Panics
    /// When its thread did.
    pub fn settle(&self, enough: usize, quiet: Duration) -> Vec<Arrival> {
        let deadline = Instant::now() + PATIENCE;
        let (mut count, mut since) = (self.count(), Instant::now());
        while Instant::now() < deadline {
            std::thread::sleep(Duration::from_millis(50));
            let now = self.count();
            if now != count {
                (count, since) = (now, Instant::now());
            }
            if count >= enough && since.elapsed() >= quiet {
                break;
            }
        }
        self.arrived.lock().expect("it runs").clone()
    }
}

impl Drop for Subscriber {
    fn drop(&mut self) {
        self.stop.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn listen(
    broker: SocketAddr,
    arrived: &Mutex<Vec<Arrival>>,
    stop: &AtomicBool,
    granted: &AtomicBool,
) -> std::io::Result<()> {
    let mut stream = mqtt::connect(broker, "oracle", false)?;
    stream.write_all(&mqtt::subscribe(1, "#"))?;
    stream.set_read_timeout(Some(Duration::from_millis(100)))?;
    let (mut buffer, mut chunk) = (Vec::new(), vec![0; 65536]);
    while !stop.load(Ordering::Relaxed) {
        match stream.read(&mut chunk) {
            Ok(0) => return Ok(()),
            Ok(count) => buffer.extend(&chunk[..count]),
            Err(error)
                if matches!(
                    error.kind(),
                    std::io::ErrorKind::WouldBlock | std::io::ErrorKind::TimedOut
                ) => {}
            Err(error) => return Err(error),
        }
        let mut acks = Vec::new();
        while let Some((first, body)) = mqtt::take(&mut buffer) {
            match first >> 4 {
                9 => granted.store(true, Ordering::Relaxed),
                3 => take(first, &body, arrived, &mut acks),
                _ => {}
            }
        }
        stream.write_all(&acks)?;
    }
    Ok(())
}

fn take(first: u8, body: &[u8], arrived: &Mutex<Vec<Arrival>>, acks: &mut Vec<u8>) {
    let len = usize::from(u16::from_be_bytes([body[0], body[1]]));
    let topic = String::from_utf8_lossy(&body[2..2 + len]).into_owned();
    let mut payload = &body[2 + len..];
    if first & 0x06 != 0 {
        acks.extend(mqtt::puback(u16::from_be_bytes([payload[0], payload[1]])));
        payload = &payload[2..];
    }
    let id = books::read(payload);
    let foreign = id.map_or_else(|| payload.to_vec(), |_| Vec::new());
    let arrival = Arrival {
        topic,
        id,
        foreign,
        historical: books::is_historical(payload),
    };
    arrived.lock().expect("it runs").push(arrival);
}
