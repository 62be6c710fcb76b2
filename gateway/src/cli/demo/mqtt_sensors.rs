//! The demo's MQTT sensors: each numbers its readings and keeps every one until it is acked.

use std::collections::VecDeque;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;

use rumqttc::{AsyncClient, Event, EventLoop, MqttOptions, Outgoing, Packet, QoS};
use tokio::sync::watch;
use tokio::time::{Instant, sleep_until};

use super::ack_latency::AckLatency;
use super::ledger::Ledger;
use crate::time::clock;

/// Readings a sensor keeps while the gateway is away; then it pauses measuring.
const UNACKNOWLEDGED_MAX: usize = 5_000;
/// Publishes under way at once.
const INFLIGHT_MAX: u16 = 100;

/// One simulated sensor.
pub(super) struct MqttSensor {
    /// Its client id and the level of its topic.
    pub name: String,
    /// The gateway's listener.
    pub gateway: SocketAddr,
    /// How often it measures.
    pub every: Duration,
    /// Where it writes down what was acknowledged.
    pub ledger: Arc<Ledger>,
    /// Where it writes down how long acks took.
    pub latency: Arc<AckLatency>,
}

/// What a sensor measures at its reading number `n`; about one in a hundred is hot.
pub(super) fn temperature(n: u64) -> f64 {
    match n % 97 {
        13 if n.is_multiple_of(2) => 95.5,
        13 => 85.25,
        other => 20.0 + other as f64 / 10.0,
    }
}

/// One connection to the gateway, and what is under way on it.
struct Connection {
    client: AsyncClient,
    events: EventLoop,
    /// Handed to the client, its packet id not known yet.
    queued: VecDeque<u64>,
    /// On the wire: packet id, reading, and when it left.
    sent: VecDeque<(u16, u64, std::time::Instant)>,
    connected: bool,
}

impl MqttSensor {
    /// Measures until `stop`, then waits until everything kept is acknowledged.
    pub(super) async fn run(self, mut stop: watch::Receiver<bool>) {
        let mut unacknowledged: VecDeque<u64> = VecDeque::new();
        let mut next = 0;
        let mut due = Instant::from_std(clock::monotonic());
        let mut connection = self.connection();
        loop {
            let stopping = *stop.borrow_and_update();
            if stopping && unacknowledged.is_empty() {
                return;
            }
            while !stopping
                && due.into_std() <= clock::monotonic()
                && unacknowledged.len() < UNACKNOWLEDGED_MAX
            {
                unacknowledged.push_back(next);
                next += 1;
                due += self.every;
            }
            self.publish(&mut connection, &unacknowledged);
            // A connection that is being made is begun anew by whoever interrupts it: what is due meanwhile waits for it.
            let wakes = connection.connected && !stopping;
            tokio::select! {
                event = connection.events.poll() => match event {
                    Ok(event) => {
                        let now = clock::monotonic();
                        self.take(event, now, &mut connection, &mut unacknowledged);
                    }
                    Err(_) => {
                        tokio::time::sleep(Duration::from_millis(100)).await;
                        connection = self.connection();
                    }
                },
                () = sleep_until(due), if wakes && unacknowledged.len() < UNACKNOWLEDGED_MAX => {}
                _ = stop.changed(), if wakes => {}
            }
        }
    }

    fn connection(&self) -> Connection {
        let mut options = MqttOptions::new(
            &self.name,
            self.gateway.ip().to_string(),
            self.gateway.port(),
        );
        options.set_keep_alive(Duration::from_secs(10));
        options.set_inflight(INFLIGHT_MAX);
        let (client, events) = AsyncClient::new(options, INFLIGHT_MAX as usize);
        Connection {
            client,
            events,
            queued: VecDeque::new(),
            sent: VecDeque::new(),
            connected: false,
        }
    }

