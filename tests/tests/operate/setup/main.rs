//! Issue 13, numbers 3 and 4: whoever sets up a gateway is asked five questions, is told what will bite, and learns what the
//! machine can do; nothing that was there is changed, and nothing is left behind.

mod bench;
mod disk;
mod doctor;
mod init;
mod limits;
mod terminal;

use std::ffi::OsStr;
use std::path::Path;
use std::process::{Command, Output, Stdio};

use tidegate_tests::gateway::binary;

/// Runs a subcommand without a terminal.
fn run<A: AsRef<OsStr>>(arguments: &[A]) -> Output {
    let mut command = Command::new(binary::tidegate());
    let command = command.args(arguments).stdin(Stdio::null());
    command.output().expect("tidegate runs")
}

/// Its exit code, and all that it said.
fn said(output: &Output) -> (Option<i32>, String) {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text += &String::from_utf8_lossy(&output.stderr);
    (output.status.code(), text)
}

/// Everything below a folder: names, sizes and modes.
fn listing(folder: &Path) -> Vec<String> {
    use std::os::unix::fs::MetadataExt;
    let mut all = Vec::new();
    for entry in std::fs::read_dir(folder).expect("a folder") {
        let path = entry.expect("an entry").path();
        let found = path.symlink_metadata().expect("it is there");
        let (size, mode, changed) = (found.len(), found.mode(), found.ctime_nsec());
        all.push(format!("{} {size} {mode:o} {changed}", path.display()));
        if found.is_dir() {
            all.extend(listing(&path));
        }
    }
    all.sort();
    all
}

fn text(path: &Path) -> &str {
    path.to_str().expect("it is UTF-8")
}
