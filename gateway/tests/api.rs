//! The API over TCP, asked as a scraper, a load balancer and a hostile web page would.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use tidegate::config::Api;
use tidegate::control::{ApiContext, Control};
use tidegate::observe::intake::IntakeReport;
use tidegate::observe::{self, Observe};
use tokio::runtime::Runtime;
use tokio::sync::watch;

/// A gateway that is nothing but its API.
struct Served {
    address: SocketAddr,
    refusing: Arc<AtomicBool>,
    stop: watch::Sender<bool>,
    runtime: Runtime,
    _folder: tempfile::TempDir,
}

impl Served {
    fn start() -> Served {
        let folder = tempfile::tempdir().expect("a temporary folder");
        let options = tidegate_store::Options {
            ballast_bytes: 0,
            ..tidegate_store::Options::new(folder.path().join("store"))
        };
        let (_writer, store) = tidegate_store::open(options).expect("a store");
        store.lane("cloud").expect("a lane");
        let observe = Arc::new(Observe::default());
        observe::process::register(&observe);
        observe::store::register(&observe, store.clone());
        let refusing = Arc::new(AtomicBool::new(false));
        let asked = Arc::clone(&refusing);
        let context = ApiContext::new("plant-a", Instant::now(), observe)
            .with_store(store, folder.path().join("store"))
            .with_intake(move |_| IntakeReport {
                last_beat: Some(Duration::ZERO),
                refusing: asked.load(Ordering::Relaxed),
                ..IntakeReport::default()
            });
        let api = Api {
            listen: "127.0.0.1:0".parse().ok(),
            hosts: vec!["gateway.lan".to_owned()],
        };
        let runtime = Runtime::new().expect("a runtime");
        let control = Control::bind(folder.path(), None, &api, Arc::new(context));
        let control = runtime.block_on(control).expect("both doors");
        let address = control.api_address().expect("an address");
        let (stop, stopped) = watch::channel(false);
        runtime.spawn(control.run(stopped));
        Served {
            address,
            refusing,
            stop,
            runtime,
            _folder: folder,
        }
    }

    /// Sends a request and gives the status code and the body.
    fn ask(&self, request: &str, host: &str) -> (u16, String) {
        let mut stream = TcpStream::connect(self.address).expect("a connection");
        let text = format!("{request} HTTP/1.1\r\nHost: {host}\r\nConnection: close\r\n\r\n");
        stream.write_all(text.as_bytes()).expect("a request");
        let mut answer = String::new();
        stream.read_to_string(&mut answer).expect("an answer");
        let code = answer.split(' ').nth(1).and_then(|code| code.parse().ok());
        let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
        (code.unwrap_or_default(), body.to_owned())
    }

    fn get(&self, path: &str) -> (u16, String) {
        self.ask(&format!("GET {path}"), "localhost")
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        self.stop.send_replace(true);
        self.runtime.block_on(tokio::task::yield_now());
    }
}

#[test]
fn a_gateway_that_refuses_events_is_alive_and_not_ready() {
    let served = Served::start();
    assert_eq!(
        served.get("/healthz"),
        (200, "{\"alive\":true}\n".to_owned())
    );
    assert_eq!(
        served.get("/readyz"),
        (200, "{\"ready\":true,\"troubles\":[]}\n".to_owned())
    );
    served.refusing.store(true, Ordering::Relaxed);
    assert_eq!(served.get("/healthz").0, 200);
    let (code, body) = served.get("/readyz");
    assert_eq!(code, 503);
    assert!(body.contains("events are refused"), "{body}");
    let (code, body) = served.get("/status");
    assert_eq!(code, 200);
    let status: serde_json::Value = serde_json::from_str(&body).expect("JSON");
    assert_eq!(status["store"]["refusing"], true);
    let series = "tidegate_trouble{subject=\"store\",kind=\"refusing\"} 1\n";
    assert!(served.get("/metrics").1.contains(series));
    served.refusing.store(false, Ordering::Relaxed);
    assert!(!served.get("/metrics").1.contains("tidegate_trouble{"));
}

#[test]
fn a_scraper_gets_the_process_and_the_store() {
    let served = Served::start();
    let (code, text) = served.get("/metrics");
    assert_eq!(code, 200);
    for line in [
        "tidegate_process_resident_memory_bytes ",
        "tidegate_store_free_bytes ",
        "tidegate_store_commits_total ",
        "tidegate_backlog_events{upstream=\"cloud\"} 0",
        "# EOF",
    ] {
        assert!(
            text.lines().any(|found| found.starts_with(line)),
            "{line} in {text}"
        );
    }
}

#[test]
fn nothing_that_changes_or_tells_payloads_is_answered_over_tcp() {
    let served = Served::start();
    for path in [
        "/events",
        "/events/1",
        "/events/follow",
        "/store/status",
        "/../etc/passwd",
        "/",
    ] {
        assert_eq!(served.get(path).0, 404, "{path}");
    }
    for method in ["POST /store/verify", "DELETE /status", "PUT /metrics"] {
        assert_eq!(served.ask(method, "localhost").0, 405, "{method}");
    }
}

#[test]
fn a_page_behind_a_rebound_name_gets_no_answer() {
    let served = Served::start();
    for host in ["localhost", "127.0.0.1:9884", "[::1]", "gateway.lan:9884"] {
        assert_eq!(served.ask("GET /healthz", host).0, 200, "{host}");
    }
    for host in ["evil.example", "evil.example:9884"] {
        let (code, body) = served.ask("GET /status", host);
        assert_eq!(code, 421, "{host}");
        assert!(!body.contains("plant-a"), "{body}");
    }
}
