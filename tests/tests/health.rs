//! What is wrong is told wherever one looks: status, readiness, metrics, the log and a system event.

use std::io::{BufRead, BufReader, Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU16, Ordering};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::told::troubles;
use tidegate_tests::node::pseudo_terminal;
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::{mqtt, port, wait};

/// A server that answers every request with the status it is set to.
struct Server {
    address: SocketAddr,
    status: Arc<AtomicU16>,
}

impl Server {
    fn start(status: u16) -> Server {
        let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
        Server::at(listener, status)
    }

    fn at(listener: TcpListener, status: u16) -> Server {
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
        mqtt::publish_acknowledged(&mut stream, "hall/temp", number + 1, payload.as_bytes());
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

/// A source or an upstream, and what is told while it does not work.
struct Failing<'a> {
    kind: &'a str,
    name: &'a str,
    /// What is wrong, and where.
    words: &'a [&'a str],
    /// In the log.
    said: &'a str,
}

impl Failing<'_> {
    fn line(&self) -> String {
        format!("{} {} is ", self.kind, self.name)
    }

    fn metric(&self, gateway: &Gateway) -> u64 {
        let metric = format!("tidegate_{}_up", self.kind);
        gateway.metric(&metric, &format!("=\"{}\"", self.name))
    }

    fn events(&self, gateway: &Gateway, what: &str) -> usize {
        let topic = format!("$tidegate/{}/{what}", self.kind);
        let all = gateway.events(&["--topic", &topic, "--limit", "1000"]);
        let own = all.iter().filter(|it| it["event"]["subject"] == self.name);
        own.count()
    }

    fn log_lines(&self, gateway: &Gateway, level: &str, said: &str) -> usize {
        let name = format!("{}=\"{}\"", self.kind, self.name);
        let log = gateway.whole_log();
        let lines = log.lines().filter(|line| line.contains(&name));
        let lines = lines.filter(|line| line.contains(said));
        lines.filter(|line| line.contains(level)).count()
    }

    fn told_everywhere(&self, gateway: &Gateway) {
        let begin = self.line();
        let line = wait::find(&format!("{begin}failing"), || {
            let all = troubles(gateway);
            let is_it = |line: &&String| {
                line.starts_with(&begin) && self.words.iter().all(|word| line.contains(word))
            };
            let found = all.iter().find(is_it).cloned();
            found.ok_or_else(|| format!("{all:#?}"))
        });
        eprintln!("{line}");
        let shown = gateway.ask(&["status"]);
        let shown = String::from_utf8_lossy(&shown.stdout).into_owned();
        assert!(shown.contains(&format!("! {begin}")), "{shown}");
        assert!(gateway.control("/readyz").contains(&begin));
        assert_eq!(self.metric(gateway), 0, "{begin}");
        let lines = self.log_lines(gateway, " WARN ", self.said);
        assert!(
            (1..=2).contains(&lines),
            "{begin}: {lines}: {}",
            gateway.log()
        );
        wait::until("a system event tells it", || {
            self.events(gateway, "down") >= 1
        });
        assert!(self.events(gateway, "down") <= 2, "{begin}");
    }

    fn works(&self, gateway: &Gateway) {
        let begin = self.line();
        wait::find(&format!("{begin}as it should be"), || {
            let all = troubles(gateway);
            let is_up = !all.iter().any(|line| line.starts_with(&begin));
            (is_up && self.metric(gateway) == 1)
                .then_some(())
                .ok_or_else(|| format!("{all:#?}"))
        });
        wait::until("a system event tells it", || {
            self.events(gateway, "up") >= 1
        });
    }
}

