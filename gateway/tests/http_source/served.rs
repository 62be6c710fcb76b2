//! An HTTP source in front of an intake that is told what to say.

use std::sync::{Arc, Mutex};

use tidegate::config::User;
use tidegate::event::ack::{Refusal, Verdict};
use tidegate::event::inlet::Inlet;
use tidegate::observe::Observe;
use tidegate::observe::source::{SourceFamilies, SourceMetrics};
use tidegate::source::http::HttpListener;
use tidegate::source::http::config::HttpSource;
use tidegate_rules::event::Event;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::task::JoinHandle;

/// What the intake says to an event; `None` drops its ack.
pub(crate) type Say = fn(&Event) -> Option<Verdict>;

pub(crate) const STORED: Say = |_| Some(Verdict::Stored);
pub(crate) const FULL: Say = |event| match &*event.id {
    "b" => Some(Verdict::Refused(Refusal::Full)),
    _ => Some(Verdict::Stored),
};

/// The source; it ends when this is dropped.
pub(crate) struct Served {
    pub(crate) address: std::net::SocketAddr,
    pub(crate) offered: Arc<Mutex<Vec<Event>>>,
    pub(crate) metrics: SourceMetrics,
    pub(crate) stop: watch::Sender<bool>,
    pub(crate) task: JoinHandle<()>,
}

/// A source without users on a port of its own.
pub(crate) fn config() -> HttpSource {
    HttpSource {
        listen: "127.0.0.1:0".parse().expect("an address"),
        tls: None,
        users: Vec::<User>::new(),
        anonymous: true,
        payload_bytes_max: 1000,
        connections_max: 8,
        connections_per_ip_max: 0,
        head_max: std::time::Duration::from_secs(5),
        id_field: None,
    }
}

impl Served {
    pub(crate) async fn start(config: HttpSource, say: Say) -> Served {
        let observe = Arc::new(Observe::default());
        let metrics = SourceFamilies::register(&observe).of("hooks");
        let (inlet, mut offers) = Inlet::new(16, 1 << 20);
        let offered: Arc<Mutex<Vec<Event>>> = Arc::default();
        let log = Arc::clone(&offered);
        tokio::spawn(async move {
            while let Some(offer) = offers.recv().await {
                for arrival in offer.arrivals {
                    let verdict = say(&arrival.event);
                    log.lock().expect("nobody panics").push(arrival.event);
                    match verdict {
                        Some(verdict) => arrival.ack.settle(verdict),
                        None => drop(arrival.ack),
                    }
                }
            }
        });
        let listener =
            HttpListener::bind(config, "hooks", "plant-a", inlet, observe, metrics.clone()).await;
        let listener = listener.expect("it listens");
        let address = listener.local_addr().expect("an address");
        let (stop, stopped) = watch::channel(false);
        let task = tokio::spawn(async move {
            let _ = listener.run(stopped).await;
        });
        Served {
            address,
            offered,
            metrics,
            stop,
            task,
        }
    }

    /// Sends a POST and gives the status code and the whole answer.
    pub(crate) async fn post(&self, path: &str, headers: &str, body: &[u8]) -> (u16, String) {
        let length = body.len();
        let head = format!("POST {path} HTTP/1.1\r\nContent-Length: {length}\r\n{headers}");
        self.ask(&head, body).await
    }

    /// Sends the beginning of a head and a body.
    pub(crate) async fn ask(&self, head: &str, body: &[u8]) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).await.expect("it listens");
        let head = format!("{head}Host: localhost\r\nConnection: close\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("a head");
        // The other end may answer and close before it has read everything.
        let _ = stream.write_all(body).await;
        let mut answer = Vec::new();
        let _ = stream.read_to_end(&mut answer).await;
        let answer = String::from_utf8_lossy(&answer).into_owned();
        let status = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        (status.unwrap_or_default(), answer)
    }

    pub(crate) fn offered(&self) -> Vec<Event> {
        self.offered.lock().expect("nobody panics").clone()
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.task.abort();
    }
}
