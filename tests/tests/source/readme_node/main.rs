//! `firmware/README.md` is enough to write a node: its session is played to the real gateway, and a node in another
//! language, written from it, hands over all that it measures, whatever happens on the line.

mod bad_line;
mod cases;
mod odd_schemas;
mod python;
mod session;

use std::fs::File;
use std::io::Read;
use std::path::PathBuf;

use tidegate_link::frame::{self, FRAME_SIZE_MAX};
use tidegate_tests::gateway::Gateway;
use tidegate_tests::node::{pseudo_terminal, raw_line};

/// A gateway with a serial source at `line` in its folder.
fn gateway() -> Gateway {
    Gateway::new(
        "[sources.bench]\ntype = \"serial\"\nport = \"line\"\nreopen_max = \"100ms\"\n\n\
         [upstreams.out]\ntype = \"file\"\npath = \"out.jsonl\"\n",
    )
}

/// The gateway's end, which keeps the line from hanging up, and its name.
struct FarEnd {
    end: File,
    link: PathBuf,
}

impl Drop for FarEnd {
    fn drop(&mut self) {
        // The next pseudo-terminal of anybody may have the same number.
        let _ = std::fs::remove_file(&self.link);
    }
}

/// The node's end of a new line that the gateway finds, and the other.
fn line(gateway: &Gateway) -> (File, FarEnd) {
    let (port, path) = pseudo_terminal().expect("a pseudo-terminal");
    let (end, link) = (raw_line(&path), gateway.path("line"));
    std::os::unix::fs::symlink(&path, &link).expect("a name for the line");
    (port, FarEnd { end, link })
}

/// Kills the gateway and starts it again.
fn restart(gateway: &mut Gateway, far: &FarEnd) {
    gateway.kill();
    // A killed one could not give the line back itself.
    let _ = rustix::termios::ioctl_tiocnxcl(&far.end);
    gateway.start();
}

/// The message of a frame, with or without its delimiter; empty if it is none.
fn unframed(bytes: &[u8]) -> Vec<u8> {
    let end = bytes.len() - usize::from(bytes.ends_with(&[0]));
    let mut bytes = bytes[..end].to_vec();
    frame::decode(&mut bytes).unwrap_or_default().to_vec()
}

fn framed(message: &impl serde::Serialize) -> Vec<u8> {
    let mut buffer = [0; FRAME_SIZE_MAX];
    frame::encode(message, &mut buffer).expect("fits").to_vec()
}

/// Takes the first frame of `bytes`, its delimiter included.
fn take_frame(bytes: &mut Vec<u8>) -> Option<Vec<u8>> {
    let end = bytes.iter().position(|byte| *byte == 0)?;
    Some(bytes.drain(..=end).collect())
}

/// What can be read at once.
fn read_some(mut from: impl Read, bytes: &mut Vec<u8>) {
    let mut buffer = [0; 4096];
    if let Ok(count) = from.read(&mut buffer) {
        bytes.extend_from_slice(&buffer[..count]);
    }
}

fn text(value: &serde_json::Value) -> String {
    value.as_str().expect("a text").into()
}

/// The events of one CloudEvents type, oldest first.
fn stored(gateway: &Gateway, kind: &str) -> Vec<serde_json::Value> {
    let views = gateway.events(&["--limit", "10000", "--type", kind]);
    views
        .into_iter()
        .map(|mut view| view["event"].take())
        .collect()
}
