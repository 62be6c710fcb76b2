//! A gateway process of the demo: this same program, started with `run`.

use std::os::unix::process::CommandExt;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};

/// One running gateway.
pub(super) struct GatewayProcess {
    name: &'static str,
    config: PathBuf,
    log: PathBuf,
    /// Absent between a kill and a restart.
    process: Option<Child>,
}

impl GatewayProcess {
    /// Starts `tidegate run --config …` with its log in a file of its own.
    ///
    /// # Errors
    /// When the program or the log file cannot be opened.
    pub(super) fn start(name: &'static str, config: &Path) -> std::io::Result<GatewayProcess> {
        let log = config.with_file_name(format!("{name}.log"));
        Ok(GatewayProcess {
            process: Some(spawn(config, &log)?),
            config: config.into(),
            name,
            log,
        })
    }

    /// SIGKILL: nothing is flushed, nobody is told.
    ///
    /// # Errors
    /// When the process is gone already.
    pub(super) fn kill(&mut self) -> std::io::Result<()> {
        match self.process.take() {
            Some(process) => end(process),
            None => Ok(()),
        }
    }

    /// Starts it again over what it left behind.
    ///
    /// # Errors
    /// As [`GatewayProcess::start`].
    pub(super) fn restart(&mut self) -> std::io::Result<()> {
        self.process = Some(spawn(&self.config, &self.log)?);
        Ok(())
    }

    /// Whether it was started and not killed since.
    pub(super) fn is_started(&self) -> bool {
        self.process.is_some()
    }

    /// What it says if it ended although nobody asked it to.
    pub(super) fn unexpected_exit(&mut self) -> Option<String> {
        let status = self.process.as_mut()?.try_wait().ok().flatten()?;
        Some(format!(
            "the {} gateway ended with {status}; its last words:\n{}",
            self.name,
            tail(&self.log, 12)
        ))
    }
}

impl Drop for GatewayProcess {
    fn drop(&mut self) {
        let _ = self.kill();
    }
}

fn end(mut process: Child) -> std::io::Result<()> {
    process.kill()?;
    process.wait().map(|_| ())
}

fn spawn(config: &Path, log: &Path) -> std::io::Result<Child> {
    let log = std::fs::File::options()
        .create(true)
        .append(true)
        .open(log)?;
    Command::new(std::env::current_exe()?)
        .arg("run")
        .arg("--config")
        .arg(config)
        .stdin(Stdio::null())
        .stdout(log.try_clone()?)
        .stderr(log)
        // Ctrl-C is for the demo, which ends its gateways itself.
        .process_group(0)
        .spawn()
}

/// The last lines of a log file, for a message.
fn tail(path: &Path, lines: usize) -> String {
    let text = std::fs::read_to_string(path).unwrap_or_default();
    let all: Vec<&str> = text.lines().collect();
    all[all.len().saturating_sub(lines)..].join("\n")
}
