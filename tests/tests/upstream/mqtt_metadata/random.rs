//! Random sets of properties through every pair of input and output: nothing is lost, invented, changed or moved.

use std::collections::BTreeMap;

use fastrand::Rng;
use tidegate_tests::mqtt::version_5::{Client, Message};

use super::{field, of_sender};

/// Messages through each input.
const MESSAGES: usize = 150;
/// User properties of one.
const PROPERTIES_MAX: usize = 60;
const NAMES: [&str; 12] = [
    "a", "unit", "x1", "Unit", "", "ü ñ", "a b", "ce", "senderid", "a.b/c", "\"q\"", "UNIT-2",
];

fn text(rng: &mut Rng, chars_max: usize) -> String {
    let all = [
        'a', 'z', 'A', '0', '9', ' ', '-', '"', '\\', '%', 'ß', '日', '🌡',
    ];
    let length = rng.usize(0..=chars_max);
    (0..length).map(|_| all[rng.usize(0..all.len())]).collect()
}

/// None in half of the cases.
fn perhaps<T>(rng: &mut Rng, make: impl FnOnce(&mut Rng) -> T) -> Option<T> {
    rng.bool().then(|| make(rng))
}

fn user(rng: &mut Rng) -> Vec<(String, String)> {
    let count = rng.usize(0..=PROPERTIES_MAX);
    let one = |rng: &mut Rng| {
        let name = match rng.u8(0..4) {
            0 => text(rng, 30),
            _ => NAMES[rng.usize(0..NAMES.len())].to_owned(),
        };
        let value = match rng.u8(0..10) {
            0 => String::new(),
            1 => "v".repeat(rng.usize(1000..1100)),
            _ => text(rng, 40),
        };
        (name, value)
    };
    (0..count).map(|_| one(rng)).collect()
}

fn message(rng: &mut Rng, topic: String) -> Message {
    let payload_format = perhaps(rng, |rng| rng.u8(0..=1));
    let payload = match payload_format {
        Some(1) => text(rng, 30).into_bytes(),
        _ => (0..rng.usize(0..30)).map(|_| rng.u8(..)).collect(),
    };
    Message {
        topic,
        retain: rng.bool(),
        payload,
        payload_format,
        expiry_s: perhaps(rng, |rng| rng.u32(100_000..)),
        content_type: perhaps(rng, |rng| text(rng, 20)),
        response_topic: perhaps(rng, |rng| format!("answers/{}", rng.u8(..))),
        correlation_data: perhaps(rng, |rng| {
            (0..rng.usize(0..30)).map(|_| rng.u8(..)).collect()
        }),
        user: user(rng),
    }
}

/// What arrived must be what was sent, with the gateway's own attributes beside it and a little less time.
fn check(sent: &Message, mut arrived: Message, place: &str) {
    let left = (sent.expiry_s, arrived.expiry_s);
    let is_less = match left {
        (Some(sent), Some(arrived)) => sent >= arrived && sent - arrived < 3600,
        (sent, arrived) => sent == arrived,
    };
    assert!(is_less, "{place}: {left:?}");
    arrived.expiry_s = sent.expiry_s;
    arrived.user = of_sender(&arrived);
    assert_eq!(&arrived, sent, "{place}");
}

#[test]
fn random_properties_go_through_every_pair_of_input_and_output_in_their_order() {
    let test = "random_properties_go_through_every_pair_of_input_and_output_in_their_order";
    let Some(mut field) = field(test, "retain = \"keep\"") else {
        return;
    };
    let seed = fastrand::u64(..);
    println!("seed {seed}");
    let mut rng = Rng::with_seed(seed);
    let mut sent = BTreeMap::new();
    let inputs = [
        ("floor", field.gateway.address),
        ("near", field.near.address),
    ];
    for (prefix, address) in inputs {
        let mut client = Client::connect(address, "sender");
        for number in 0..MESSAGES {
            let message = message(&mut rng, format!("{prefix}/{number}"));
            let reason = client.publish(&message);
            assert!(reason < 0x80, "{reason:#x} for {message:?}");
            sent.insert(message.topic.clone(), message);
        }
    }
    for (place, client) in [("local", &mut field.local), ("remote", &mut field.remote)] {
        let mut left = sent.clone();
        while !left.is_empty() {
            let arrived = client.message();
            if arrived.topic.starts_with('$') {
                continue;
            }
            let topic = arrived.topic.clone();
            let sent = left.remove(&topic).expect("each comes once");
            check(&sent, arrived, &format!("{place} {topic}, seed {seed}"));
        }
    }
    let letters = field.gateway.dead_letters();
    assert!(letters.is_empty(), "{letters:?}");
}
