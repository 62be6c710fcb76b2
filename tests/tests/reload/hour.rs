//! An operator's hour, in one go: the README's first gateway goes through a wrong rule, a changed certificate, an upstream
//! that is taken out, a full disk and a restore. What the program says is printed (`--nocapture`) and read.

use std::fs;
use std::io::{Read, Write};
use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;

use rcgen::{CertificateParams, KeyPair};
use tidegate_tests::gateway::Gateway;
use tidegate_tests::peer::small_disk::{Kind, SmallDisk};
use tidegate_tests::{mqtt, port, wait};

use super::{arrives, edit, reload};

const README: &str = include_str!("../../../README.md");
const TEST: &str = "an_hour_with_the_first_gateway";
const HOT: &[u8] = b"{\"temperature\": 121.5}";

/// What the README has its reader write into `file`.
fn of_readme(file: &str) -> &'static str {
    let begin = format!("cat > {file} <<'END'\n");
    let (_, rest) = README.split_once(&begin).expect(file);
    rest.split_once("\nEND\n").expect("its end").0
}

/// The README's first gateway, at ports that are free, with its HTTP door behind TLS.
fn first_gateway() -> Gateway {
    let dir = tempfile::tempdir().expect("a folder");
    let (address, hooks) = (port::free(), port::free());
    let config = of_readme("gateway.toml")
        .replace("rules    =", "rules =")
        .replace("127.0.0.1:1883", &address.to_string())
        .replace("127.0.0.1:8080", &hooks.to_string())
        .replace(
            "type   = \"http\"",
            "type   = \"http\"\ntls    = { cert = \"hooks.pem\", key = \"hooks.key\" }",
        );
    assert!(config.contains("hooks.pem"), "{config}");
    fs::write(dir.path().join("gateway.toml"), config).expect("a configuration");
    fs::create_dir(dir.path().join("data")).expect("a folder");
    let gateway = Gateway::configured(dir, address);
    gateway.write("rules/plant.rules", of_readme("rules/plant.rules"));
    gateway
}

/// Writes a certificate and its key, or only one of them.
fn certify(gateway: &Gateway, names: &[&str]) {
    let key = KeyPair::generate().expect("a key");
    let params = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let cert = params.self_signed(&key).expect("a certificate");
    for (name, text) in [
        ("hooks.pem", cert.pem()),
        ("hooks.key", key.serialize_pem()),
    ] {
        if names.contains(&name) {
            let (path, beside) = (gateway.path(name), gateway.path("beside"));
            fs::write(&beside, text).expect("a file");
            let own = fs::Permissions::from_mode(0o600);
            fs::set_permissions(&beside, own).expect("its mode");
            fs::rename(beside, path).expect("it is ours");
        }
    }
}

/// What a command prints, on both its outputs.
fn says(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway.ask(arguments);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    println!("$ tidegate {}\n{said}", arguments.join(" "));
    said
}

/// Waits until the status says all of these, and prints it.
fn status_says(gateway: &Gateway, words: &[&str]) {
    wait::find(&format!("the status says {words:?}"), || {
        let output = gateway.ask(&["status"]);
        let said = String::from_utf8_lossy(&output.stdout).into_owned();
        match words.iter().all(|word| said.contains(word)) {
            true => {
                println!("$ tidegate status\n{said}");
                Ok(())
            }
            false => Err(said),
        }
    });
}

fn status_is_well(gateway: &Gateway) {
    wait::find("there is no trouble", || {
        let status = gateway.status();
        let troubles = status["troubles"].as_array().map_or(0, Vec::len);
        (troubles == 0)
            .then_some(())
            .ok_or_else(|| status.to_string())
    });
}

fn publish(gateway: &Gateway, press: &str) {
    let mut sensor = mqtt::connect(gateway.address, "sensor", true).expect("let in");
    mqtt::publish_acknowledged(&mut sensor, &format!("plant/A/{press}/temp"), 1, HOT);
}

#[test]
fn an_hour_with_the_first_gateway() {
    let mut gateway = first_gateway();
    let Some(mut disk) = SmallDisk::mount(gateway.path("data"), Kind::Tmpfs, 160, TEST) else {
        return;
    };
    certify(&gateway, &["hooks.pem", "hooks.key"]);
    assert!(says(&gateway, &["check"]).contains("is fine: 2 sources, 2 upstreams, 2 rules"));
    gateway.start();
    publish(&gateway, "press1");
    arrives(&gateway, "alarms.jsonl", "\"severity\":\"critical\"");
    arrives(&gateway, "archive.jsonl", "plant/A/press1/temp");

    a_wrong_rule(&gateway);
    a_changed_certificate(&gateway);
    an_upstream_that_is_taken_out(&gateway);
    a_full_disk(&gateway, &mut disk);
    a_restore(&mut gateway);
}

