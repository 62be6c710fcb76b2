//! A publish to no topic ends that connection, with the reason in MQTT 5; what came before it is stored and acknowledged,
//! and nobody else feels it.

use tidegate_tests::mqtt::raw::{Hello, LEVELS, RawClient, V5, publish};

use crate::{start, topics};

/// Topics to which nothing can be published, and the reason in the DISCONNECT of MQTT 5.
const NO_TOPICS: [(&str, u8); 9] = [
    ("", 0x82),
    ("+", 0x90),
    ("#", 0x90),
    ("a/+", 0x90),
    ("+/b", 0x90),
    ("a/#", 0x90),
    ("a/b+", 0x90),
    ("#a", 0x90),
    ("nul/\0", 0x81),
];

#[test]
fn a_publish_to_no_topic_ends_its_connection_once_what_came_before_is_acknowledged() {
    let gateway = start("");
    let mut bystander = RawClient::connect(gateway.address, &Hello::new(V5, "bystander"));
    for level in LEVELS {
        for (topic, reason) in NO_TOPICS {
            for qos in 0..3 {
                let what = format!("level {level}, QoS {qos}, {topic:?}");
                let before = topics(&gateway, "before").len();
                let mut client = RawClient::connect(gateway.address, &Hello::new(level, "wrong"));
                let good = |id| publish(level, 1, id, "before", b"1");
                let wrong = publish(level, qos, 3, topic, b"1");
                client.send(&[good(1), good(2), wrong, good(4)].concat());
                let all = client.until_closed();
                assert_eq!(all[..2], [(0x40, vec![0, 1]), (0x40, vec![0, 2])], "{what}");
                match (level, &all[2..]) {
                    (V5, [(0xe0, body)]) => {
                        assert_eq!(body[0], reason, "{what}");
                        assert_eq!(body[2], 0x1f, "{what}: with words");
                    }
                    (V5, other) => panic!("{what}: {other:?}"),
                    (_, other) => assert_eq!(other, [], "{what}"),
                }
                assert_eq!(topics(&gateway, "before").len(), before + 2, "{what}");
                bystander.stored(V5, "beside", b"1");
            }
        }
    }
}
