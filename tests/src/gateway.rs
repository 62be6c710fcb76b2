//! One gateway process with a folder and a configuration of its own.

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::atomic::{AtomicU32, Ordering};
use std::time::{Duration, Instant};

use tempfile::TempDir;

use crate::binary;

/// A folder with a `gateway.toml`, and the process that runs it.
pub struct Gateway {
    /// Removed at the end.
    pub dir: TempDir,
    /// Where the MQTT listener `floor` is.
    pub address: SocketAddr,
    process: Option<Child>,
    variables: Vec<(String, String)>,
    program: Option<PathBuf>,
    tracer: Vec<OsString>,
}

impl Gateway {
    /// A gateway with an MQTT listener `floor`; `more` is the rest of its configuration.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn new(more: &str) -> Gateway {
        let dir = tempfile::tempdir().expect("a folder");
        let address = free_port();
        std::fs::create_dir(dir.path().join("data")).expect("a data folder");
        let text = format!(
            "[gateway]\nid = \"plant-a\"\ndata_dir = \"data\"\n\n[sources.floor]\ntype = \"mqtt-listener\"\nlisten = \"{address}\"\n\n{more}"
        );
        std::fs::write(dir.path().join("gateway.toml"), text).expect("a configuration");
        Gateway {
            dir,
            address,
            process: None,
            variables: Vec::new(),
            program: None,
            tracer: Vec::new(),
        }
    }

    /// Runs another build of the program from the next start on.
    pub fn program(&mut self, program: PathBuf) {
        self.program = Some(program);
    }

    /// Runs the program under `tracer`, a command that becomes the program (`strace -D`).
    pub fn under(&mut self, tracer: Vec<OsString>) {
        self.tracer = tracer;
    }

    /// Sets an environment variable for the next start.
    pub fn variable(&mut self, name: &str, value: &str) {
        self.variables.push((name.into(), value.into()));
    }

    /// The file `name` in its folder.
    pub fn path(&self, name: &str) -> PathBuf {
        self.dir.path().join(name)
    }

    /// Sets how long it may take to stop.
    ///
    /// # Panics
    /// When the configuration cannot be written.
    pub fn shutdown_max(&self, most: Duration) {
        self.set("shutdown_max", &format!("{}ms", most.as_millis()));
    }

    /// Puts a key into its `[gateway]`, unless it is there.
    fn set(&self, key: &str, value: &str) {
        let config = self.path("gateway.toml");
        let before = std::fs::read_to_string(&config).expect("a configuration");
        if !before.contains(&format!("\n{key} = ")) {
            let line = format!("{key} = \"{value}\"\ndata_dir");
            let after = before.replacen("data_dir", &line, 1);
            std::fs::write(&config, after).expect("a configuration");
        }
    }

    /// Writes a file into its folder; one of `rules/` makes that the rules folder.
    ///
    /// # Panics
    /// When it cannot be written.
    pub fn write(&self, name: &str, text: &str) {
        let path = self.path(name);
        let folder = path.parent().expect("it lies in a folder");
        std::fs::create_dir_all(folder).expect("a folder");
        std::fs::write(&path, text).expect("a file");
        if name.starts_with("rules/") {
            self.set("rules", "rules");
        }
    }

    /// The command that runs it, not started.
    pub fn command(&self) -> Command {
        let log = File::options()
            .create(true)
            .append(true)
            .open(self.path("gateway.log"))
            .expect("a log");
        let program = self.program.clone().unwrap_or_else(binary::tidegate);
        let mut command = match self.tracer.split_first() {
            None => Command::new(program),
            Some((tracer, arguments)) => {
                let mut command = Command::new(tracer);
                command.args(arguments).arg(program);
                command
            }
        };
        command
            .args(["run", "--config"])
            .arg(self.path("gateway.toml"))
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        command
    }

    /// Starts the process and waits until it listens.
    ///
    /// # Panics
    /// When it ends instead, or does not listen within 30 s; with the end of its log.
    pub fn start(&mut self) {
        self.launch();
        self.await_listening();
    }

    /// Starts the process, and no more.
    ///
    /// # Panics
    /// When there is no such program.
    pub fn launch(&mut self) {
        let process = self.command().spawn().expect("tidegate starts");
        self.process = Some(process);
    }

    /// Waits until the process listens.
    ///
    /// # Panics
    /// When it ends instead, or does not listen within 30 s; with the end of its log.
    pub fn await_listening(&mut self) {
        let deadline = Instant::now() + Duration::from_secs(30);
        while TcpStream::connect(self.address).is_err() {
            let ended = self
                .process
                .as_mut()
                .and_then(|p| p.try_wait().ok().flatten());
            assert!(
                ended.is_none(),
                "the gateway ended: {ended:?}\n{}",
                self.log()
            );
            assert!(
                Instant::now() < deadline,
                "the gateway does not listen\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(10));
        }
    }

    /// SIGKILL; how it ended, if it ran.
    pub fn kill(&mut self) -> Option<ExitStatus> {
        let mut process = self.process.take()?;
        let _ = process.kill();
        process.wait().ok()
    }

    /// SIGTERM, and how it ended.
    ///
    /// # Panics
    /// When it does not end within 30 s.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// How it ended, which it does by itself or was told to.
    ///
    /// # Panics
    /// When it does not end within 30 s.
    pub fn ended(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        let deadline = Instant::now() + Duration::from_secs(30);
        loop {
            if let Some(status) = process.try_wait().expect("a child") {
                return status;
            }
            assert!(
                Instant::now() < deadline,
                "the gateway does not end\n{}",
                self.log()
            );
            std::thread::sleep(Duration::from_millis(20));
        }
    }

    /// Sends it a signal by its name: `STOP`, `CONT`, `TERM`.
    ///
    /// # Panics
    /// When it does not run.
    pub fn signal(&self, name: &str) {
        let told = Command::new("kill")
            .args([format!("-{name}"), self.pid().to_string()])
            .status();
        assert!(told.expect("kill runs").success());
    }

    /// Bytes that its data directory takes on the disk.
    pub fn disk_bytes(&self) -> u64 {
        allocated_bytes(&self.path("data"))
    }

    /// Its process id.
    ///
    /// # Panics
    /// When it does not run.
    pub fn pid(&self) -> u32 {
        self.process.as_ref().expect("it runs").id()
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// When it does not run.
    pub fn resident_bytes(&self) -> u64 {
        self.memory_bytes("VmRSS:")
    }

    /// The most resident memory since its start, in bytes.
    ///
    /// # Panics
    /// When it does not run.
    pub fn resident_bytes_max(&self) -> u64 {
        self.memory_bytes("VmHWM:")
    }

    fn memory_bytes(&self, which: &str) -> u64 {
        let status =
            std::fs::read_to_string(format!("/proc/{}/status", self.pid())).expect("it runs");
        let line = status
            .lines()
            .find_map(|line| line.strip_prefix(which))
            .expect("a size");
        line.trim()
            .trim_end_matches(" kB")
            .trim()
            .parse::<u64>()
            .expect("a number")
            * 1024
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        tail(&self.path("gateway.log"), 40)
    }

    /// The answer to a GET of `path` at its control socket, head included.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn control(&self, path: &str) -> String {
        let mut socket =
            UnixStream::connect(self.path("data/tidegate.sock")).expect("a control socket");
        let question =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        socket.write_all(question.as_bytes()).expect("it listens");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// Runs another subcommand over the same configuration.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn ask(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(binary::tidegate())
            .args(arguments)
            .arg("--config")
            .arg(self.path("gateway.toml"))
            .output()
            .expect("tidegate runs")
    }
}

impl Drop for Gateway {
    fn drop(&mut self) {
        self.kill();
    }
}

/// A loopback address that was free a moment ago.
///
/// # Panics
/// When a bound socket has no address.
pub fn free_port() -> SocketAddr {
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

/// Blocks of all files below `path`; files that vanish meanwhile take none.
fn allocated_bytes(path: &Path) -> u64 {
    let Ok(entries) = std::fs::read_dir(path) else {
        return std::fs::symlink_metadata(path).map_or(0, |file| file.blocks() * 512);
    };
    let below = entries
        .flatten()
        .map(|entry| allocated_bytes(&entry.path()));
    below.sum()
}

fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
