//! What is wrong is told wherever one looks: status, readiness, metrics, the log and a system event.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::node::pseudo_terminal;
use tidegate_tests::{mqtt, port, wait};

/// A server that answers every request with the status it is set to.
struct Server {
    address: SocketAddr,
    status: Arc<AtomicU16>,
}

impl Server {
    fn start(status: u16) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        let address = listener.local_addr().expect("an address");
        let status = Arc::new(AtomicU16::new(status));
        let answers = Arc::clone(&status);
        std::thread::spawn(move || {
            for stream in listener.incoming().flatten() {
                let answers = Arc::clone(&answers);
                std::thread::spawn(move || answer(stream, &answers));
            }
        });
        Server { address, status }
    }
}

fn answer(stream: std::net::TcpStream, status: &AtomicU16) {
    let Ok(mut out) = stream.try_clone() else {
        return;
    };
    let mut input = BufReader::new(stream);
    loop {
        let mut length = 0;
        loop {
            let mut line = String::new();
            match input.read_line(&mut line) {
                Ok(1..) => {}
                _ => return,
            }
            let line = line.to_ascii_lowercase();
            if let Some(value) = line.strip_prefix("content-length:") {
                length = value.trim().parse().expect("a length");
            }
            if line.trim().is_empty() {
                break;
            }
        }
        let mut body = vec![0; length];
        if input.read_exact(&mut body).is_err() {
            return;
        }
        let status = status.load(Ordering::Relaxed);
        let head = format!("HTTP/1.1 {status} x\r\ncontent-length: 0\r\n\r\n");
        if out.write_all(head.as_bytes()).is_err() {
            return;
        }
    }
}

fn status(gateway: &Gateway) -> Value {
    let asked = gateway.ask(&["status", "--format", "json"]);
    serde_json::from_slice(&asked.stdout).unwrap_or_default()
}

/// The troubles that the status tells.
fn troubles(gateway: &Gateway) -> Vec<String> {
    let status = status(gateway);
    let all = status["troubles"].as_array().into_iter().flatten();
    all.filter_map(|one| one.as_str().map(str::to_owned))
        .collect()
}

/// Waits for a trouble in the status; the readiness tells it as well.
fn wait_for_trouble(gateway: &Gateway, words: &str) {
    let mut last = Vec::new();
    wait::until(&format!("a trouble says {words:?}"), || {
        last = troubles(gateway);
        last.iter().any(|trouble| trouble.contains(words))
    });
    let ready = gateway.control("/readyz");
    assert!(ready.contains(words), "{words:?} in {ready}");
}

fn wait_for_no_trouble(gateway: &Gateway) {
    wait::until("no trouble is left", || troubles(gateway).is_empty());
}

/// Publishes with QoS 1, one after the other.
fn publish(gateway: &Gateway, count: u16) {
    let mut stream = mqtt::connect(gateway.address, "health", true).expect("let in");
    for number in 0..count {
        let payload = format!("{{\"n\":{number}}}");
        let packet = mqtt::publish("hall/temp", number + 1, payload.as_bytes());
        stream.write_all(&packet).expect("it reads");
        let mut ack = [0; 4];
        stream.read_exact(&mut ack).expect("acknowledged");
        assert_eq!(ack[..2], [0x40, 2]);
    }
}

#[test]
fn an_upstream_that_takes_nothing_is_told_everywhere_until_it_takes_something() {
    let server = Server::start(204);
    let mut gateway = Gateway::new(&format!(
        "[upstreams.hook]\ntype = \"http\"\nurl = \"http://{}/in\"\nretry_max = \"1s\"\n",
        server.address
    ));
    gateway.start();
    publish(&gateway, 1);
    wait_for_no_trouble(&gateway);
    for (round, code) in [401, 404, 500, 503].into_iter().enumerate() {
        server.status.store(code, Ordering::Relaxed);
        publish(&gateway, 1);
        wait_for_trouble(&gateway, "upstream hook is failing");
        wait_for_trouble(&gateway, &code.to_string());
        assert_eq!(gateway.metric("tidegate_upstream_up", "hook"), 0, "{code}");
        server.status.store(204, Ordering::Relaxed);
        wait_for_no_trouble(&gateway);
        assert_eq!(gateway.metric("tidegate_upstream_up", "hook"), 1, "{code}");
        let told = gateway.events(&["--topic", "$tidegate/upstream/down"]);
        assert_eq!(told.len(), round + 1, "{code}: a system event per change");
    }
    let log = gateway.whole_log();
    assert_eq!(log.matches("upstream down").count(), 4, "{log}");
}

