//! The gateway says what it writes to the disk, and writes less where acknowledgements may wait.

use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::load::{Load, Share};
use tidegate_tests::port;

const EVENTS: u64 = 400;

/// What `store status` says after some events at a steady pace.
fn report(store: &str) -> serde_json::Value {
    let mut gateway = Gateway::new(&format!(
        "[store]\n{store}\n\n[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\n",
        port::free()
    ));
    gateway.start();
    let share = Share {
        count: EVENTS,
        per_second: 400.0,
        window: 200,
    };
    let (_, left) = Load::start(gateway.address, 0..1, share).end();
    assert_eq!(left, 0, "{}", gateway.log());
    let text = gateway.ask(&["store", "status"]).stdout;
    let text = String::from_utf8_lossy(&text).into_owned();
    assert!(
        text.contains(" accepted, ") && text.contains("lifetime"),
        "{text}"
    );
    let answer = gateway.ask(&["store", "status", "--format", "json"]);
    serde_json::from_slice(&answer.stdout).expect("JSON")
}

#[test]
fn the_bytes_accepted_and_written_are_told_with_their_ratio() {
    let report = report("endurance = \"30TiB\"");
    let wear = &report["wear"];
    let [accepted, written] =
        ["accepted_bytes", "written_bytes"].map(|key| wear[key].as_f64().expect("a count"));
    assert!(accepted > 10_000.0, "{wear}");
    assert!(
        written > accepted,
        "each commit takes a page at least: {wear}"
    );
    let ratio = wear["amplification"].as_f64().expect("a ratio");
    assert!((ratio - written / accepted).abs() < 1e-6, "{wear}");
    assert_eq!(wear["endurance_bytes"], 30_u64 << 40);
}

#[test]
fn with_a_commit_delay_events_share_commits_and_less_is_written() {
    let at_once = report("");
    let delayed = report("commit_delay = \"200ms\"\ncommit_delay_max = \"500ms\"");
    let commits = |report: &serde_json::Value| report["commits"].as_u64().expect("a count");
    let written = |report: &serde_json::Value| report["wear"]["written_bytes"].as_u64();
    println!("{} and {} commits", commits(&at_once), commits(&delayed));
    assert!(commits(&delayed) * 2 < commits(&at_once));
    assert!(written(&delayed) < written(&at_once));
}
