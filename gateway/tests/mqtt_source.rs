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

/// A source at a broker of ours, and the other ends of what it uses.
struct Source {
    socket: TcpListener,
    offers: tokio::sync::mpsc::Receiver<tidegate::event::inlet::Offer>,
    observe: Arc<Observe>,
    _stop: watch::Sender<bool>,
}

async fn source(version: MqttVersion, topics: &[&str]) -> Source {
    let socket = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let mut config = config(socket.local_addr().expect("an address").port());
    config.broker.version = version;
    config.topics = topics.iter().map(|&topic| topic.into()).collect();
    let observe = Arc::new(Observe::default());
    let metrics = SourceFamilies::register(&observe).of("plant");
    let (inlet, offers) = Inlet::new(16, 1 << 20);
    let client = MqttClient::new(config, "plant", "a", inlet, Arc::clone(&observe), metrics);
    let (stop, stopped) = watch::channel(false);
    tokio::spawn(client.expect("a source").run(stopped));
    Source {
        socket,
        offers,
        observe,
        _stop: stop,
    }
}

/// The broker's side up to the SUBSCRIBE, and its packet id.
async fn asked(socket: &TcpListener, version: MqttVersion) -> (TcpStream, [u8; 2]) {
    let (mut stream, _) = socket.accept().await.expect("a connection");
    let mut packet = [0; 256];
    let _ = stream.read(&mut packet).await.expect("CONNECT");
    let v5 = version == MqttVersion::V5;
    // MQTT 5: a session expiry of 0.
    let connack: &[u8] = match v5 {
        true => &[0x20, 8, 0, 0, 5, 0x11, 0, 0, 0, 0],
        false => &[0x20, 2, 0, 0],
    };
    stream.write_all(connack).await.expect("CONNACK");
    let _ = stream.read(&mut packet).await.expect("SUBSCRIBE");
    (stream, [packet[2], packet[3]])
}

/// The broker's side up to its SUBACK with these codes.
async fn grant(socket: &TcpListener, version: MqttVersion, codes: &[u8]) -> TcpStream {
    let (mut stream, id) = asked(socket, version).await;
    let properties = &[0][..usize::from(version == MqttVersion::V5)];
    let body = [&id, properties, codes].concat();
    let suback = [&[0x90, body.len() as u8], &body[..]].concat();
    stream.write_all(&suback).await.expect("SUBACK");
    stream
}

/// PUBLISH with QoS 1.
fn publish(version: MqttVersion, topic: &str, id: u8, payload: &[u8]) -> Vec<u8> {
    let properties = &[0][..usize::from(version == MqttVersion::V5)];
    let head = [
        &[0, topic.len() as u8],
        topic.as_bytes(),
        &[0, id],
        properties,
    ]
    .concat();
    let (mut left, mut length) = (head.len() + payload.len(), Vec::new());
    while left > 0 {
        length.push((left & 0x7f) as u8 | if left > 0x7f { 0x80 } else { 0 });
        left >>= 7;
    }
    [&[0x32], &length[..], &head, payload].concat()
}

#[tokio::test]
async fn what_a_source_does_not_take_is_set_aside_and_what_a_broker_does_not_grant_is_told() {
    for version in [MqttVersion::V311, MqttVersion::V5] {
        let mut source = source(version, &["no/#", "t/#", "t/x", "$tidegate/#", "zero"]).await;
        let mut stream = grant(&source.socket, version, &[0x80, 1, 1, 0]).await;
        let large = vec![b'x'; 18 << 20];
        let mut cases: Vec<(&str, &[u8], &str)> = vec![
            ("t/large", &large[..101], "over max_payload = 100"),
            ("t/cut", &large[..70_000], "the first 65536 of 70000 bytes"),
            ("t/over the old limit", &large, "of 18874368 bytes"),
            ("$tidegate/source/up", b"{}", "the gateway's own"),
            ("t/good", b"1", ""),
        ];
        // More than the window of a broker of MQTT 3.1.1.
        cases.extend([("t/large", &large[..101], "over max_payload"); 25]);
        cases.push(("t/good", b"2", ""));
        for (number, (topic, payload, why)) in cases.into_iter().enumerate() {
            let id = number as u8 + 1;
            let sent = publish(version, topic, id, payload);
            stream.write_all(&sent).await.expect("PUBLISH");
            let mut offer = source.offers.recv().await.expect("an offer");
            let arrival = offer.arrivals.pop().expect("the message");
            assert_eq!(&*arrival.event.topic, topic);
            let said = arrival.set_aside.as_ref().map_or("", |aside| &*aside.why);
            assert_eq!(said.is_empty(), why.is_empty(), "{topic}: {said}");
            assert!(said.contains(why), "{topic}: {said}");
            arrival.ack.settle(Verdict::Stored);
            let mut read = [0; 4];
            stream.read_exact(&mut read).await.expect("PUBACK");
            assert_eq!(read, [0x40, 2, 0, id], "{topic}");
        }
        let told = source.observe.troubles.lines().join("\n");
        assert!(told.contains("refused to subscribe to no/#;"), "{told}");
        assert!(told.contains("only QoS 0 to zero:"), "{told}");
        assert_eq!(
            told.contains("expiry 0"),
            version == MqttVersion::V5,
            "{told}"
        );
    }
}

#[tokio::test]
async fn what_is_stored_is_acknowledged_before_a_connection_is_given_up() {
    for version in [MqttVersion::V311, MqttVersion::V5] {
        let mut source = source(version, &["t/#"]).await;
        let mut stream = grant(&source.socket, version, &[1]).await;
        let sent: Vec<u8> = (1..=3)
            .flat_map(|id| publish(version, "t/x", id, b"1"))
            .collect();
        stream.write_all(&sent).await.expect("PUBLISH");
        let mut acks = Vec::new();
        while acks.len() < 3 {
            let offer = source.offers.recv().await.expect("an offer");
            acks.extend(offer.arrivals.into_iter().map(|arrival| arrival.ack));
        }
        let last = acks.pop().expect("three");
        let verdicts = [Verdict::Refused(Refusal::Full), Verdict::Stored];
        for (ack, verdict) in acks.into_iter().zip(verdicts) {
            ack.settle(verdict);
        }
        last.settle(Verdict::Stored);
        let mut read = Vec::new();
        let _ = stream.read_to_end(&mut read).await;
        assert_eq!(read, [0x40, 2, 0, 2, 0x40, 2, 0, 3]);
    }
}

#[tokio::test]
async fn a_broker_that_never_answers_subscribe_is_told_and_asked_again() {
    for version in [MqttVersion::V311, MqttVersion::V5] {
        let mut source = source(version, &["t/#"]).await;
        // It stands, and says nothing.
        let (_silent, _) = asked(&source.socket, version).await;
        let mut stream = grant(&source.socket, version, &[1]).await;
        let sent = publish(version, "t/x", 1, b"1");
        stream.write_all(&sent).await.expect("PUBLISH");
        let offer = source.offers.recv().await.expect("an offer");
        assert_eq!(&*offer.arrivals[0].event.topic, "t/x");
    }
}
