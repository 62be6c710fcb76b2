//! Refused lines are counted, and the last ones shown, to people and to programs.

use serde_json::json;
use tidegate_tests::peer;
use tidegate_tests::wait;

use super::{LAST, Port, Ports};

/// A line, why it is refused, and how it is shown.
const LINES: &[(&[u8], &str, &str)] = &[
    (b"1", "it has 1 column, the configuration names 2", "1"),
    (
        b"1,2,3",
        "it has 3 columns, the configuration names 2",
        "1,2,3",
    ),
    (
        b"ets Jun  8 2016 00:22:57",
        "it has 1 column, the configuration names 2",
        "ets Jun  8 2016 00:22:57",
    ),
    (b"nan,ok", "column `celsius` is no number", "nan,ok"),
    (b"21.5\0,ok", "it holds a NUL at character 5", "21.5\\0,ok"),
    (
        b"21.5,\xb0C",
        "it is not UTF-8 at character 6",
        "21.5,\\xb0C",
    ),
    (
        b"\x1b[2Jx,y",
        "it holds an ESC at character 1",
        "\\u{1b}[2Jx,y",
    ),
    (
        b"21.5,\"ok",
        "a quote is missing at the end of column 2",
        "21.5,\"ok",
    ),
];

#[test]
fn refused_lines_are_counted_and_the_last_ones_shown() {
    let csv = "format = \"csv\"\ncolumns = [\"celsius float\", \"state\"]".to_owned();
    let mut ports = Ports::start(&[csv.clone(), csv]);
    ports.write(0, &[b"half of a line\n21.5,ok\n"]);
    for (line, _, _) in LINES {
        ports.write(0, &[line, b"\n"]);
    }
    for place in [0, 1] {
        ports.write(place, &[b"\n", format!(",{LAST}\n").as_bytes()]);
    }
    assert_eq!(ports.payloads(0), [r#"{"celsius":21.5,"state":"ok"}"#]);
    let refused = ports.refused(0);
    assert_eq!(refused["count"], LINES.len());
    let last = refused["last"].as_array().expect("a list");
    assert_eq!(last.len(), 5);
    for (shown, (line, why, begin)) in last.iter().zip(&LINES[LINES.len() - 5..]) {
        assert_eq!(shown["why"], *why);
        assert_eq!(shown["begin"], *begin);
        assert_eq!(shown["bytes"], line.len());
        assert!(
            shown["at_ms"]
                .as_u64()
                .is_some_and(|ms| ms > 1_700_000_000_000)
        );
    }
    ports.payloads(1);
    assert_eq!(ports.refused(1), json!(null), "nothing was");
    // The counts agree, and are in the metrics.
    let status = ports.gateway.status();
    assert_eq!(status["sources"][1]["refused"], LINES.len());
    let metric = ports
        .gateway
        .metric("tidegate_source_malformed_total", "reason=\"line\"");
    assert_eq!(metric, LINES.len() as u64);
    let shown = ports.gateway.ask(&["status"]);
    let shown = String::from_utf8_lossy(&shown.stdout);
    println!("{shown}");
    let heading = format!("s0 refused {} lines, the last of them:", LINES.len());
    let (_, shown) = shown.split_once(&heading).expect("it is shown");
    for (_, why, begin) in &LINES[LINES.len() - 5..] {
        assert!(shown.contains(why), "{why} in {shown}");
        assert!(
            shown.contains(&format!("\"{begin}\"")),
            "{begin} in {shown}"
        );
    }
    let log = ports.gateway.whole_log();
    assert!(log.contains("line refused"), "{log}");
    // Nothing of a payload is logged.
    for text in ["nan,ok", "Jun  8", "1,2,3", "21.5", "\u{1b}", "\0", "[2J"] {
        assert!(!log.contains(text), "{text} in {log}");
    }
}

#[test]
fn who_may_not_open_a_port_reads_which_group_to_join() {
    let test = "a port without permission";
    let Some(setpriv) = peer::find("setpriv", test) else {
        return;
    };
    let nobody = 65_534;
    let port = Port::new();
    let mut gateway =
        tidegate_tests::gateway::Gateway::new(&port.source("s0", "format = \"text\""));
    let given = [
        gateway.path(""),
        gateway.path("data"),
        gateway.path("gateway.toml"),
    ]
    .iter()
    .all(|path| std::os::unix::fs::chown(path, Some(nobody), Some(nobody)).is_ok());
    // 20 is dialout wherever it has that name.
    let dialout = std::os::unix::fs::chown(&port.path, None, Some(20));
    if !given || dialout.is_err() {
        return peer::skip(test, "it takes root to run a gateway as nobody");
    }
    let options = ["--reuid=65534", "--regid=65534", "--clear-groups"];
    let mut command = vec![setpriv.into_os_string()];
    command.extend(options.map(Into::into));
    gateway.under(command);
    gateway.start();
    let expected = format!(
        "{}: no permission; add the user to group dialout",
        port.path.display()
    );
    wait::find("it is told", || {
        let status = gateway.status();
        let told = status["sources"][1]["last_error"] == expected;
        told.then_some(()).ok_or(status)
    });
}

/// What a source reads, a long line, why it is refused, and what is shown of it.
const LONG: &[(&str, &[u8], &str, &str)] = &[
    (
        "format = \"json\"",
        b"temperature is 21.5 degrees, humidity is high",
        "it is not JSON: expected ident at character 2",
        "temperature is 21.5 degrees, humidity is…",
    ),
    (
        "format = \"json\"",
        b"{\"celsius\": 21.5, \"humidity\": 40, \"state\": ok}",
        "it is not JSON: expected value at character 44",
        "{\"celsius\": 21.5, \"humidity\": 40, \"state…",
    ),
    (
        "format = \"text\"",
        b"all is well as long as nothing comes here: \0",
        "it holds a NUL at character 44",
        "all is well as long as nothing comes her…",
    ),
    (
        "format = \"csv\"\ncolumns = [\"a\"]",
        b"\x1b[31mboot\x1b[0m ets Jun  8 2016 00:22:57 rst:0x1",
        "it holds an ESC at character 1",
        "\\u{1b}[31mboot\\u{1b}[0m ets Jun  8 2016 00:22:57 r…",
    ),
    (
        "format = \"text\"\nmax_line = \"60B\"",
        "Grüße aus dem Maschinenraum, drei Öfen °C und viel mehr als erlaubt".as_bytes(),
        "it has no end (CR or LF) within max_line = 60 bytes",
        "Grüße aus dem Maschinenraum, drei Öfe…",
    ),
];

#[test]
fn of_a_long_line_that_cannot_be_read_the_first_40_bytes_are_shown() {
    let keys: Vec<String> = LONG.iter().map(|(keys, ..)| (*keys).to_owned()).collect();
    let mut ports = Ports::start(&keys);
    for (place, (_, line, why, begin)) in LONG.iter().enumerate() {
        ports.write(place, &[b"rest\n", line, b"\n"]);
        wait::find("the line is refused", || {
            let refused = ports.refused(place);
            let last = refused["last"][0].clone();
            match last["begin"] == **begin && last["why"] == **why {
                true => Ok(()),
                false => Err(format!("{begin}, {why}: {refused:#}")),
            }
        });
    }
    let shown = ports.gateway.ask(&["status"]).stdout;
    let shown = String::from_utf8_lossy(&shown);
    for (.., begin) in LONG {
        assert!(shown.contains(begin), "{begin}: {shown}");
    }
}
