//! `tidegate demo`, as a newcomer runs it: sensors, an outage, a kill, and books that balance.

use std::process::{Command, Output};

use tidegate_tests::gateway::binary::tidegate;

fn demo(arguments: &[&str]) -> Output {
    Command::new(tidegate())
        .arg("demo")
        .args(arguments)
        .output()
        .expect("the demo runs")
}

#[test]
fn the_demo_loses_nothing_through_an_outage_and_a_kill() {
    let output = demo(&["--for", "8s", "--format", "json"]);
    let progress = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{:?}\n{progress}", output.status);
    let books: serde_json::Value =
        serde_json::from_slice(&output.stdout).expect("the books are JSON");
    let count = |name: &str| books[name].as_u64().expect(name);
    assert_eq!((count("lost"), count("invented")), (0, 0), "{books}");
    assert!(count("accepted") > 1_000, "{books}");
    assert!(count("derived") > 0, "an alarm was due: {books}");
    let due = count("accepted") + count("derived");
    assert_eq!(count("delivered") + count("dead_letters"), due, "{books}");
    for happening in ["is cut", "kill -9", "starts again", "is mended"] {
        assert!(
            progress.contains(happening),
            "{happening} is missing:\n{progress}"
        );
    }
}

#[test]
fn a_demo_too_short_for_its_outage_is_refused() {
    let output = demo(&["--for", "1s"]);
    assert_eq!(output.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&output.stderr).contains("at least 5s"));
}
