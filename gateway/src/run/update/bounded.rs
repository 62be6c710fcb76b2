//! Another program that is asked something: as nobody special, for a while, and heard only so far.

use std::io::{self, Read};
use std::os::unix::process::{CommandExt, ExitStatusExt};
use std::path::Path;
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use rustix::process::{Pid, Resource, Rlimit, Signal, kill_process_group, prlimit};

use crate::time::clock;

/// How long it may take to say what it is.
pub const TO_ANSWER: Duration = Duration::from_secs(10);
/// How long it may take to look at a configuration and its rules.
pub const TO_CHECK: Duration = Duration::from_secs(150);
/// Bytes of each output that are heard.
const OUTPUT_BYTES_MAX: usize = 1 << 20;
/// Memory, bytes written to a file, and seconds of the processor that it may have.
const MEMORY_BYTES_MAX: u64 = 2 << 30;
const FILE_BYTES_MAX: u64 = 1 << 20;
const CPU_SECONDS_MAX: u64 = 150;

/// As whom it runs: user and group.
pub type Identity = (u32, u32);

/// What it said.
#[derive(Debug)]
pub struct Said {
    /// How it ended.
    pub status: ExitStatus,
    /// On its standard output.
    pub output: Vec<u8>,
    /// On its standard error.
    pub errors: String,
}

/// Why it said nothing that counts.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Unheard {
    /// It could not be started.
    NotStarted(String),
    /// It went on for longer than this and was killed.
    Hung(Duration),
    /// It said more than anybody reads and was killed.
    Flooded,
}

impl std::fmt::Display for Unheard {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Unheard::NotStarted(why) => write!(f, "it cannot be started: {why}"),
            Unheard::Hung(within) => write!(
                f,
                "it gave no answer within {} s and was killed",
                within.as_secs()
            ),
            Unheard::Flooded => write!(
                f,
                "it wrote more than {} KiB and was killed",
                OUTPUT_BYTES_MAX >> 10
            ),
        }
    }
}

/// Runs `program` with `arguments` to its end.
///
/// # Errors
/// When it could not be started, hung or flooded.
pub fn ask(
    program: &Path,
    arguments: &[&std::ffi::OsStr],
    identity: Option<Identity>,
    within: Duration,
) -> Result<Said, Unheard> {
    let mut command = Command::new(program);
    command
        .arg0("tidegate")
        .args(arguments)
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .process_group(0);
    if let Some((user, group)) = identity {
        command.uid(user).gid(group);
    }
    let spawned = std::thread::scope(|scope| {
        // What the thread gave up, its child does not have: no setuid program gives it more.
        let thread = scope.spawn(|| {
            rustix::thread::set_no_new_privs(true).map_err(io::Error::from)?;
            command.spawn()
        });
        thread
            .join()
            .unwrap_or_else(|_| Err(io::Error::other("no thread")))
    });
    let child = spawned.map_err(|error| Unheard::NotStarted(error.to_string()))?;
    hear(child, within)
}

fn hear(mut child: Child, within: Duration) -> Result<Said, Unheard> {
    let pid = Pid::from_child(&child);
    for (what, most) in [
        (Resource::As, MEMORY_BYTES_MAX),
        (Resource::Fsize, FILE_BYTES_MAX),
        (Resource::Cpu, CPU_SECONDS_MAX),
        (Resource::Core, 0),
    ] {
        let limit = Rlimit {
            current: Some(most),
            maximum: Some(most),
        };
        let _ = prlimit(Some(pid), what, limit);
    }
    let (sender, pieces) = sync_channel(16);
    if let Some(output) = child.stdout.take() {
        listen(output, Stream::Output, sender.clone());
    }
    if let Some(errors) = child.stderr.take() {
        listen(errors, Stream::Errors, sender.clone());
    }
    drop(sender);
    let heard = gather(&pieces, within);
    let ended = match &heard {
        Ok(_) => wait(&mut child, within),
        Err(_) => None,
    };
    if ended.is_none() {
        let _ = kill_process_group(pid, Signal::KILL);
        let _ = child.kill();
        let _ = child.wait();
    }
    let (output, errors) = heard?;
    let status = ended.ok_or(Unheard::Hung(within))?;
    Ok(Said {
        status,
        output,
        errors: String::from_utf8_lossy(&errors).into_owned(),
    })
}

enum Stream {
    Output,
    Errors,
}

/// Hands on what comes, a piece at a time; the thread ends with the stream, or with whoever listens.
fn listen(mut from: impl Read + Send + 'static, which: Stream, to: SyncSender<(bool, Vec<u8>)>) {
    let is_output = matches!(which, Stream::Output);
    std::thread::spawn(move || {
        let mut piece = vec![0; 16 << 10];
        while let Ok(count @ 1..) = from.read(&mut piece) {
            if to.send((is_output, piece[..count].to_vec())).is_err() {
                return;
            }
        }
    });
}

/// Both outputs to their end.
fn gather(
    pieces: &Receiver<(bool, Vec<u8>)>,
    within: Duration,
) -> Result<(Vec<u8>, Vec<u8>), Unheard> {
    let (mut output, mut errors) = (Vec::new(), Vec::new());
    let began = clock::monotonic();
    loop {
        let passed = clock::monotonic().saturating_duration_since(began);
        match pieces.recv_timeout(within.saturating_sub(passed)) {
            Ok((is_output, piece)) => {
                let to = if is_output { &mut output } else { &mut errors };
                to.extend(piece);
                if to.len() > OUTPUT_BYTES_MAX {
                    return Err(Unheard::Flooded);
                }
            }
            Err(RecvTimeoutError::Disconnected) => return Ok((output, errors)),
            Err(RecvTimeoutError::Timeout) => return Err(Unheard::Hung(within)),
        }
        if passed > within {
            return Err(Unheard::Hung(within));
        }
    }
}

/// It closed its outputs: it has ended, or does so now.
fn wait(child: &mut Child, within: Duration) -> Option<ExitStatus> {
    let began = clock::monotonic();
    while clock::monotonic().saturating_duration_since(began) < within {
        if let Ok(Some(status)) = child.try_wait() {
            return Some(status);
        }
        std::thread::sleep(Duration::from_millis(5));
    }
    None
}

/// How a program ended, in words.
pub fn ending(status: ExitStatus) -> String {
    match (status.code(), status.signal()) {
        (Some(code), _) => format!("it ended with exit code {code}"),
        (None, Some(signal)) => format!("it was ended by signal {signal}"),
        (None, None) => "it ended in an unknown way".to_owned(),
    }
}