    /// Publishes the oldest readings that are not under way yet.
    fn publish(&self, connection: &mut Connection, unacknowledged: &VecDeque<u64>) {
        let under_way = connection.queued.len() + connection.sent.len();
        let room = (INFLIGHT_MAX as usize).saturating_sub(under_way);
        if !connection.connected || room == 0 {
            return;
        }
        for n in unacknowledged.iter().skip(under_way).take(room) {
            let topic = format!("sensors/{}/temperature", self.name);
            let payload = format!(
                r#"{{"sensor":"{}","n":{n},"temperature":{}}}"#,
                self.name,
                temperature(*n)
            );
            match connection
                .client
                .try_publish(topic, QoS::AtLeastOnce, false, payload)
            {
                Ok(()) => connection.queued.push_back(*n),
                Err(_) => break,
            }
        }
    }

    fn take(
        &self,
        event: Event,
        now: std::time::Instant,
        connection: &mut Connection,
        unacknowledged: &mut VecDeque<u64>,
    ) {
        match event {
            Event::Incoming(Packet::ConnAck(_)) => connection.connected = true,
            Event::Outgoing(Outgoing::Publish(id)) => {
                if let Some(n) = connection.queued.pop_front() {
                    connection.sent.push_back((id, n, now));
                }
            }
            Event::Incoming(Packet::PubAck(ack)) => {
                self.acknowledged(ack.pkid, now, connection, unacknowledged)
            }
            _ => {}
        }
    }

    /// Acks come in the order of publishing; what is acknowledged is kept no longer.
    fn acknowledged(
        &self,
        id: u16,
        now: std::time::Instant,
        connection: &mut Connection,
        unacknowledged: &mut VecDeque<u64>,
    ) {
        let Some(at) = connection.sent.iter().position(|(sent, _, _)| *sent == id) else {
            return;
        };
        let Some((_, n, left)) = connection.sent.remove(at) else {
            return;
        };
        unacknowledged.retain(|k| *k != n);
        self.latency.add(now.saturating_duration_since(left));
        self.ledger.acknowledged(&self.name, n);
        if temperature(n) > 80.0 {
            self.ledger.alarm_due(&self.name, n);
        }
    }
}

#[cfg(test)]
mod tests {
    use std::io::{Read, Write};
    use std::net::{TcpListener, TcpStream};

    use super::*;

    /// What a broker says that takes a connection.
    const CONNACK: [u8; 4] = [0x20, 2, 0, 0];

    /// Takes the next packet of a client, which is a short one; its first byte and the rest behind its length.
    fn packet(stream: &mut TcpStream) -> (u8, Vec<u8>) {
        let mut head = [0; 2];
        stream.read_exact(&mut head).expect("a packet");
        let mut body = vec![0; usize::from(head[1])];
        stream.read_exact(&mut body).expect("its rest");
        (head[0], body)
    }

    #[tokio::test]
    async fn a_broker_that_is_slower_than_the_sensor_is_connected_to_once() {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let gateway = listener.local_addr().expect("its address");
        let (stop, stopped) = watch::channel(false);
        let ledger = Arc::new(Ledger::default());
        let sensor = MqttSensor {
            name: "s00".into(),
            gateway,
            every: Duration::from_millis(1),
            ledger: Arc::clone(&ledger),
            latency: Arc::default(),
        };
        let sensor = tokio::spawn(sensor.run(stopped));
        let broker = tokio::task::spawn_blocking(move || {
            let (mut stream, _) = listener.accept().expect("a client");
            assert_eq!(packet(&mut stream).0, 0x10, "CONNECT");
            std::thread::sleep(Duration::from_millis(300));
            stream.write_all(&CONNACK).expect("it is still there");
            let (kind, publish) = packet(&mut stream);
            assert_eq!(kind, 0x32, "a publish with QoS 1, on the first connection");
            let topic = usize::from(publish[1]);
            let id = &publish[2 + topic..4 + topic];
            let _ = stream.write_all(&[0x40, 2, id[0], id[1]]);
            stream
        });
        let _stream = broker.await.expect("the broker is content");
        while ledger.accepted() == 0 {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
        drop(stop);
        sensor.abort();
    }
}
