//! A message is acknowledged to its broker after the verdict, and only if that was good.

use std::sync::Arc;
use std::time::Duration;

use tidegate::config::{Broker, MqttVersion};
use tidegate::event::ack::{Refusal, Verdict};
use tidegate::event::inlet::Inlet;
use tidegate::observe::Observe;
use tidegate::observe::source::SourceFamilies;
use tidegate::source::mqtt::MqttClient;
use tidegate::source::mqtt::config::MqttSource;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

/// PUBLISH of `x` to `t` at QoS 1 under the packet identifier 7 (MQTT 3.1.1).
const PUBLISH: &[u8] = &[0x32, 6, 0, 1, b't', 0, 7, b'x'];
/// PUBACK of the packet identifier 7.
const PUBACK: &[u8] = &[0x40, 2, 0, 7];

fn config(port: u16) -> MqttSource {
    MqttSource {
        broker: Broker {
            url: format!("mqtt://127.0.0.1:{port}"),
            host: "127.0.0.1".into(),
            port,
            tls: None,
            version: MqttVersion::V311,
            client_id: "a-plant".into(),
            login: None,
            keep_alive: Duration::from_secs(30),
        },
        topics: vec!["#".into()],
        qos: 1,
        payload_bytes_max: 100,
        id_field: None,
        publisher: None,
    }
}

/// The broker's side of a connection, up to SUBACK and one message.
async fn greet(socket: &TcpListener) -> TcpStream {
    let (mut stream, _) = socket.accept().await.expect("a connection");
    let mut packet = [0; 256];
    let count = stream.read(&mut packet).await.expect("CONNECT");
    assert_eq!(packet[0], 0x10);
    assert_eq!(packet[9] & 2, 0, "the session is kept, {count} bytes");
    stream.write_all(&[0x20, 2, 0, 0]).await.expect("CONNACK");
    let count = stream.read(&mut packet).await.expect("SUBSCRIBE");
    assert!(count > 4 && packet[0] == 0x82);
    let suback = [0x90, 3, packet[2], packet[3], 1];
    stream.write_all(&suback).await.expect("SUBACK");
    stream.write_all(PUBLISH).await.expect("PUBLISH");
    stream
}

#[tokio::test]
async fn a_message_is_acknowledged_after_it_is_stored_and_never_when_it_is_refused() {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = socket.local_addr().expect("an address").port();
    let observe = Arc::new(Observe::default());
    let metrics = SourceFamilies::register(&observe).of("plant");
    let (inlet, mut offers) = Inlet::new(16, 1 << 20);
    let client = MqttClient::new(config(port), "plant", "a", inlet, observe, metrics);
    let (_stop, stopped) = watch::channel(false);
    let task = tokio::spawn(client.expect("a source").run(stopped));

    let mut stream = greet(&socket).await;
    let mut offer = offers.recv().await.expect("an offer");
    let arrival = offer.arrivals.pop().expect("the message");
    let mut read = [0; 4];
    let early = tokio::time::timeout(Duration::from_millis(300), stream.read(&mut read)).await;
    assert!(early.is_err(), "acknowledged before it was stored");
    arrival.ack.settle(Verdict::Refused(Refusal::Full));
    let end = stream.read(&mut read).await.unwrap_or(0);
    assert_eq!(end, 0, "the connection is given up: {read:?}");

    let mut stream = greet(&socket).await;
    let mut offer = offers.recv().await.expect("an offer");
    let arrival = offer.arrivals.pop().expect("the message");
    arrival.ack.settle(Verdict::Stored);
    stream.read_exact(&mut read).await.expect("PUBACK");
    assert_eq!(read, PUBACK);
    task.abort();
}
