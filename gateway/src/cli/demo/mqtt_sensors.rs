//! The demo's MQTT sensors: each numbers its readings and keeps every one until it is acked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::books::Books;
use super::latency::Latency;
use crate::time::clock;

/// Readings a sensor keeps while the gateway is away; then it pauses measuring.
const KEPT_MAX: usize = 5_000;
/// Publishes under way at once.
const INFLIGHT_MAX: u16 = 100;

/// One simulated sensor.
pub(super) struct Sensor {
    /// Its client id and the level of its topic.
    pub name: String,
    /// The gateway's listener.
    pub gateway: SocketAddr,
    /// How often it measures.
    pub every: Duration,
    /// Where it writes down what was acknowledged.
    pub books: Arc<Books>,
    /// Where it writes down how long acks took.
    pub latency: Arc<Latency>,
}

/// What a sensor measures at its reading number `n`; about one in a hundred is hot.
pub(super) fn temperature(n: u64) -> f64 {
    match n % 97 {
        13 if n.is_multiple_of(2) => 95.5,
        13 => 85.25,
        other => 20.0 + other as f64 / 10.0,
    }
}

struct Session {
    client: AsyncClient,
    events: EventLoop,
    /// Handed to the client, its packet id not known yet.
    queued: VecDeque<u64>,
    /// On the wire: packet id, reading, and when it left.
    sent: VecDeque<(u16, u64, std::time::Instant)>,
    connected: bool,
}

impl Sensor {
    /// Measures until `stop`, then waits until everything kept is acknowledged.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut kept: VecDeque<u64> = VecDeque::new();
        let mut next = 0;
        let mut due = Instant::from_std(clock::monotonic());
        let mut session = self.session();
        loop {
            let stopping = *stop.borrow_and_update();
            if stopping && kept.is_empty() {
                return;
            }
            self.publish(&mut session, &kept);
            tokio::select! {
                event = session.events.poll() => match event {
                    Ok(event) => self.take(event, &mut session, &mut kept),
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        session = self.session();
                    }
                },
                () = sleep_until(due), if !stopping && kept.len() < KEPT_MAX => {
                    kept.push_back(next);
                    next += 1;
                    due += self.every;
                }
                _ = stop.changed(), if !stopping => {}
            }
        }
    }

    fn session(&self) -> Session {
        let mut options = MqttOptions::new(
            &self.name,
            self.gateway.ip().to_string(),
            self.gateway.port(),
        );
        options.set_keep_alive(Duration::from_secs(10));
        options.set_inflight(INFLIGHT_MAX);
        let (client, events) = AsyncClient::new(options, INFLIGHT_MAX as usize);
        Session {
            client,
            events,
            queued: VecDeque::new(),
            sent: VecDeque::new(),
            connected: false,
        }
    }

    /// Publishes the oldest readings that are not under way yet.
    fn publish(&self, session: &mut Session, kept: &VecDeque<u64>) {
        let under_way = session.queued.len() + session.sent.len();
        let room = (INFLIGHT_MAX as usize).saturating_sub(under_way);
        if !session.connected || room == 0 {
            return;
        }
        for n in kept.iter().skip(under_way).take(room) {
            let topic = format!("sensors/{}/temperature", self.name);
            let payload = format!(
                r#"{{"sensor":"{}","n":{n},"temperature":{}}}"#,
                self.name,
                temperature(*n)
            );
            match session
                .client
                .try_publish(topic, QoS::AtLeastOnce, false, payload)
            {
                Ok(()) => session.queued.push_back(*n),
                Err(_) => break,
            }
        }
    }

    fn take(&self, event: Event, session: &mut Session, kept: &mut VecDeque<u64>) {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => session.connected = true,
            Event::Outgoing(Outgoing::Publish(id)) => {
                if let Some(n) = session.queued.pop_front() {
                    session.sent.push_back((id, n, clock::monotonic()));
                }
            }
            Event::Incoming(Packet::PubAck(ack)) => self.acknowledged(ack.pkid, session, kept),
            _ => {}
        }
    }

    /// Acks come in the order of publishing; what is acknowledged is kept no longer.
    fn acknowledged(&self, id: u16, session: &mut Session, kept: &mut VecDeque<u64>) {
        let Some(at) = session.sent.iter().position(|(sent, _, _)| *sent == id) else {
            return;
        };
        let Some((_, n, left)) = session.sent.remove(at) else {
            return;
        };
        kept.retain(|k| *k != n);
        self.latency.add(left.elapsed());
        self.books.acknowledged(&self.name, n);
        if temperature(n) > 80.0 {
            self.books.alarm_due(&self.name, n);
        }
    }
}
