//! A node's end of a pseudo-terminal, on which everything may take long, come in bits, or come amid noise.

use std::collections::VecDeque;
use std::fs::File;
use std::io::{Read, Write};
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant};

use tidegate_tests::node::{pseudo_terminal, raw_line};

/// What a line does to what goes over it.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Kind {
    /// How long everything takes, each way, in ms.
    pub(super) takes_ms: u64,
    /// Whether bytes go out one by one, one a turn.
    pub(super) trickles: bool,
    /// Bytes of noise before each frame, one frame in four.
    pub(super) noise_bytes: usize,
    /// Whether every frame of the node goes out twice.
    pub(super) doubles: bool,
}

/// Bytes, and when they arrive.
type Delayed = VecDeque<(Instant, Vec<u8>)>;

pub(super) struct Line {
    kind: Kind,
    link: PathBuf,
    port: File,
    /// The gateway's end: the line does not hang up while it is held.
    far: File,
    out: Delayed,
    came: Delayed,
    /// What is due and not yet taken.
    ready: VecDeque<u8>,
    random: fastrand::Rng,
}

impl Line {
    /// The gateway finds it at `link`.
    pub(super) fn new(link: &Path, kind: Kind) -> Line {
        let (port, path) = pseudo_terminal().expect("a pseudo-terminal");
        let far = raw_line(&path);
        name(&path, link);
        Line {
            kind,
            link: link.into(),
            port,
            far,
            out: Delayed::new(),
            came: Delayed::new(),
            ready: VecDeque::new(),
            random: fastrand::Rng::with_seed(5),
        }
    }

    /// Hangs up, and is there again under its name.
    pub(super) fn plug_anew(&mut self) {
        let (port, path) = pseudo_terminal().expect("a pseudo-terminal");
        (self.far, self.port) = (raw_line(&path), port);
        name(&path, &self.link);
    }

    /// Lets a new gateway open it: a killed one could not give it back itself.
    pub(super) fn free(&self) {
        let _ = rustix::termios::ioctl_tiocnxcl(&self.far);
    }

    /// Sends a frame, or what there is of it.
    pub(super) fn send(&mut self, frame: &[u8]) {
        let mut bytes = Vec::new();
        if self.kind.noise_bytes > 0 && self.random.u8(..4) == 0 {
            bytes.extend((0..self.kind.noise_bytes).map(|_| self.random.u8(..)));
            bytes.push(0);
        }
        bytes.extend_from_slice(frame);
        if self.kind.doubles {
            bytes.extend_from_slice(frame);
        }
        let due = Instant::now() + Duration::from_millis(self.kind.takes_ms);
        self.out.push_back((due, bytes));
    }

    /// A turn: what arrived for the node.
    pub(super) fn turn(&mut self) -> Vec<u8> {
        let now = Instant::now();
        while let Some((_, bytes)) = self.out.pop_front_if(|(due, _)| *due <= now) {
            self.ready.extend(bytes);
        }
        let most = if self.kind.trickles { 1 } else { usize::MAX };
        let bytes: Vec<u8> = self.ready.iter().copied().take(most).collect();
        // What a full line does not take waits.
        let count = self.port.write(&bytes).unwrap_or(0);
        self.ready.drain(..count);
        let mut buffer = [0; 4096];
        if let Ok(count) = self.port.read(&mut buffer) {
            let due = now + Duration::from_millis(self.kind.takes_ms);
            self.came.push_back((due, buffer[..count].to_vec()));
        }
        let mut came = Vec::new();
        while let Some((_, bytes)) = self.came.pop_front_if(|(due, _)| *due <= now) {
            came.extend(bytes);
        }
        came
    }
}

fn name(path: &Path, link: &Path) {
    let _ = std::fs::remove_file(link);
    std::os::unix::fs::symlink(path, link).expect("a name for the line");
}

impl Drop for Line {
    fn drop(&mut self) {
        // The next pseudo-terminal of anybody may have the same number.
        let _ = std::fs::remove_file(&self.link);
    }
}
