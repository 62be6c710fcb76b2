//! The gateway that is measured: this program, run as a process of its own, which ends with the bench however that ends.

use std::net::{SocketAddr, TcpListener};
use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::time::Duration;

use tokio::net::TcpStream;

use super::scratch::Scratch;
use crate::cli::Failure;
use crate::config::unit;
use crate::observe::wear;
use crate::time::clock;

/// How long its start may take.
const START_WITHIN: Duration = Duration::from_secs(40);
const LOOK_AGAIN: Duration = Duration::from_millis(20);
/// `commit_delay_max` where `commit_delay` is not more.
const DELAY_MAX: Duration = Duration::from_millis(5);
/// Lines of its log in a message.
const LOG_LINES: usize = 8;

/// See the module; it is killed when it goes.
pub(super) struct GatewayProcess {
    address: SocketAddr,
    log: PathBuf,
    child: Child,
}

impl GatewayProcess {
    /// Starts one with a new store, and waits until it listens.
    ///
    /// # Errors
    /// Why it does not, with the end of its log.
    pub(super) async fn start(
        scratch: &Scratch,
        delay: Duration,
    ) -> Result<GatewayProcess, Failure> {
        let name = format!("gateway-{}", unit::duration_text(delay));
        let folder = scratch.path().join(name);
        std::fs::create_dir(&folder)?;
        let address = TcpListener::bind("127.0.0.1:0")?.local_addr()?;
        let config = folder.join("gateway.toml");
        std::fs::write(&config, text(address, delay, scratch.store_bytes()))?;
        let log = folder.join("log");
        let child = spawn(&config, &log)?;
        let mut gateway = GatewayProcess {
            address,
            log,
            child,
        };
        let began = clock::monotonic();
        loop {
            if TcpStream::connect(address).await.is_ok() {
                return Ok(gateway);
            }
            let has_ended = !matches!(gateway.child.try_wait(), Ok(None));
            if has_ended || clock::monotonic().duration_since(began) > START_WITHIN {
                let what = match has_ended {
                    true => "it ended",
                    false => "it took too long to start",
                };
                return Err(gateway.failure(&std::io::Error::other(what)));
            }
            tokio::time::sleep(LOOK_AGAIN).await;
        }
    }

    /// Where it listens.
    pub(super) fn address(&self) -> SocketAddr {
        self.address
    }

    /// Bytes that it had written to devices so far.
    pub(super) fn written_bytes(&self) -> u64 {
        wear::written_by(self.child.id()).unwrap_or(0)
    }

    /// What to say where it does not do its work.
    pub(super) fn failure(&self, error: &std::io::Error) -> Failure {
        let log = std::fs::read_to_string(&self.log).unwrap_or_default();
        let lines: Vec<&str> = log.lines().collect();
        let last = lines[lines.len().saturating_sub(LOG_LINES)..].join("\n");
        Failure::new(format!(
            "the gateway that is measured failed: {error}\n{last}"
        ))
    }

    /// Ends it.
    pub(super) fn end(self) {}
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

fn text(listen: SocketAddr, delay: Duration, store_bytes: u64) -> String {
    let delay_max = unit::duration_text(delay.max(DELAY_MAX));
    format!(
        r#"[gateway]
id       = "bench"
data_dir = "data"

[store]
max_size         = "{}"
free_min         = "0B"
keep_for         = "0s"
when_full        = "shed"
commit_delay     = "{}"
commit_delay_max = "{delay_max}"

[sources.floor]
type   = "mqtt-listener"
listen = "{listen}"
"#,
        unit::size_text(store_bytes >> 20 << 20),
        unit::duration_text(delay),
    )
}

fn spawn(config: &Path, log: &Path) -> std::io::Result<Child> {
    let log = std::fs::File::create(log)?;
    Command::new(std::env::current_exe()?)
        .args(["run", "--log", "warn", "--end-with-input", "--config"])
        .arg(config)
        .env_remove("NOTIFY_SOCKET")
        // It ends when the other end of this is closed, which nobody survives.
        .stdin(Stdio::piped())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is for the bench, which ends it itself.
        .process_group(0)
        .spawn()
}
