//! An upstream that hangs (it takes the connection and never answers) is not felt by another.

use std::io::Read;
use std::net::{TcpListener, TcpStream};
use std::sync::mpsc;
use std::time::Duration;

use tidegate_tests::books;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::mqtt::subscriber::Subscriber;
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::wait::{self, PATIENCE};

const TEST: &str = "an_upstream_that_hangs_is_not_felt_by_another";
const EVENTS: u64 = 4_000;

/// Listens, accepts and keeps quiet; tells of every connection.
fn black_hole() -> (std::net::SocketAddr, mpsc::Receiver<TcpStream>) {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a loopback port");
    let address = listener.local_addr().expect("an address");
    let (accepted, connections) = mpsc::channel();
    std::thread::spawn(move || {
        for stream in listener.incoming().flatten() {
            if accepted.send(stream).is_err() {
                return;
            }
        }
    });
    (address, connections)
}

/// Whether the other end still waits for an answer.
fn is_open(mut stream: TcpStream) -> bool {
    stream.set_nonblocking(true).expect("a socket");
    let mut asked = [0; 1024];
    loop {
        match stream.read(&mut asked) {
            Ok(0) => return false,
            Ok(_) => {}
            Err(error) => return error.kind() == std::io::ErrorKind::WouldBlock,
        }
    }
}

#[test]
fn an_upstream_that_hangs_is_not_felt_by_another() {
    let Some(mut broker) = Mosquitto::new(TEST) else {
        return;
    };
    let (hole, connections) = black_hole();
    let mut gateway = Gateway::new(&format!(
        "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nretry_max = \"500ms\"\n\n\
         [upstreams.hole]\ntype = \"mqtt\"\nurl = \"mqtt://{hole}\"\n",
        broker.address
    ));
    gateway.start();
    let held = connections
        .recv_timeout(PATIENCE)
        .expect("somebody connects to the upstream that hangs");
    // Only now can the other one be reached: it has to connect while the first hangs.
    let subscriber = Subscriber::ahead_of(&gateway, &mut broker);
    let share = Share {
        count: EVENTS / 2,
        per_second: 1_000.0,
        window: 100,
    };
    let load = Load::start(gateway.address, 0..2, share);
    wait::for_count("something arrives", 1, || subscriber.count());
    assert!(is_open(held), "the other one waited until this one gave up");
    let (ledger, left) = load.end();
    assert_eq!(left, 0, "acknowledgements wait for the upstream that hangs");
    let arrived = subscriber.settle(EVENTS as usize, Duration::from_millis(500));
    let ids: Vec<_> = arrived.into_iter().map(|arrival| arrival.id).collect();
    let findings = books::compare(&ledger.acknowledged, &ledger.sent, &ids);
    assert_eq!(findings, books::Findings::default(), "{}", gateway.log());
    assert!(gateway.terminate().success(), "{}", gateway.log());
}