fn a_wrong_rule(gateway: &Gateway) {
    let rules = of_readme("rules/plant.rules");
    gateway.write("rules/plant.rules", &rules.replace("when", "wehn"));
    status_says(gateway, &["rules/plant.rules:8", "wehn"]);
    publish(gateway, "press2");
    arrives(gateway, "alarms.jsonl", "alarms/A/press2");
    let checked = says(gateway, &["check"]);
    assert!(checked.contains("wehn temperature > 80"), "{checked}");
    gateway.write("rules/plant.rules", rules);
    status_is_well(gateway);
}

fn a_changed_certificate(gateway: &Gateway) {
    certify(gateway, &["hooks.pem"]);
    status_says(
        gateway,
        &[
            "source hooks",
            "hooks.pem",
            "is not the one of this certificate",
        ],
    );
    certify(gateway, &["hooks.pem", "hooks.key"]);
    gateway.wait_until("the new pair is in use", || {
        gateway.said("its certificates and secrets are read again") > 0
    });
    status_is_well(gateway);
}

fn an_upstream_that_is_taken_out(gateway: &Gateway) {
    let alarms = "[upstreams.alarms]\ntype = \"file\"\npath = \"alarms.jsonl\"\n";
    edit(gateway, alarms, "");
    reload(gateway);
    let both = [
        "is refused",
        "[upstreams.alarms] is gone",
        "rules/plant.rules:10",
    ];
    status_says(gateway, &both);
    publish(gateway, "press3");
    arrives(gateway, "alarms.jsonl", "alarms/A/press3");
    let rules = of_readme("rules/plant.rules").replace("send to alarms", "send to archive");
    gateway.write("rules/plant.rules", &rules);
    reload(gateway);
    status_is_well(gateway);
    publish(gateway, "press4");
    arrives(gateway, "archive.jsonl", "alarms/A/press4");
    let alarms = fs::read_to_string(gateway.path("alarms.jsonl")).expect("it is there");
    assert!(!alarms.contains("press4"), "{alarms}");
}

/// Sends one event until it is acknowledged, as a client does that is cut off.
fn send_until_acknowledged(address: SocketAddr, topic: &str) {
    wait::find(&format!("{topic} is acknowledged"), || {
        let mut sensor = mqtt::connect(address, "press9", true)?;
        sensor.write_all(&mqtt::publish(topic, 1, HOT))?;
        sensor.read_exact(&mut [0; 4])
    });
}

fn a_full_disk(gateway: &Gateway, disk: &mut SmallDisk) {
    disk.fill();
    let address = gateway.address;
    let topic = "plant/A/press9/temp";
    let waiting = std::thread::spawn(move || send_until_acknowledged(address, topic));
    status_says(gateway, &["events are refused: the disk has", "make room"]);
    assert!(!waiting.is_finished(), "acknowledged on a full disk");
    disk.give_back();
    assert!(waiting.join().is_ok(), "{}", gateway.log());
    arrives(gateway, "archive.jsonl", topic);
    status_is_well(gateway);
}

fn a_restore(gateway: &mut Gateway) {
    let backup = gateway.path("backup");
    let backup = backup.to_str().expect("a path");
    let said = says(gateway, &["store", "backup", backup]);
    assert!(said.contains("backup"), "{said}");
    publish(gateway, "press5");
    arrives(gateway, "archive.jsonl", "plant/A/press5/temp");
    assert!(gateway.terminate().success(), "{}", gateway.log());
    let store = gateway.path("data/store");
    fs::rename(&store, gateway.path("data/broken")).expect("it is ours");
    says(gateway, &["store", "restore", backup]);
    gateway.start();
    let events = gateway.events(&["--limit", "1000"]);
    let has = |press: &str| {
        let topic = format!("plant/A/{press}/temp");
        events
            .iter()
            .any(|event| event["event"]["topic"] == *topic || event["topic"] == *topic)
    };
    assert!(has("press1") && has("press4"), "{events:?}");
    assert!(!has("press5"), "what came behind the backup is not in it");
    publish(gateway, "press6");
    arrives(gateway, "archive.jsonl", "plant/A/press6/temp");
    status_says(gateway, &["the books balance"]);
    assert!(gateway.terminate().success(), "{}", gateway.log());
}
