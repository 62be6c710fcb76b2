//! SIGHUP at any time, and how often SIGTERM must be said.

use std::io::Read;
use std::net::TcpListener;
use std::time::{Duration, Instant};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::{mqtt, port, wait};

use super::{ONE, add, answers, edit, publish};

#[test]
fn many_at_once_at_the_start_and_at_the_end_do_no_harm() {
    let mut gateway = Gateway::new(ONE);
    for start in 0..5 {
        let path = gateway.path("gateway.log");
        let _ = std::fs::remove_file(path);
        gateway.launch();
        // Before that the program has not begun.
        gateway.wait_until("it hears", || {
            let status = std::fs::read_to_string(format!("/proc/{}/status", gateway.pid()));
            let status = status.unwrap_or_default();
            let caught = status.lines().find_map(|line| line.strip_prefix("SigCgt:"));
            let caught = caught.and_then(|mask| u64::from_str_radix(mask.trim(), 16).ok());
            caught.is_some_and(|mask| mask & 1 != 0)
        });
        (0..10).for_each(|_| gateway.signal("HUP"));
        gateway.await_listening();
        gateway.wait_until("it is read again", || answers(&gateway) > 0);
        let name = format!("later{start}");
        add(
            &gateway,
            &format!("[upstreams.{name}]\ntype = \"file\"\npath = \"{name}.jsonl\"\n"),
        );
        (0..10).for_each(|_| gateway.signal("HUP"));
        gateway.wait_until("the last one counts", || {
            gateway.whole_log().contains(&format!("+{name}"))
        });
        let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("it listens");
        publish(&mut stream, &format!("start/{start}"));
        gateway.signal("TERM");
        (0..10).for_each(|_| {
            let told = std::process::Command::new("kill")
                .args(["-HUP", &gateway.pid().to_string()])
                .status();
            drop(told);
        });
        assert!(gateway.ended().success(), "{}", gateway.log());
    }
}

/// An upstream that takes requests and answers none.
fn silent() -> String {
    let listener = TcpListener::bind(port::free()).expect("an address");
    let address = listener.local_addr().expect("an address");
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            std::thread::spawn(move || {
                let mut chunk = [0; 4096];
                while stream.read(&mut chunk).is_ok_and(|count| count > 0) {}
            });
        }
    });
    format!("[upstreams.silent]\ntype = \"http\"\nurl = \"http://{address}/\"\ntimeout = \"5m\"\n")
}

#[test]
fn a_second_sigterm_ends_it_at_once_and_what_was_in_flight_is_kept() {
    for second in ["TERM", "INT"] {
        let mut gateway = Gateway::new(&silent());
        gateway.shutdown_max(Duration::from_secs(600));
        gateway.start();
        let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("it listens");
        publish(&mut stream, "kept");
        gateway.wait_until("it is in flight", || {
            gateway.metric("tidegate_upstream_in_flight", "silent") == 1
        });
        gateway.signal("TERM");
        gateway.wait_until("it stops", || {
            gateway.whole_log().contains("stopping: sources first")
        });
        // It reads the signals one by one.
        wait::find("it has closed its sources", || {
            match mqtt::connect(gateway.address, "late", true) {
                Ok(_) => Err("it listens"),
                Err(_) => Ok(()),
            }
        });
        let began = Instant::now();
        gateway.signal(second);
        let ended = gateway.ended();
        assert_eq!(ended.code(), Some(1), "{}", gateway.log());
        assert!(
            began.elapsed() < Duration::from_secs(60),
            "{:?}",
            began.elapsed()
        );
        assert!(
            gateway.whole_log().contains("told twice to end"),
            "{}",
            gateway.log()
        );
        let began = silent();
        let path = gateway.path("gateway.toml");
        let text = std::fs::read_to_string(&path).expect("a configuration");
        let at = text.find("[upstreams.silent]").expect("it is there");
        std::fs::write(&path, format!("{}{began}", &text[..at])).expect("a configuration");
        gateway.start();
        gateway.wait_until("it is sent again", || {
            gateway.metric("tidegate_upstream_in_flight", "silent") == 1
        });
        gateway.kill();
    }
}

#[test]
fn a_sigterm_while_an_upstream_takes_its_time_to_go_is_heard() {
    let mut gateway = Gateway::new(ONE);
    gateway.shutdown_max(Duration::from_secs(1));
    let silent = silent();
    add(&gateway, &silent);
    gateway.start();
    let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("it listens");
    publish(&mut stream, "kept");
    gateway.wait_until("it is in flight", || {
        gateway.metric("tidegate_upstream_in_flight", "silent") == 1
    });
    edit(&gateway, &silent, "");
    gateway.signal("HUP");
    gateway.wait_until("it begins", || {
        gateway.whole_log().contains("rules activated")
    });
    assert!(gateway.terminate().success(), "{}", gateway.log());
}