/// The configuration of ports, a broker and a server that are not there.
fn broken(press: &Path, gps: &Path, broker: SocketAddr, nobody: SocketAddr) -> String {
    let url = format!("url = \"mqtt://{broker}\"");
    format!(
        "[sources.press]\ntype = \"serial\"\nport = \"{}\"\n\n\
         [sources.gps]\ntype = \"lines\"\nport = \"{}\"\nformat = \"text\"\n\n\
         [sources.usb]\ntype = \"lines\"\nmatch = {{ vid = \"ffff\" }}\nformat = \"text\"\n\n\
         [sources.plant]\ntype = \"mqtt\"\n{url}\ntopics = [\"granted/#\"]\n\n\
         [sources.old]\ntype = \"mqtt\"\n{url}\ntopics = [\"granted/1\"]\nversion = \"3.1.1\"\n\n\
         [upstreams.cloud]\ntype = \"mqtt\"\n{url}\ntopic = \"events/{{topic}}\"\n\n\
         [upstreams.cloud3]\ntype = \"mqtt\"\n{url}\ntopic = \"events/{{topic}}\"\nversion = \"3.1.1\"\n\n\
         [upstreams.hook]\ntype = \"http\"\nurl = \"http://{nobody}/in\"\nretry_max = \"1s\"\n\n\
         [upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n",
        press.display(),
        gps.display()
    )
}

#[test]
fn what_does_not_work_is_told_everywhere_and_so_is_its_working_again() {
    let Some(mut broker) = Mosquitto::new("health") else {
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name);
    let (gps, press) = (at("gps"), at("press"));
    let nobody = port::free();
    let config = broken(&press, &gps, broker.address, nobody);
    let mut gateway = Gateway::new_in(folder, &config);
    gateway.start();
    let here = broker.address.to_string();
    let refused = [&*here, "refused"];
    let failing = |kind, name, words, said| Failing {
        kind,
        name,
        words,
        said,
    };
    let cases = [
        failing(
            "source",
            "press",
            &["/press: there is no such port", "plugged in"],
            "serial port not open",
        ),
        failing(
            "source",
            "gps",
            &["/gps: there is no such port", "plugged in"],
            "serial port not open",
        ),
        failing(
            "source",
            "usb",
            &["no USB port", "plugged in"],
            "serial port not open",
        ),
        failing("source", "plant", &refused, "disconnected"),
        failing("source", "old", &refused, "disconnected"),
        failing("upstream", "cloud", &refused, "upstream down"),
        failing("upstream", "cloud3", &refused, "upstream down"),
        failing("upstream", "hook", &["refused"], "upstream down"),
    ];
    for case in &cases {
        case.told_everywhere(&gateway);
    }
    assert!(!troubles(&gateway).iter().any(|one| one.contains("floor")));
    assert_eq!(gateway.metric("tidegate_source_up", "floor"), 1);
    let (_one, path) = pseudo_terminal().expect("a pseudo-terminal");
    std::os::unix::fs::symlink(path, &gps).expect("a link");
    let (_two, path) = pseudo_terminal().expect("a pseudo-terminal");
    std::os::unix::fs::symlink(path, &press).expect("a link");
    broker.start();
    let _server = Server::at(TcpListener::bind(nobody).expect("it is free"), 204);
    for case in cases.iter().filter(|case| case.name != "usb") {
        case.works(&gateway);
    }
    assert_eq!(
        cases[2].metric(&gateway),
        0,
        "what was not mended is not up"
    );
}

