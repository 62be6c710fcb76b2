//! A real broker on a port of its own.

use std::net::{SocketAddr, TcpStream};
use std::path::PathBuf;
use std::process::{Child, Command, Stdio};

use tempfile::TempDir;

use crate::{peer, port, wait};

/// A mosquitto that keeps everything queued for its subscribers.
pub struct Mosquitto {
    /// Where it listens.
    pub address: SocketAddr,
    program: PathBuf,
    dir: TempDir,
    process: Option<Child>,
}

impl Mosquitto {
    /// A broker that is not started yet; `None` where mosquitto is not installed.
    ///
    /// # Panics
    /// When its folder cannot be written.
    pub fn new(test: &str) -> Option<Mosquitto> {
        Mosquitto::with(test, "")
    }

    /// The same with more lines of configuration.
    ///
    /// # Panics
    /// When its folder cannot be written.
    pub fn with(test: &str, more: &str) -> Option<Mosquitto> {
        let program = peer::find("mosquitto", test)?;
        let dir = tempfile::tempdir().expect("a folder");
        let address = port::free();
        let text = format!(
            "listener {} 127.0.0.1\nallow_anonymous true\nmax_queued_messages 0\nmax_inflight_messages 1000\n{more}\n",
            address.port()
        );
        std::fs::write(dir.path().join("mosquitto.conf"), text).expect("a configuration");
        Some(Mosquitto {
            address,
            program,
            dir,
            process: None,
        })
    }

    /// Starts it and waits until it listens. Its sessions begin empty.
    ///
    /// # Panics
    /// When it does not listen.
    pub fn start(&mut self) {
        let process = Command::new(&self.program)
            .arg("-c")
            .arg(self.dir.path().join("mosquitto.conf"))
            .stdin(Stdio::null())
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .expect("mosquitto starts");
        self.process = Some(process);
        wait::find("mosquitto listens", || TcpStream::connect(self.address));
    }

    /// SIGKILL: everything in its memory is gone.
    pub fn kill(&mut self) {
        if let Some(mut process) = self.process.take() {
            let _ = process.kill();
            let _ = process.wait();
        }
    }
}

impl Drop for Mosquitto {
    fn drop(&mut self) {
        self.kill();
    }
}