#[test]
fn a_source_that_is_not_there_is_told_and_so_is_its_coming() {
    let broker = port::free();
    let folder = tempfile::tempdir().expect("a folder");
    let gps = folder.path().join("gps");
    let more = format!(
        "[sources.press]\ntype = \"serial\"\nport = \"no-such-port\"\n\n\
         [sources.gps]\ntype = \"lines\"\nport = \"{}\"\nformat = \"text\"\ntopic = \"gps\"\n\n\
         [sources.plant]\ntype = \"mqtt\"\nurl = \"mqtt://{broker}\"\ntopics = [\"#\"]\n\n\
         [upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n",
        gps.display()
    );
    let mut gateway = Gateway::new_in(folder, &more);
    gateway.start();
    for name in ["press", "gps", "plant"] {
        wait_for_trouble(&gateway, &format!("source {name} is "));
        assert_eq!(gateway.metric("tidegate_source_up", name), 0, "{name}");
    }
    assert_eq!(gateway.metric("tidegate_source_up", "floor"), 1);
    assert!(!troubles(&gateway).iter().any(|one| one.contains("floor")));
    let (_line, path) = pseudo_terminal().expect("a pseudo-terminal");
    std::os::unix::fs::symlink(path, &gps).expect("a link");
    wait::until("the port that came is no trouble any more", || {
        let troubles = troubles(&gateway);
        !troubles.iter().any(|one| one.contains("source gps"))
    });
    assert_eq!(gateway.metric("tidegate_source_up", "gps"), 1);
    assert_eq!(gateway.metric("tidegate_source_up", "press"), 0);
}

/// More than are moved in one piece.
const WAITING: u16 = 600;

#[test]
fn what_waits_behind_a_renamed_upstream_is_told_moved_or_dropped() {
    let away = port::free();
    let with = |name: &str, kind: &str| format!("[upstreams.{name}]\n{kind}\n");
    let hook = format!("type = \"http\"\nurl = \"http://{away}/in\"");
    let archive = with("archive", "type = \"file\"\npath = \"archive.jsonl\"");
    let mut gateway = Gateway::new(&with("old", &hook));
    gateway.start();
    publish(&gateway, WAITING);
    gateway.terminate();
    let path = gateway.path("gateway.toml");
    let before = std::fs::read_to_string(&path).expect("a configuration");
    let after = before.replace(&with("old", &hook), &archive);
    assert_ne!(before, after);
    std::fs::write(&path, &after).expect("written");
    gateway.start();
    wait_for_trouble(&gateway, "wait for the upstream old");
    let run = |arguments: &[&str]| {
        let output = gateway.ask(arguments);
        let said = format!(
            "{}{}",
            String::from_utf8_lossy(&output.stdout),
            String::from_utf8_lossy(&output.stderr)
        );
        (output.status.success(), said)
    };
    // Its own system events wait there as well.
    let waiting = |text: &str| -> u64 {
        let number = text.split_whitespace().find_map(|word| word.parse().ok());
        number.unwrap_or_else(|| panic!("no number in {text}"))
    };
    let (fine, listed) = run(&["store", "lanes", "list"]);
    assert!(fine && listed.contains("old"), "{listed}");
    assert!(waiting(&listed) >= u64::from(WAITING), "{listed}");
    let (fine, said) = run(&["store", "lanes", "move", "archive", "--to", "archive"]);
    assert!(!fine && said.contains("lanes list"), "{said}");
    let (fine, said) = run(&["store", "lanes", "move", "old", "--to", "nowhere"]);
    assert!(!fine && said.contains("nowhere"), "{said}");
    let (fine, moved) = run(&["store", "lanes", "move", "old", "--to", "archive"]);
    assert!(fine, "{moved}");
    assert_eq!(waiting(&moved), waiting(&listed));
    wait::until("the moved ones arrive", || {
        let text = std::fs::read_to_string(gateway.path("archive.jsonl")).unwrap_or_default();
        (0..WAITING).all(|number| text.contains(&format!("\"n\":{number}}}")))
    });
    wait_for_no_trouble(&gateway);
    assert!(run(&["store", "lanes", "list"]).1.contains("nothing waits"));
    gateway.terminate();

    std::fs::write(&path, &before).expect("written");
    gateway.start();
    publish(&gateway, 2);
    gateway.terminate();
    std::fs::write(&path, &after).expect("written");
    gateway.start();
    wait_for_trouble(&gateway, "wait for the upstream old");
    let dropped = gateway.ask(&["store", "lanes", "drop", "old"]);
    assert!(dropped.status.success());
    wait_for_no_trouble(&gateway);
}
