//! When the gate reads all of the program, and when a look at its file is enough.

use std::os::unix::fs::MetadataExt;
use std::process::Command;
use std::time::{SystemTime, UNIX_EPOCH};

use tidegate_tests::{trace, wait};

use crate::site::Site;

/// A file that was changed a moment ago is read; seconds.
const OLD_ENOUGH: i64 = 4;

/// Whether the gate opens the program when it judges the next start.
fn reads_program(site: &Site) -> bool {
    let traced = site.gateway.path("opened");
    let gate = site.gate_command();
    let passed = Command::new("strace")
        .args(["-f", "-e", "trace=openat", "-o"])
        .arg(&traced)
        .arg("-P")
        .arg(site.program())
        .arg(gate.get_program())
        .args(gate.get_args())
        .status();
    assert!(passed.expect("it runs").success());
    let traced = std::fs::read_to_string(&traced).expect("a trace");
    traced.contains("openat(")
}

/// A start of a program whose file has been as it is for a while.
fn is_ready_once(site: &mut Site) {
    wait::until("the file is old enough", || {
        let changed = std::fs::metadata(site.program())
            .expect("a program")
            .ctime();
        let now = SystemTime::now().duration_since(UNIX_EPOCH);
        let now = now.expect("a clock").as_secs().cast_signed();
        changed + OLD_ENOUGH <= now
    });
    site.start();
    assert!(site.gateway.terminate().success());
}

#[test]
fn a_program_that_was_ready_is_read_only_after_a_start_that_was_not_ready_or_a_change() {
    let test = "a_program_that_was_ready_is_read_only_after_a_start_that_was_not_ready_or_a_change";
    let mut site = Site::with_events(1);
    if trace::tracer(&site.gateway.path("tried"), test).is_none() {
        return;
    }
    is_ready_once(&mut site);
    assert!(!reads_program(&site), "it was ready");
    assert!(reads_program(&site), "the start before was not ready");
    is_ready_once(&mut site);
    assert!(!reads_program(&site), "it was ready again");
    is_ready_once(&mut site);
    site.install_working();
    assert!(reads_program(&site), "it is another file");
}
