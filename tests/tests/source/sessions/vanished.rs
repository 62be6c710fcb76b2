//! Clients that lose their power say no goodbye, and in MQTT 3 may have asked for no keep-alive: the kernel finds out.

use std::process::Command;

use tidegate_tests::mqtt::raw::{Hello, LEVELS, RawClient, V311, publish};
use tidegate_tests::peer;

use crate::{start, topics};

/// `tcp_keepalive` here, in seconds.
const SILENCE_S: u64 = 1;

/// A client without keep-alive that vanishes: its socket is gone, and nothing of it was said on the line (TCP_REPAIR).
const VANISH: &str = r#"
import socket, sys
client = socket.create_connection(("127.0.0.1", int(sys.argv[1])))
client.sendall(bytes.fromhex(sys.argv[2]))
assert client.recv(4) == b"\x20\x02\0\0"
try:
    client.setsockopt(socket.IPPROTO_TCP, 19, 1)
except PermissionError:
    sys.exit(77)
client.close()
"#;

/// The timers of established connections to this port, as the kernel shows them: 2 is that of the keep-alive.
fn timers(port: u16) -> Vec<(u8, u64)> {
    let table = std::fs::read_to_string("/proc/net/tcp").expect("the kernel's table");
    let rows = table
        .lines()
        .skip(1)
        .map(|row| row.split_whitespace().collect::<Vec<_>>());
    let of_port = rows.filter(|row| row[1].ends_with(&format!(":{port:04X}")) && row[3] == "01");
    let timer = |row: Vec<&str>| {
        let (kind, due) = row[5].split_once(':').expect("timer:due");
        let hexadecimal = |text| u64::from_str_radix(text, 16).expect("a number");
        (hexadecimal(kind) as u8, hexadecimal(due))
    };
    of_port.map(timer).collect()
}

#[test]
fn a_client_that_vanished_without_a_keep_alive_gives_its_place_back() {
    let Some(python) = peer::find("python3", "clients that vanish") else {
        return;
    };
    let gateway = start(&format!(
        "max_connections = 2\ntcp_keepalive = \"{SILENCE_S}s\""
    ));
    let mut hello = Hello::new(V311, "vanished").with_will("will/vanished");
    hello.keep_alive_s = 0;
    let packet: String = hello.packet().iter().map(|b| format!("{b:02x}")).collect();
    for _ in 0..3 {
        let told = Command::new(&python)
            .args(["-c", VANISH, &gateway.address.port().to_string(), &packet])
            .status()
            .expect("python runs");
        if told.code() == Some(77) {
            eprintln!("SKIPPED: nobody but root may have a socket vanish");
            return;
        }
        assert!(told.success());
        gateway.wait_until("its place is free", || {
            gateway.metric("tidegate_source_connections", "floor") == 0
        });
    }
    assert_eq!(topics(&gateway, "will/vanished").len(), 3);
}

#[test]
fn a_client_that_is_there_may_be_silent_for_as_long_as_it_likes() {
    let gateway = start(&format!("tcp_keepalive = \"{SILENCE_S}s\""));
    let clients = LEVELS.map(|level| {
        let mut hello = Hello::new(level, &format!("silent-{level}"));
        hello.keep_alive_s = 0;
        (level, RawClient::connect(gateway.address, &hello))
    });
    let timers = timers(gateway.address.port());
    assert_eq!(timers.len(), LEVELS.len(), "{timers:?}");
    for (kind, due) in timers {
        // In hundredths of a second.
        assert!(kind == 2 && due <= SILENCE_S * 100 + 100, "{kind} {due}");
    }
    // A silence to be shown: longer than one that is gone would be let stay.
    std::thread::sleep(std::time::Duration::from_millis(3_500));
    for (level, mut client) in clients {
        client.send(&publish(level, 1, 7, "late", b"1"));
        assert_eq!(client.packet().map(|it| it.0), Some(0x40), "level {level}");
    }
}
