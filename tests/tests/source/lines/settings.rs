//! How characters come over a port, and what its lines say: what the configuration names reaches the system.

use std::ffi::OsString;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::{peer, wait};

use super::Port;

/// The calls that set up a port with these keys, and whether it was opened.
fn calls(keys: &str) -> Option<(String, Gateway)> {
    let strace = peer::find("strace", "settings of a port")?;
    let port = Port::new();
    let mut gateway = Gateway::new(&port.source("s0", &format!("format = \"text\"\n{keys}")));
    let trace = gateway.path("trace");
    let mut command = vec![strace.into_os_string()];
    let options = ["-D", "-f", "-v", "-e", "trace=ioctl", "-o"];
    command.extend(options.map(OsString::from));
    command.push(trace.clone().into_os_string());
    gateway.under(command);
    gateway.start();
    let log = || gateway.whole_log();
    gateway.wait_until("the port is tried", || {
        log().contains("serial port opened") || log().contains("serial port not open")
    });
    let text = wait::find("the calls are written down", || {
        let text = std::fs::read_to_string(&trace).unwrap_or_default();
        let is_set = text.contains("TCSETS2") || text.contains("SNDCTL_TMR_START");
        is_set.then(|| text.clone()).ok_or(text)
    });
    Some((text, gateway))
}

#[test]
fn parity_and_bits_reach_the_system() {
    for (keys, with, without) in [
        (
            "",
            &["CS8"][..],
            &["PARENB", "PARODD", "CSTOPB", "CS7", "TIOCMBI"][..],
        ),
        (
            "parity = \"even\"\ndata_bits = 7",
            &["CS7", "PARENB"],
            &["PARODD", "CSTOPB"],
        ),
        (
            "parity = \"odd\"\nstop_bits = 2",
            &["CS8", "PARENB", "PARODD", "CSTOPB"],
            &[],
        ),
        ("data_bits = 5\nbaud = 300", &["CS5"], &["PARENB"]),
        (
            "data_bits = 6\nparity = \"none\"\nstop_bits = 1",
            &["CS6"],
            &["PARENB", "CSTOPB"],
        ),
    ] {
        let Some((text, gateway)) = calls(keys) else {
            return;
        };
        let line = text.lines().find(|line| line.contains("TCSETS2"));
        let line = line.unwrap_or_else(|| panic!("{keys}: {text}"));
        for flag in with {
            assert!(line.contains(flag), "{keys}: {flag} in {line}");
        }
        for flag in without {
            assert!(!line.contains(flag), "{keys}: {flag} in {line}");
        }
        gateway.wait_until("it is open", || {
            gateway.whole_log().contains("serial port opened")
        });
    }
}

#[test]
fn dtr_and_rts_are_raised_and_lowered_and_a_port_without_them_says_so() {
    for (keys, expected, told) in [
        ("dtr = true", &["TIOCMBIS, [TIOCM_DTR]"][..], "DTR"),
        ("dtr = false", &["TIOCMBIC, [TIOCM_DTR]"], "DTR"),
        ("rts = true", &["TIOCMBIS, [TIOCM_RTS]"], "RTS"),
        (
            "rts = false\ndtr = false",
            &["TIOCMBIC, [TIOCM_RTS]"],
            "RTS",
        ),
    ] {
        let Some((text, gateway)) = calls(keys) else {
            return;
        };
        for call in expected {
            assert!(text.contains(call), "{keys}: {call} in {text}");
        }
        // A pseudo-terminal has neither.
        let key = told.to_lowercase();
        let words = [
            format!("{told} cannot be set here"),
            format!("take `{key}` out"),
        ];
        wait::find("it is told", || {
            let status = gateway.status();
            let error = status["sources"][1]["last_error"]
                .as_str()
                .unwrap_or_default();
            let all = words.iter().all(|word| error.contains(word));
            all.then_some(()).ok_or(error.to_owned())
        });
    }
}
