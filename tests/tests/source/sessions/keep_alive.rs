//! Keep-alives above `keep_alive_max`: MQTT 5 is told another one, MQTT 3 keeps its own.

use std::process::Stdio;
use std::time::Duration;

use tidegate_tests::mqtt::raw::{Hello, LEVELS, PINGREQ, PINGRESP, RawClient, V5};
use tidegate_tests::{peer, wait};

use crate::{real, start, topics};

/// `keep_alive_max` here, in seconds.
const LONGEST_S: u16 = 2;
/// Longer than 1.5 times that, with room for a slow machine: a silence to be shown.
const SILENCE: Duration = Duration::from_millis(4500);

/// What an MQTT 5 client is told to keep: the property Server Keep Alive of a CONNACK.
fn told(connack: &[u8]) -> Option<u16> {
    let mut rest = connack.get(3..).unwrap_or_default();
    while let Some((id, after)) = rest.split_first() {
        let length = match id {
            0x13 => return Some(u16::from_be_bytes([after[0], after[1]])),
            0x21 => 2,
            0x11 | 0x27 => 4,
            0x12 => 2 + usize::from(u16::from_be_bytes([after[0], after[1]])),
            _ => 1,
        };
        rest = &after[length..];
    }
    None
}

#[test]
fn a_keep_alive_above_the_longest_is_told_in_mqtt_5_and_kept_in_mqtt_3() {
    let gateway = start(&format!("keep_alive_max = \"{LONGEST_S}s\""));
    let mut open = Vec::new();
    for level in LEVELS {
        for asked_s in [0, 1, LONGEST_S, LONGEST_S + 8, 60, 3600, u16::MAX] {
            let mut hello = Hello::new(level, &format!("client-{level}-{asked_s}"));
            hello.keep_alive_s = asked_s;
            let client = RawClient::connect(gateway.address, &hello);
            let is_over = asked_s == 0 || asked_s > LONGEST_S;
            let expected = (level == V5 && is_over).then_some(LONGEST_S);
            if level == V5 {
                assert_eq!(told(&client.connack), expected, "{asked_s} s");
            }
            // Those that keep to what is agreed on would have sent something by then.
            let stays = level != V5 && is_over;
            open.push((level, asked_s, stays, client));
        }
    }
    std::thread::sleep(SILENCE);
    for (level, asked_s, stays, mut client) in open {
        let what = format!("level {level}, {asked_s} s");
        if stays {
            client.send(&PINGREQ);
            assert_eq!(client.packet(), Some(PINGRESP), "{what}");
        } else {
            let expected = (level == V5).then_some(0x8d);
            assert_eq!(client.reason(), expected, "{what}");
        }
    }
}

#[test]
fn real_clients_with_a_long_keep_alive_stay_connected() {
    let Some(program) = peer::find("mosquitto_sub", "keep-alives") else {
        return;
    };
    let gateway = start(&format!("keep_alive_max = \"{LONGEST_S}s\""));
    let clients: Vec<_> = ["mqttv31", "mqttv311", "mqttv5"]
        .map(|version| {
            let mut client = real(
                &program,
                &gateway,
                &["-V", version, "-k", "3600", "-C", "1"],
            );
            client.args(["-t", "late", "--will-topic", &format!("will/{version}")]);
            let client = client.stdout(Stdio::piped()).spawn();
            (version, client.expect("it starts"))
        })
        .into();
    gateway.wait_until("all are there", || {
        gateway.metric("tidegate_source_connections", "floor") == 3
    });
    std::thread::sleep(SILENCE * 2);
    let mut sender = RawClient::connect(gateway.address, &Hello::new(V5, "sender"));
    sender.stored(V5, "late", b"1");
    for (version, mut client) in clients {
        wait::until(&format!("{version} hears it"), || {
            client.try_wait().expect("a child").is_some()
        });
    }
    assert!(topics(&gateway, "will/#").is_empty());
}
