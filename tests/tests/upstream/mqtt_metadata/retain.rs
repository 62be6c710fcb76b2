//! The retain flag: as it came, always or never, and nothing that came without it wipes anything.

use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::version_5::{AS_PUBLISHED, Client, Message};
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::wait;

use super::of_sender;

fn message(topic: &str, payload: &str, retain: bool) -> Message {
    Message {
        retain,
        ..Message::new(topic, payload)
    }
}

#[test]
fn each_policy_gives_each_message_its_flag() {
    let Some(mut far) = Mosquitto::new("each_policy_gives_each_message_its_flag") else {
        return;
    };
    far.start();
    let mut remote = Client::connect(far.address, "remote");
    remote.subscribe("#", AS_PUBLISHED);
    // What the flags of a retained, a plain, an empty retained and an empty plain message become.
    let policies = [
        ("keep", "retain = \"keep\"", [true, false, true, false]),
        ("always", "retain = \"always\"", [true, true, true, false]),
        ("never", "retain = \"never\"", [false; 4]),
        ("true", "retain = true", [true, true, true, false]),
        ("false", "retain = false", [false; 4]),
        ("none", "", [false; 4]),
        (
            "old",
            "retain = \"keep\"\nversion = \"3.1.1\"",
            [true, false, true, false],
        ),
    ];
    let upstreams = policies.map(|(name, keys, _)| {
        format!(
            "[upstreams.{name}]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\ntopic = \"{name}/{{topic}}\"\n{keys}\n\n",
            far.address
        )
    });
    let mut gateway = Gateway::new(&upstreams.concat());
    gateway.start();
    let mut sender = Client::connect(gateway.address, "sender");
    let sent = [
        message("a/0", "x", true),
        message("a/1", "x", false),
        message("a/2", "", true),
        message("a/3", "", false),
    ];
    for message in &sent {
        assert!(sender.publish(message) < 0x80);
    }
    let mut left: Vec<(String, bool)> = policies
        .iter()
        .flat_map(|(name, _, flags)| {
            let topics = sent
                .iter()
                .map(move |message| format!("{name}/{}", message.topic));
            topics.zip(*flags)
        })
        .collect();
    while !left.is_empty() {
        let arrived = remote.message();
        let found = left.iter().position(|(topic, _)| *topic == arrived.topic);
        let (topic, flag) = left.remove(found.expect("each comes once"));
        assert_eq!(arrived.retain, flag, "{topic}");
        assert_eq!(of_sender(&arrived), [], "{topic}: the flag is no property");
    }
}

#[test]
fn what_is_empty_and_not_retained_wipes_nothing() {
    let Some(mut far) = Mosquitto::new("what_is_empty_and_not_retained_wipes_nothing") else {
        return;
    };
    far.start();
    let mut gateway = Gateway::new(&format!(
        "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nretain = true\n",
        far.address
    ));
    gateway.start();
    let mut remote = Client::connect(far.address, "remote");
    remote.subscribe("#", AS_PUBLISHED);
    let mut sender = Client::connect(gateway.address, "sender");
    for (topic, payload) in [("a/kept", "21.5"), ("a/kept", ""), ("a/end", "x")] {
        assert!(sender.publish(&message(topic, payload, false)) < 0x80);
    }
    assert_eq!(remote.messages_until("a/end").len(), 3);
    let mut later = Client::connect(far.address, "later");
    later.subscribe("a/kept", 1);
    assert_eq!(later.message().payload, b"21.5");
}

#[test]
fn subscribers_get_the_flag_where_they_ask_for_it_as_published() {
    let mut gateway = Gateway::new("");
    gateway.start();
    let mut clients = [(1, false), (AS_PUBLISHED, true)].map(|(options, keeps)| {
        let mut client = Client::connect(gateway.address, &format!("options-{options}"));
        client.subscribe("a/#", options);
        (client, keeps)
    });
    let mut sender = Client::connect(gateway.address, "sender");
    for retain in [true, false] {
        assert!(sender.publish(&message("a/1", "x", retain)) < 0x80);
        for (client, keeps) in &mut clients {
            let arrived = client.message();
            assert_eq!(arrived.retain, retain && *keeps);
            assert_eq!(of_sender(&arrived), []);
        }
    }
}

#[test]
fn a_subscription_that_is_asked_for_again_brings_nothing_retained_and_rules_tell_what_was() {
    let test =
        "a_subscription_that_is_asked_for_again_brings_nothing_retained_and_rules_tell_what_was";
    let Some(mut near) = Mosquitto::new(test) else {
        return;
    };
    near.start();
    let mut sender = Client::connect(near.address, "sender");
    assert!(sender.publish(&message("near/kept", "21.5", true)) < 0x80);
    let mut gateway = Gateway::new(&format!(
        "[sources.plant]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\nversion = \"5\"\ntopics = [\"near/#\"]\n\n\
         [upstreams.out]\ntype = \"file\"\npath = \"out.jsonl\"\n",
        near.address
    ));
    gateway.write(
        "rules/retained.rules",
        "rule retained { on \"near/#\" when extension(\"retain\") == \"true\" send to out topic \"retained\" }\n\
         rule all { on \"near/#\" send to out }\n",
    );
    for round in 0..3 {
        gateway.start();
        gateway.wait_until("it subscribes", || gateway.log().contains("subscribed"));
        let marker = format!("near/{round}");
        wait::until("it gets what is published", || {
            assert!(sender.publish(&message(&marker, "x", false)) < 0x80);
            arrived(&gateway).contains(&marker)
        });
        gateway.terminate();
    }
    let all = arrived(&gateway);
    let count = |topic: &str| all.iter().filter(|one| *one == topic).count();
    assert_eq!(count("near/kept"), 1, "{all:?}");
    assert_eq!(count("retained"), 1, "{all:?}");
}

/// The topics in the file.
fn arrived(gateway: &Gateway) -> Vec<String> {
    let text = std::fs::read_to_string(gateway.path("out.jsonl")).unwrap_or_default();
    let topic = |line: &str| {
        let event: serde_json::Value = serde_json::from_str(line).ok()?;
        Some(event["topic"].as_str()?.to_owned())
    };
    text.lines().filter_map(topic).collect()
}