#[test]
fn a_filter_that_a_broker_refuses_is_told_while_the_others_are_served() {
    // mosquitto grants whatever its list of topics says, and sends nothing then.
    let granting = |hello: &'static [u8], suback: &'static [u8]| {
        broker(hello, |stream| {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(suback);
            while matches!(stream.read(&mut [0; 1024]), Ok(1..)) {}
        })
    };
    let (v5, v3) = (&[0x20, 3, 0, 0, 0], &[0x20, 2, 0, 0]);
    let section = |name: &str, version: &str, address: SocketAddr, topics: &str| {
        format!(
            "[sources.{name}]\ntype = \"mqtt\"\nurl = \"mqtt://{address}\"\nversion = \"{version}\"\ntopics = {topics}\n\n"
        )
    };
    let both = "[\"granted/#\", \"other/#\"]";
    let some = granting(v5, &[0x90, 5, 0, 1, 0, 1, 0x87]);
    let some3 = granting(v3, &[0x90, 4, 0, 1, 1, 0x80]);
    let none = granting(v5, &[0x90, 4, 0, 1, 0, 0x87]);
    let mut gateway = Gateway::new(&format!(
        "{}{}{}[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n",
        section("some", "5", some, both),
        section("some3", "3.1.1", some3, both),
        section("none", "5", none, "[\"other/#\"]"),
    ));
    gateway.start();
    for name in ["some", "some3"] {
        wait_for_trouble(
            &gateway,
            &format!("source {name}: the broker refused to subscribe to other/#"),
        );
        wait_for_trouble(&gateway, "grant it there");
        let label = format!("source=\"{name}\"");
        assert_eq!(gateway.metric("tidegate_source_up", &label), 1, "{name}");
        let labels = format!("subject=\"source {name}\",kind=\"filters\"");
        assert_eq!(gateway.metric("tidegate_trouble", &labels), 1, "{name}");
    }
    let none = Failing {
        kind: "source",
        name: "none",
        words: &["refused to subscribe to other/#"],
        said: "disconnected",
    };
    none.told_everywhere(&gateway);
    assert_eq!(none.log_lines(&gateway, " INFO ", "subscribed"), 0);
}

/// Answers CONNECT with `hello`, lets `serve` decide, and hangs up. The first packet identifier of
/// its clients is 1.
fn broker(
    hello: &'static [u8],
    serve: impl Fn(&mut std::net::TcpStream) + Send + 'static,
) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for mut stream in listener.incoming().flatten() {
            let _ = stream.read(&mut [0; 1024]);
            let _ = stream.write_all(hello);
            serve(&mut stream);
        }
    });
    address
}

#[test]
fn what_comes_and_goes_all_the_time_is_called_unstable_and_fills_no_log() {
    let address = broker(&[0x20, 3, 0, 0, 0], |stream| {
        let _ = stream.read(&mut [0; 1024]);
        let _ = stream.write_all(&[0x90, 4, 0, 1, 0, 1]);
        // The client reads that before it is hung up on.
        std::thread::sleep(std::time::Duration::from_millis(200));
    });
    let mut gateway = Gateway::new(&format!(
        "[sources.plant]\ntype = \"mqtt\"\nurl = \"mqtt://{address}\"\ntopics = [\"#\"]\n\n\
         [upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n"
    ));
    gateway.start();
    wait_for_trouble(&gateway, "source plant: it comes and goes all the time");
    wait_for_trouble(&gateway, "cable, network and power");
    let plant = Failing {
        kind: "source",
        name: "plant",
        words: &[],
        said: "disconnected",
    };
    let downs = plant.log_lines(&gateway, " WARN ", "disconnected");
    let ups = plant.log_lines(&gateway, " INFO ", "subscribed");
    assert!(downs + ups <= 8, "{}", gateway.log());
    assert!(plant.events(&gateway, "down") + plant.events(&gateway, "up") <= 8);
}

#[test]
fn an_upstream_that_connects_and_never_acknowledges_is_not_up() {
    let hello = &[0x20, 3, 0, 0, 0];
    let address = broker(hello, |stream| {
        while matches!(stream.read(&mut [0; 4096]), Ok(1..)) {}
    });
    let mut gateway = Gateway::new(&format!(
        "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{address}\"\nack_timeout = \"500ms\"\n\
         retry_max = \"300ms\"\n"
    ));
    gateway.start();
    publish(&gateway, 1);
    let cloud = Failing {
        kind: "upstream",
        name: "cloud",
        words: &["no acknowledgement"],
        said: "upstream down",
    };
    cloud.told_everywhere(&gateway);
    let breaks = || gateway.metric("tidegate_upstream_disconnects_total", "cloud");
    let before = breaks();
    wait::until("it was tried again", || {
        assert_eq!(
            cloud.metric(&gateway),
            0,
            "it is connected now and then, and not up"
        );
        breaks() > before + 8
    });
    cloud.told_everywhere(&gateway);
    assert_eq!(cloud.log_lines(&gateway, " INFO ", "upstream up"), 1);
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
