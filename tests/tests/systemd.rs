//! The service manager hears when the gateway is ready, that it lives, and when it stops.

use std::os::unix::net::UnixDatagram;
use std::time::{Duration, Instant};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::wait::PATIENCE;

/// Everything heard until `enough` says so.
fn hear(socket: &UnixDatagram, enough: impl Fn(&[String]) -> bool) -> Vec<String> {
    let deadline = Instant::now() + PATIENCE;
    let mut heard = Vec::new();
    let mut buffer = [0; 512];
    while !enough(&heard) {
        assert!(Instant::now() < deadline, "only heard {heard:?}");
        if let Ok(count) = socket.recv(&mut buffer) {
            let text = String::from_utf8_lossy(&buffer[..count]);
            heard.extend(text.lines().map(str::to_owned));
        }
    }
    heard
}

#[test]
fn the_service_manager_hears_ready_watchdog_and_stopping() {
    let mut gateway = Gateway::new("[upstreams.archive]\ntype = \"file\"\npath = \"out.jsonl\"\n");
    let path = gateway.path("notify");
    let socket = UnixDatagram::bind(&path).expect("a socket");
    let pause = Some(Duration::from_millis(200));
    socket.set_read_timeout(pause).expect("a timeout");
    gateway.variable("NOTIFY_SOCKET", &path.display().to_string());
    gateway.variable("WATCHDOG_USEC", "400000");
    gateway.start();

    let alive = |heard: &[String]| heard.iter().filter(|line| *line == "WATCHDOG=1").count() >= 3;
    let heard = hear(&socket, alive);
    let ready = heard.iter().position(|line| line == "READY=1");
    assert!(ready.is_some(), "{heard:?}");

    gateway.signal("HUP");
    let again = |heard: &[String]| {
        let begins = heard.iter().position(|line| line == "RELOADING=1");
        begins.is_some_and(|at| heard[at..].iter().any(|line| line == "READY=1"))
    };
    let heard = hear(&socket, again);
    assert!(
        heard.iter().any(|line| line.starts_with("MONOTONIC_USEC=")),
        "{heard:?}"
    );

    assert!(gateway.terminate().success());
    hear(&socket, |heard| {
        heard.iter().any(|line| line == "STOPPING=1")
    });
}
