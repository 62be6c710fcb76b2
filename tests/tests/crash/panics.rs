//! A task that panics is known by its name: the gateway ends in order, says which it was, and its next start has every event
//! that was acknowledged. No task is dead while the rest goes on.

use std::io::Write;
use std::net::{TcpListener, TcpStream};
use std::process::Command;
use std::time::Duration;

use tidegate_tests::gateway::{Gateway, binary};
use tidegate_tests::{mqtt, port, wait};

const PASSWORD: &str = "correct horse battery staple";

const RULES: &str = "rule all { on \"#\" send to archive send to cloud }\n";

/// The tasks, as a gateway calls them.
const TASKS: [&str; 18] = [
    "intake",
    "commit",
    "source floor",
    "source hooks",
    "source plant",
    "upstream archive",
    "upstream cloud",
    "control",
    "audit",
    "health",
    "store watch",
    "credentials",
    "rules folder",
    "a connection of an mqtt-listener source",
    "a connection of an http source",
    "a connection of the control API",
    "a request of an http upstream",
    "a file upstream's write",
];

/// A gateway with a task of each kind.
fn gateway() -> (Gateway, std::net::SocketAddr, TcpListener) {
    // Somebody who never answers.
    let silent = TcpListener::bind("127.0.0.1:0").expect("a port");
    let (hooks, floor) = (port::free(), port::free());
    let hash = binary::password_hash(PASSWORD);
    let dir = tempfile::tempdir().expect("a folder");
    let config = format!(
        "[gateway]\nid = \"plant-a\"\ndata_dir = \"data\"\n\n\
         [api]\nlisten = \"{}\"\n\n\
         [sources.floor]\ntype = \"mqtt-listener\"\nlisten = \"{floor}\"\n\n\
         [sources.hooks]\ntype = \"http\"\nlisten = \"{hooks}\"\n\n\
         [sources.hooks.users]\npress = {{ password_hash = '{hash}', publish = [\"#\"] }}\n\n\
         [sources.plant]\ntype = \"mqtt\"\nurl = \"mqtt://{floor}\"\ntopics = [\"none/#\"]\n\n\
         [upstreams.archive]\ntype = \"file\"\npath = \"out.jsonl\"\n\n\
         [upstreams.cloud]\ntype = \"http\"\nurl = \"http://{}/\"\n",
        port::free(),
        silent.local_addr().expect("an address")
    );
    std::fs::create_dir(dir.path().join("data")).expect("a folder");
    std::fs::write(dir.path().join("gateway.toml"), config).expect("a configuration");
    let gateway = Gateway::configured(dir, floor);
    gateway.write("rules/a.rules", RULES);
    (gateway, hooks, silent)
}

/// Has each task do something; what of it fails does not matter.
fn poke(gateway: &Gateway, hooks: std::net::SocketAddr) {
    if let Ok(mut stream) = mqtt::connect(gateway.address, "poke", true) {
        let _ = stream.write_all(&mqtt::publish("hall/poke", 1, b"{}"));
        let _ = stream.write_all(&mqtt::publish("none/poke", 2, b"{}"));
    }
    let turn = std::time::UNIX_EPOCH
        .elapsed()
        .expect("after 1970")
        .as_nanos();
    gateway.write("rules/a.rules", &format!("{RULES}# {turn}\n"));
    if let Ok(mut stream) = TcpStream::connect(hooks) {
        // press and its password
        let head = "POST /topics/hall/poke HTTP/1.1\r\nHost: localhost\r\n\
                    Authorization: Basic cHJlc3M6Y29ycmVjdCBob3JzZSBiYXR0ZXJ5IHN0YXBsZQ==\r\n\
                    Content-Length: 2\r\n\r\n{}";
        let _ = stream.write_all(head.as_bytes());
        std::thread::sleep(Duration::from_millis(20));
    }
    let asked = Command::new(binary::breaching())
        .args(["status", "--config"])
        .arg(gateway.path("gateway.toml"))
        .output();
    drop(asked);
}

#[test]
fn whatever_task_panics_the_gateway_says_which_and_ends_and_has_all_it_acknowledged() {
    for task in TASKS {
        let (mut gateway, hooks, _silent) = gateway();
        gateway.shutdown_max(Duration::from_millis(500));
        gateway.program(binary::breaching());
        gateway.variable("TIDEGATE_NULL_CONTROL", &format!("panic:{task}"));
        let trigger = gateway.path("trigger");
        gateway.variable("TIDEGATE_NULL_CONTROL_FILE", &trigger.display().to_string());
        gateway.start();
        let mut stream = mqtt::connect(gateway.address, "press", true).expect("it listens");
        for number in 1..=20 {
            mqtt::publish_acknowledged(&mut stream, "hall/n", number, b"{}");
        }
        std::fs::write(&trigger, "").expect("a file");
        let pid = gateway.pid();
        let is_gone = || {
            let stat = std::fs::read_to_string(format!("/proc/{pid}/stat")).unwrap_or_default();
            stat.is_empty() || stat.contains(") Z ")
        };
        wait::find(&format!("{task} panics"), || {
            poke(&gateway, hooks);
            is_gone().then_some(()).ok_or_else(|| gateway.log())
        });
        let ended = gateway.ended();
        let log = gateway.whole_log();
        assert_eq!(ended.code(), Some(1), "{task}: {log}");
        let said = format!("tidegate: {task}");
        assert!(log.contains(&said), "{task}: {log}");
        assert!(
            log.contains("ended by itself: it panicked at "),
            "{task}: {log}"
        );

        std::fs::remove_file(&trigger).expect("it is there");
        gateway.start();
        let events = gateway.events(&["--topic", "hall/n", "--limit", "1000"]);
        assert_eq!(events.len(), 20, "{task}");
        assert!(gateway.terminate().success(), "{task}");
    }
}

#[test]
fn no_panic_can_be_asked_for_in_a_build_for_users() {
    let (mut gateway, _, _silent) = gateway();
    gateway.program(binary::tidegate());
    gateway.variable("TIDEGATE_NULL_CONTROL", "panic:");
    let here = gateway.path("gateway.toml").display().to_string();
    gateway.variable("TIDEGATE_NULL_CONTROL_FILE", &here);
    gateway.start();
    let mut stream = mqtt::connect(gateway.address, "press", true).expect("it listens");
    mqtt::publish_acknowledged(&mut stream, "hall/n", 1, b"{}");
    assert!(gateway.terminate().success());
}
