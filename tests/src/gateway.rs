//! One gateway process with a folder and a configuration of its own.

pub mod binary;
pub mod told;
pub mod user;

use std::ffi::OsString;
use std::fs::File;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::MetadataExt;
use std::os::unix::net::UnixStream;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::time::Duration;

use serde_json::Value;
use tempfile::TempDir;

use crate::{port, wait};

/// How a gateway ends.
#[derive(Debug, Clone, Copy)]
pub enum End {
    /// At once.
    Killed,
    /// By SIGTERM, in order.
    Terminated,
}

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
        Gateway::new_in(tempfile::tempdir().expect("a folder"), more)
    }

    /// The same in a folder that holds what `more` names.
    ///
    /// # Panics
    /// When the folder cannot be written.
    pub fn new_in(dir: TempDir, more: &str) -> Gateway {
        let address = port::free();
        std::fs::create_dir(dir.path().join("data")).expect("a data folder");
        let text = format!(
            "[gateway]\nid = \"plant-a\"\ndata_dir = \"data\"\n\n[sources.floor]\ntype = \"mqtt-listener\"\nlisten = \"{address}\"\n\n{more}"
        );
        std::fs::write(dir.path().join("gateway.toml"), text).expect("a configuration");
        Gateway::configured(dir, address)
    }

    /// A gateway whose folder holds its configuration, with a listener at `address`.
    pub fn configured(dir: TempDir, address: SocketAddr) -> Gateway {
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
        let program = self.built();
        let mut command = match self.tracer.split_first() {
            None => Command::new(program),
            Some((tracer, arguments)) => {
                let mut command = Command::new(tracer);
                command.args(arguments).arg(program);
                command
            }
        };
        command
            .current_dir(self.dir.path())
            .args(["run", "--config"])
            .arg(self.path("gateway.toml"))
            .envs(self.variables.iter().cloned())
            .stdin(Stdio::null())
            .stdout(log.try_clone().expect("a log"))
            .stderr(log);
        command
    }

    /// The build that it runs.
    fn built(&self) -> PathBuf {
        self.program.clone().unwrap_or_else(binary::tidegate)
    }

    /// Starts the process and waits until it listens.
    ///
    /// # Panics
    /// When it ends instead, or does not listen; with the end of its log.
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
    /// When it ends instead, or does not listen; with the end of its log.
    pub fn await_listening(&mut self) {
        wait::find("the gateway listens", || {
            if TcpStream::connect(self.address).is_ok() {
                return Ok(());
            }
            let process = self.process.as_mut();
            let ended = process.and_then(|process| process.try_wait().ok().flatten());
            assert!(
                ended.is_none(),
                "the gateway ended: {ended:?}\n{}",
                self.log()
            );
            Err(self.log())
        });
    }

    /// Waits until `what` is so, which its log tells otherwise.
    ///
    /// # Panics
    /// When it is not for too long; with the end of its log.
    pub fn wait_until(&self, what: &str, mut is_so: impl FnMut() -> bool) {
        wait::find(what, || is_so().then_some(()).ok_or_else(|| self.log()));
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
    /// When it does not end.
    pub fn terminate(&mut self) -> ExitStatus {
        self.signal("TERM");
        self.ended()
    }

    /// Ends it; told to, it ends well.
    ///
    /// # Panics
    /// When it does not.
    pub fn end(&mut self, end: End) {
        match end {
            End::Killed => drop(self.kill()),
            End::Terminated => assert!(self.terminate().success(), "{}", self.log()),
        }
    }

    /// How it ended, which it does by itself or was told to.
    ///
    /// # Panics
    /// When it does not end.
    pub fn ended(&mut self) -> ExitStatus {
        let mut process = self.process.take().expect("it runs");
        wait::find("the gateway ends", || {
            let ended = process.try_wait().expect("a child");
            ended.ok_or_else(|| self.log())
        })
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

    /// Whether its process has not ended.
    ///
    /// # Panics
    /// When it was not started.
    pub fn is_running(&mut self) -> bool {
        let process = self.process.as_mut().expect("it was started");
        process.try_wait().is_ok_and(|ended| ended.is_none())
    }

    /// Resident memory in bytes.
    ///
    /// # Panics
    /// When it does not run.
    pub fn resident_bytes(&self) -> u64 {
        self.memory_bytes("VmRSS:")
    }

    /// Resident memory that is backed by no file, in bytes.
    ///
    /// # Panics
    /// When it does not run.
    pub fn anonymous_bytes(&self) -> u64 {
        self.memory_bytes("RssAnon:")
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

    /// Its whole log.
    pub fn whole_log(&self) -> String {
        std::fs::read_to_string(self.path("gateway.log")).unwrap_or_default()
    }

    /// How often its log says this, with the repeats that it only counts; it has ended.
    ///
    /// # Panics
    /// When a count is no number.
    pub fn said(&self, words: &str) -> usize {
        let log = self.whole_log();
        let lines = log.lines().filter(|line| line.contains(words));
        let times = lines.map(|line| match line.split_once("… ") {
            None => 1,
            Some((_, count)) => {
                let (count, _) = count.split_once(" more in the last ").expect("a count");
                count.parse().expect("a number")
            }
        });
        times.sum()
    }

    /// The last lines of its log.
    pub fn log(&self) -> String {
        tail(&self.path("gateway.log"), 40)
    }

    /// The answer to a GET of `path` at its control socket, head included. It listens for devices
    /// before it can be asked.
    ///
    /// # Panics
    /// When there is no answer.
    pub fn control(&self, path: &str) -> String {
        let mut socket = wait::find("the gateway can be asked", || {
            UnixStream::connect(self.path("data/tidegate.sock"))
        });
        let request =
            format!("GET {path} HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n");
        socket.write_all(request.as_bytes()).expect("it listens");
        let mut answer = String::new();
        socket.read_to_string(&mut answer).expect("an answer");
        answer
    }

    /// The sum of a metric over its labels that hold `label`.
    ///
    /// # Panics
    /// When it cannot be asked.
    pub fn metric(&self, name: &str, label: &str) -> u64 {
        self.control("/metrics")
            .lines()
            .filter(|line| line.starts_with(name) && line.contains(label))
            .filter_map(|line| line.rsplit(' ').next()?.parse::<u64>().ok())
            .sum()
    }

    /// What `tidegate events list` shows with these arguments, oldest first.
    ///
    /// # Panics
    /// When it shows nothing.
    pub fn events(&self, arguments: &[&str]) -> Vec<Value> {
        self.list(&[&["events", "list"], arguments].concat())
    }

    /// The dead letters, oldest first.
    ///
    /// # Panics
    /// When they cannot be listed.
    pub fn dead_letters(&self) -> Vec<Value> {
        self.list(&["dead-letters", "list", "--limit", "10000"])
    }

    fn list(&self, arguments: &[&str]) -> Vec<Value> {
        let listed = self.asked_json(arguments);
        listed.as_array().cloned().expect("a list")
    }

    /// What `tidegate status` says.
    ///
    /// # Panics
    /// When it says nothing.
    pub fn status(&self) -> Value {
        self.asked_json(&["status"])
    }

    /// What a subcommand prints as JSON, once it can.
    fn asked_json(&self, arguments: &[&str]) -> Value {
        wait::find("the gateway can be asked", || {
            let asked = self.ask(&[arguments, &["--format", "json"]].concat());
            let said = String::from_utf8_lossy(&asked.stderr);
            match asked.status.success() {
                true => Ok(serde_json::from_slice(&asked.stdout).expect("JSON")),
                false => Err(format!("{said}\n{}", self.log())),
            }
        })
    }

    /// Runs another subcommand over the same configuration.
    ///
    /// # Panics
    /// When the program cannot be started.
    pub fn ask(&self, arguments: &[&str]) -> std::process::Output {
        Command::new(self.built())
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
