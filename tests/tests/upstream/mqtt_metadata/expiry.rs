//! A message is not sent when its time is over: a fate of its own, and the books balance.

use std::time::Duration;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::version_5::{AS_PUBLISHED, Client, Message};
use tidegate_tests::peer::mosquitto::Mosquitto;

/// Longer than the second that the short ones have.
const OVER: Duration = Duration::from_millis(1200);

fn lasting(topic: &str, expiry_s: u32) -> Message {
    Message {
        expiry_s: Some(expiry_s),
        ..Message::new(topic, "x")
    }
}

/// The gateway, with an upstream that is away.
fn gateway(far: &Mosquitto) -> Gateway {
    Gateway::new(&format!(
        "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\n",
        far.address
    ))
}

/// Has the upstream come back, with somebody who listens before the gateway sends.
fn listens(far: &mut Mosquitto, gateway: &Gateway) -> Client {
    gateway.signal("STOP");
    far.start();
    let mut remote = Client::connect(far.address, "remote");
    remote.subscribe("#", AS_PUBLISHED);
    gateway.signal("CONT");
    remote
}

fn check_books(gateway: &Gateway, expired: u64) {
    gateway.wait_until("the books have it", || {
        let status = gateway.status();
        status["books"]["expired"] == expired && status["books"]["waiting"] == 0
    });
    let status = gateway.status();
    assert_eq!(status["books"]["difference"], 0, "{status}");
    let counted = gateway.metric("tidegate_upstream_messages_expired_total", "cloud");
    assert_eq!(counted, expired);
    assert!(
        gateway.log().contains("message expiry interval"),
        "{}",
        gateway.log()
    );
    assert!(gateway.dead_letters().is_empty());
}

#[test]
fn what_waited_for_an_upstream_for_too_long_is_not_sent_and_the_rest_has_less_time() {
    let test = "what_waited_for_an_upstream_for_too_long_is_not_sent_and_the_rest_has_less_time";
    let Some(mut far) = Mosquitto::new(test) else {
        return;
    };
    let mut gateway = gateway(&far);
    gateway.start();
    let mut sender = Client::connect(gateway.address, "sender");
    for message in [
        Message::new("a/1", "x"),
        lasting("a/2", 1),
        lasting("a/3", 1000),
        lasting("a/4", 0),
        lasting("a/5", 1),
        Message::new("a/6", "x"),
    ] {
        assert!(sender.publish(&message) < 0x80);
    }
    std::thread::sleep(OVER);
    let mut remote = listens(&mut far, &gateway);
    let arrived = remote.messages_until("a/6");
    let left = |message: &Message| (message.topic.clone(), message.expiry_s.map(|s| s < 1000));
    let arrived: Vec<_> = arrived.iter().map(left).collect();
    // This broker takes 0 for none.
    let expected = [
        ("a/1", None),
        ("a/3", Some(true)),
        ("a/4", None),
        ("a/6", None),
    ];
    let expected = expected.map(|(topic, left)| (topic.to_owned(), left));
    assert_eq!(arrived, expected);
    check_books(&gateway, 2);
}

#[test]
fn time_switched_off_counts() {
    let test = "time_switched_off_counts";
    let Some(mut far) = Mosquitto::new(test) else {
        return;
    };
    let mut gateway = gateway(&far);
    gateway.start();
    let mut sender = Client::connect(gateway.address, "sender");
    assert!(sender.publish(&lasting("a/1", 60)) < 0x80);
    assert!(sender.publish(&lasting("a/2", 1)) < 0x80);
    gateway.kill();
    std::thread::sleep(OVER);
    gateway.start();
    let mut remote = listens(&mut far, &gateway);
    let mut sender = Client::connect(gateway.address, "sender");
    assert!(sender.publish(&Message::new("a/3", "x")) < 0x80);
    let arrived = remote.messages_until("a/3");
    let topics: Vec<&str> = arrived.iter().map(|message| &*message.topic).collect();
    assert_eq!(topics, ["a/1", "a/3"]);
    assert!(
        arrived[0].expiry_s.is_some_and(|left| left < 60),
        "{arrived:?}"
    );
    check_books(&gateway, 1);
}

#[test]
fn a_subscriber_does_not_get_what_waited_behind_its_window_for_too_long() {
    let mut gateway = Gateway::new("");
    gateway.start();
    let mut slow = Client::with_window(gateway.address, "slow", 1);
    slow.subscribe("a/#", 1);
    let mut sender = Client::connect(gateway.address, "sender");
    for message in [
        Message::new("a/1", "x"),
        lasting("a/2", 1),
        lasting("a/3", 1000),
    ] {
        assert!(sender.publish(&message) < 0x80);
    }
    assert_eq!(slow.message().topic, "a/1");
    std::thread::sleep(OVER);
    slow.acknowledge(1);
    let next = slow.message();
    assert_eq!(next.topic, "a/3");
    assert!(next.expiry_s.is_some_and(|left| left < 1000), "{next:?}");
    assert_eq!(gateway.metric("tidegate_source_expired_total", "floor"), 1);
}
