//! The log holds what matters, however often it happens, and the journal knows how much it matters.

use std::io::Write;
use std::os::unix::fs::MetadataExt;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::node::pseudo_terminal;
use tidegate_tests::port;

const ARCHIVE: &str = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n";

#[test]
fn noise_on_a_line_writes_little_log() {
    let (mut line, path) = pseudo_terminal().expect("a pseudo-terminal");
    let mut gateway = Gateway::new(&format!(
        "[sources.gps]\ntype = \"lines\"\nport = \"{}\"\nformat = \"json\"\n\n{ARCHIVE}",
        path.display()
    ));
    gateway.start();
    let mut random = fastrand::Rng::with_seed(12);
    let mut written = 0;
    while written < 2_000_000 {
        let noise: Vec<u8> = (0..4096).map(|_| random.u8(..)).collect();
        match line.write(&noise) {
            Ok(count) => written += count,
            Err(_) => std::thread::sleep(std::time::Duration::from_millis(1)),
        }
    }
    gateway.wait_until("it is summed up", || {
        gateway.whole_log().contains("more in the last 1")
    });
    assert!(gateway.terminate().success());
    let log = gateway.whole_log();
    assert!(
        log.len() < 30_000,
        "{} bytes:\n{}",
        log.len(),
        gateway.log()
    );
    let count = |text: &str| log.matches(text).count();
    assert!(count("line refused") > 1 && count("line refused") < 100);
}

#[test]
fn lines_to_the_journal_carry_their_priority_and_others_none() {
    let own = |gateway: &Gateway| {
        gateway.command();
        let log = std::fs::metadata(gateway.path("gateway.log")).expect("a log");
        format!("{}:{}", log.dev(), log.ino())
    };
    let other = |_: &Gateway| "8:12345".to_owned();
    let empty = |_: &Gateway| String::new();
    let text = |_: &Gateway| "journal".to_owned();
    type Stream<'a> = &'a dyn Fn(&Gateway) -> String;
    let cases: [(Option<Stream>, bool); 5] = [
        (Some(&own), true),
        (Some(&other), false),
        (Some(&empty), false),
        (Some(&text), false),
        (None, false),
    ];
    for (stream, is_journal) in cases {
        let hook = format!("http://{}/in", port::free());
        let away = format!("[upstreams.hook]\ntype = \"http\"\nurl = \"{hook}\"\n");
        let mut gateway = Gateway::new(&away);
        if let Some(stream) = stream {
            let stream = stream(&gateway);
            gateway.variable("JOURNAL_STREAM", &stream);
        }
        gateway.start();
        gateway.wait_until("it is down", || {
            gateway.whole_log().contains("upstream down")
        });
        assert!(gateway.terminate().success());
        let log = gateway.whole_log();
        for line in log.lines() {
            let expected = match () {
                () if !is_journal => "20",
                () if line.contains("upstream down") => "<4> WARN",
                () if line.contains("listening") => "<6> INFO",
                () => "<",
            };
            assert!(line.starts_with(expected), "{line}");
        }
    }
}
