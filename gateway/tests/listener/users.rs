//! Who is let in with which password, and what each user may do.

use std::io::{Read, Write};
use std::process::Command;

use crate::client::wordless;
use crate::client::{
    Client, V3, V5, connect, connect_with, dial, packet, publish, subscribe, text,
};
use crate::gateway::{Gateway, start, stored};
use tidegate_tests::gateway::binary::password_hash;
use tidegate_tests::wait;

/// A listener with the users `press` and `spy`.
fn gateway() -> Gateway {
    start(&format!(
        "[sources.floor.users.press]\npassword_hash = \"{}\"\n\
         publish = [\"plant/{{user}}/#\"]\nsubscribe = [\"commands/{{client}}\"]\n\
         [sources.floor.users.spy]\npassword_hash = \"{}\"\n",
        password_hash("open sesame"),
        password_hash("curious")
    ))
}

/// CONNECT with a login; an empty password sends none.
fn login(level: u8, id: &str, user: &str, password: &str) -> Vec<u8> {
    match password {
        "" => connect_with(level, 0x82, 60, &[text(id), text(user)]),
        _ => connect_with(level, 0xc2, 60, &[text(id), text(user), text(password)]),
    }
}

fn press(gateway: &Gateway, level: u8, id: &str) -> Client {
    let hello = login(level, id, "press", "open sesame");
    Client::over(dial(gateway.address), level, &hello)
}

/// The whole answer to a CONNECT that is refused.
fn answer(gateway: &Gateway, hello: &[u8]) -> Vec<u8> {
    let mut stream = dial(gateway.address);
    stream.write_all(hello).expect("it reads");
    let mut answer = Vec::new();
    stream.read_to_end(&mut answer).expect("it is closed");
    answer
}

fn connack(level: u8, code_3: u8, reason_5: u8) -> Vec<u8> {
    match level {
        V5 => vec![0x20, 3, 0, reason_5, 0],
        _ => vec![0x20, 2, 0, code_3],
    }
}

#[test]
fn only_the_right_password_of_a_known_user_lets_in() {
    let gateway = gateway();
    for level in [V3, V5] {
        drop(press(&gateway, level, "in"));
        for (what, hello) in [
            ("a wrong password", login(level, "x", "press", "open sesam")),
            ("another's password", login(level, "x", "press", "curious")),
            (
                "an unknown user",
                login(level, "x", "nobody", "open sesame"),
            ),
            ("no password", login(level, "x", "press", "")),
            ("no login", connect(level, "x")),
        ] {
            assert_eq!(answer(&gateway, &hello), connack(level, 4, 0x86), "{what}");
        }
    }
    wait::until("all are counted", || {
        gateway.metric("tidegate_source_malformed_total", "bad login") == 10
    });
}

#[test]
fn without_users_and_with_anonymous_off_the_configuration_is_refused() {
    let folder = tempfile::tempdir().expect("a folder");
    let config = folder.path().join("gateway.toml");
    let user = format!("users.a = {{ password_hash = \"{}\" }}", password_hash("x"));
    for keys in [
        "anonymous = false".to_owned(),
        format!("anonymous = true\n{user}"),
    ] {
        let text = format!(
            "[gateway]\nid = \"a\"\ndata_dir = \"d\"\n[sources.floor]\ntype = \"mqtt-listener\"\n\
             listen = \"127.0.0.1:1\"\n{keys}\n[upstreams.a]\ntype = \"file\"\npath = \"a.jsonl\"\n"
        );
        std::fs::write(&config, text).expect("a configuration");
        let mut check = Command::new(env!("CARGO_BIN_EXE_tidegate"));
        let output = check.args(["check", "--config"]).arg(&config).output();
        let output = output.expect("tidegate starts");
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{said}");
        assert!(said.contains("anonymous"), "{said}");
    }
}

#[test]
fn a_user_publishes_only_where_a_filter_says_so() {
    let gateway = gateway();
    let mut client = press(&gateway, V5, "five");
    assert!(client.stored("plant/press/temp", b"1"));
    client.send(&publish(V5, 1, 1, "plant/other/temp", b"1"));
    assert_eq!(wordless(client.packet()), (0x40, vec![0, 1, 0x87]));
    client.send(&publish(V5, 2, 2, "plant/other/temp", b"1"));
    assert_eq!(wordless(client.packet()), (0x50, vec![0, 2, 0x87]));
    client.send(&publish(V5, 0, 0, "plant/other/temp", b"1"));
    // The refused identifier is free again.
    client.send(&publish(V5, 2, 2, "plant/press/temp", b"2"));
    assert_eq!(client.packet(), (0x50, vec![0, 2]));
    let mut client = press(&gateway, V3, "three");
    assert!(client.stored("plant/press/temp", b"3"));
    client.send(&publish(V3, 1, 1, "plant/other/temp", b"1"));
    assert_eq!(client.packet(), (0x40, vec![0, 1]), "it is set aside");
    assert_eq!(stored(&gateway, "plant/press/temp").len(), 3);
    let set_aside = stored(&gateway, "plant/other/temp");
    assert_eq!(
        set_aside.len(),
        2,
        "the one of QoS 0, the one of MQTT 3.1.1"
    );
    for event in set_aside {
        assert_eq!(event["outputs"][0]["upstream"], "dead_letter", "{event}");
    }
}

#[test]
fn a_user_subscribes_only_to_what_a_filter_covers() {
    let gateway = gateway();
    for (level, refused) in [(V3, 0x80), (V5, 0x87)] {
        let mut client = press(&gateway, level, "p7");
        for (filter, code) in [
            ("commands/p7", 1),
            ("commands/p8", refused),
            ("commands/+", refused),
            ("#", refused),
            ("plant/press/#", refused),
        ] {
            client.send(&subscribe(level, 1, filter, 1));
            let (_, body) = client.packet();
            assert_eq!(body.last(), Some(&code), "{filter}");
        }
    }
}

#[test]
fn a_client_id_neither_widens_a_filter_nor_belongs_to_somebody_else() {
    let gateway = gateway();
    for level in [V3, V5] {
        let wide = login(level, "#", "press", "open sesame");
        assert_eq!(answer(&gateway, &wide), connack(level, 5, 0x87));
        let mut own = press(&gateway, level, "own");
        let stolen = login(level, "own", "spy", "curious");
        assert_eq!(answer(&gateway, &stolen), connack(level, 5, 0x87));
        own.ping();
    }
}

#[test]
fn a_will_is_stored_only_where_its_user_may_publish() {
    let gateway = gateway();
    for topic in ["plant/other", "plant/press"] {
        let fields = [
            text("mortal"),
            text(topic),
            text("x"),
            text("press"),
            text("open sesame"),
        ];
        let hello = connect_with(V3, 0xc6, 60, &fields);
        drop(Client::over(dial(gateway.address), V3, &hello));
    }
    wait::until("the will allowed", || {
        stored(&gateway, "plant/press").len() == 1
    });
    for event in stored(&gateway, "plant/other") {
        assert_eq!(event["outputs"][0]["upstream"], "dead_letter", "{event}");
    }
    let mut client = press(&gateway, V5, "after");
    client.send(&packet(0xc0, &[]));
    assert_eq!(client.packet().0, 0xd0);
}
