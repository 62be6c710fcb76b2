//! The real program with one MQTT listener, in a folder of its own.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::process::{Child, Command, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

/// A running gateway; killed when dropped.
pub(crate) struct Gateway {
    pub(crate) folder: TempDir,
    /// The listener `floor`.
    pub(crate) address: SocketAddr,
    api: SocketAddr,
    process: Child,
}

impl Gateway {
    /// Starts one; `keys` are further keys of the listener `floor`.
    pub(crate) fn start(keys: &str) -> Gateway {
        Gateway::start_in(tempfile::tempdir().expect("a folder"), keys)
    }

    /// Starts one in a folder that holds what its keys name.
    pub(crate) fn start_in(folder: TempDir, keys: &str) -> Gateway {
        let (address, api) = (free_port(), free_port());
        let text = format!(
            "[gateway]\nid = \"plant-a\"\ndata_dir = \"data\"\n\n[api]\nlisten = \"{api}\"\n\n\
             [upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n\n\
             [sources.floor]\ntype = \"mqtt-listener\"\nlisten = \"{address}\"\n{keys}\n"
        );
        let config = folder.path().join("gateway.toml");
        std::fs::write(&config, text).expect("a configuration");
        std::fs::create_dir(folder.path().join("data")).expect("a data folder");
        let log = std::fs::File::create(folder.path().join("gateway.log")).expect("a log");
        let process = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["run", "--config"])
            .arg(&config)
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log)
            .spawn()
            .expect("tidegate starts");
        let mut gateway = Gateway {
            folder,
            address,
            api,
            process,
        };
        gateway.wait_until_it_listens();
        gateway
    }

    fn wait_until_it_listens(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.address).is_err() {
            let ended = self.process.try_wait().expect("it can be asked");
            assert!(ended.is_none(), "it ended: {ended:?}\n{}", self.log());
            assert!(Instant::now() < deadline, "in vain\n{}", self.log());
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("gateway.log")).unwrap_or_default()
    }

    /// The sum of a metric over its labels that hold `label`.
    pub(crate) fn metric(&self, name: &str, label: &str) -> u64 {
        let mut stream = TcpStream::connect(self.api).expect("the API listens");
        let host = self.api;
        let question =
            format!("GET /metrics HTTP/1.1\r\nhost: {host}\r\nconnection: close\r\n\r\n");
        stream.write_all(question.as_bytes()).expect("it reads");
        let mut text = String::new();
        stream.read_to_string(&mut text).expect("metrics");
        text.lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// The stored events in the words of `tidegate events list`, oldest first.
    pub(crate) fn events(&self, topic: &str) -> Vec<serde_json::Value> {
        let output = Command::new(env!("CARGO_BIN_EXE_tidegate"))
            .args(["events", "list", "--format", "json", "--limit", "1000"])
            .args(["--topic", topic, "--config"])
            .arg(self.folder.path().join("gateway.toml"))
            .output()
            .expect("tidegate starts");
        let text = String::from_utf8_lossy(&output.stdout).into_owned();
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert!(output.status.success(), "{said}");
        serde_json::Deserializer::from_str(&text)
            .into_iter::<serde_json::Value>()
            .flat_map(|value| match value.expect("JSON") {
                serde_json::Value::Array(events) => events,
                event => vec![event],
            })
            .collect()
    }

    /// SIGTERM; how long it took to end.
    pub(crate) fn stop(&mut self) -> Duration {
        let began = Instant::now();
        let pid = self.process.id().to_string();
        let sent = Command::new("kill").arg(pid).status().expect("kill starts");
        assert!(sent.success());
        self.process.wait().expect("it ends");
        began.elapsed()
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        let _ = self.process.kill();
        let _ = self.process.wait();
    }
}

fn free_port() -> SocketAddr {
    // Below the range that the kernel hands out to outgoing connections, and another one each time: between now and its
    // use nobody else takes it.
    static TAKEN: AtomicU32 = AtomicU32::new(0);
    loop {
        let step = TAKEN.fetch_add(1, Ordering::Relaxed);
        let port = 10_000 + std::process::id().wrapping_mul(97).wrapping_add(step) % 20_000;
        if let Ok(socket) = TcpListener::bind(("127.0.0.1", port as u16)) {
            return socket.local_addr().expect("its address");
        }
    }
}

/// Waits until something is so, for ten seconds at most.
pub(crate) fn wait_for(what: &str, mut is_so: impl FnMut() -> bool) {
    let deadline = Instant::now() + Duration::from_secs(10);
    while !is_so() {
        assert!(Instant::now() < deadline, "in vain: {what}");
        std::thread::sleep(Duration::from_millis(20));
    }
}
