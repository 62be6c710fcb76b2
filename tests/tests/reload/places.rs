//! Sources that change places, ports that others have, and what is under way at a source that closes.

use std::net::{SocketAddr, TcpListener};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::told::{Told, troubles};
use tidegate_tests::{mqtt, port, wait};

use super::{ONE, add, edit, publish, reload};

fn listener(name: &str, address: SocketAddr) -> String {
    format!("[sources.{name}]\ntype = \"mqtt-listener\"\nlisten = \"{address}\"\n")
}

/// Publishes as a client that connects there now.
fn publish_at(gateway: &Gateway, address: SocketAddr, topic: &str) {
    let mut stream = wait::find("it listens there", || {
        let connected = mqtt::connect(address, "other", true);
        connected.map_err(|error| format!("{error}\n{}", gateway.log()))
    });
    publish(&mut stream, topic);
}

fn source_of(gateway: &Gateway, topic: &str) -> String {
    let event = wait::find("it is there", || {
        let events = gateway.events(&["--topic", topic]);
        events.first().cloned().ok_or_else(|| gateway.log())
    });
    event["event"]["source"]
        .as_str()
        .unwrap_or_default()
        .to_owned()
}

#[test]
fn sources_change_places_in_a_row_and_in_a_ring() {
    let mut gateway = Gateway::new(ONE);
    let [a, b, c] = [(); 3].map(|()| port::free());
    add(&gateway, &(listener("a", a) + &listener("b", b)));
    gateway.start();
    let sections =
        |at: [(&str, SocketAddr); 2]| at.map(|(name, address)| listener(name, address)).concat();
    let mut before = sections([("a", a), ("b", b)]);
    // In each other's places, in a row, one gone and its place taken by another name.
    for (round, at) in [
        [("a", b), ("b", a)],
        [("a", c), ("b", b)],
        [("b", a), ("a", b)],
        [("new", a), ("b", b)],
        [("b", a), ("new", b)],
    ]
    .into_iter()
    .enumerate()
    {
        let now = sections(at);
        edit(&gateway, &before, &now);
        reload(&gateway);
        assert_eq!(troubles(&gateway), [""; 0], "{round}");
        for (name, address) in at {
            let topic = format!("round/{round}/{name}");
            publish_at(&gateway, address, &topic);
            assert_eq!(
                source_of(&gateway, &topic),
                format!("plant-a/{name}"),
                "{round}"
            );
        }
        before = now;
    }
}

#[test]
fn where_a_port_is_taken_a_source_stays_as_it_was_and_goes_there_once_it_is_free() {
    let mut gateway = Gateway::new(ONE);
    let (old, taken, other) = (port::free(), port::free(), port::free());
    add(&gateway, &listener("moved", old));
    gateway.start();
    let mut stream = mqtt::connect(old, "sensor", true).expect("it listens");
    let holder = TcpListener::bind(taken).expect("it is free");
    let second = TcpListener::bind(other).expect("it is free");
    edit(&gateway, &listener("moved", old), &listener("moved", taken));
    add(&gateway, &listener("added", other));
    add(
        &gateway,
        "[upstreams.two]\ntype = \"file\"\npath = \"two.jsonl\"\n",
    );
    reload(&gateway);
    let told = |source, how| Told {
        subject: source,
        kind: "configuration",
        words: how,
    };
    let moved = told(
        "source moved",
        &["goes on as it was", "cannot listen on", "another program"],
    );
    let added = told(
        "source added",
        &["cannot be opened, and is tried again", "cannot listen on"],
    );
    moved.everywhere(&gateway);
    added.everywhere(&gateway);
    // The others were taken, and the connection at the old place stands.
    publish(&mut stream, "old");
    super::arrives(&gateway, "two.jsonl", "old");
    drop(holder);
    moved.nowhere(&gateway);
    publish_at(&gateway, taken, "moved");
    drop(second);
    added.nowhere(&gateway);
    publish_at(&gateway, other, "added");
}
