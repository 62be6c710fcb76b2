//! Towards brokers and webhooks: the next connection, or the next request, is made with what is new.

use std::io::{Read, Write};
use std::net::TcpListener;
use std::sync::{Arc, Mutex};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::{mqtt, port, wait};

use super::{trouble, write};

/// A webhook that wants this token; gives its url.
fn webhook(wanted: &Arc<Mutex<String>>) -> String {
    let listener = TcpListener::bind(port::free()).expect("an address");
    let address = listener.local_addr().expect("an address");
    let wanted = Arc::clone(wanted);
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let wanted = Arc::clone(&wanted);
            std::thread::spawn(move || {
                let (mut held, mut chunk) = (String::new(), [0; 4096]);
                while let Ok(count) = stream.read(&mut chunk)
                    && count > 0
                {
                    held += &String::from_utf8_lossy(&chunk[..count]);
                    while let Some(end) = held.find("\r\n\r\n{}") {
                        let head: String = held.drain(..end + 6).collect();
                        let token = wanted.lock().expect("no panic").clone();
                        let is_right = head.contains(&format!("Bearer {token}\r\n"));
                        let says = if is_right { "200 OK" } else { "503 Later" };
                        let answer = format!("HTTP/1.1 {says}\r\nContent-Length: 0\r\n\r\n");
                        let _ = stream.write_all(answer.as_bytes());
                    }
                }
            });
        }
    });
    format!("http://{address}/events")
}

fn delivered(gateway: &Gateway, upstream: &str) -> u64 {
    gateway.metric(
        "tidegate_upstream_delivered_total",
        &format!("\"{upstream}\""),
    )
}

#[test]
fn a_webhook_gets_the_new_token_with_the_next_request() {
    let wanted = Arc::new(Mutex::new("first-0123456789".to_owned()));
    let url = webhook(&wanted);
    let more = format!(
        "[upstreams.hook]\ntype = \"http\"\nurl = \"{url}\"\nbearer_file = \"hook.token\"\n"
    );
    let mut gateway = Gateway::new(&more);
    write(&gateway.path("hook.token"), "first-0123456789");
    gateway.start();
    let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("it listens");
    mqtt::publish_acknowledged(&mut stream, "a", 1, b"{}");
    gateway.wait_until("the first arrives", || delivered(&gateway, "hook") == 1);
    *wanted.lock().expect("no panic") = "second-0123456789".to_owned();
    write(&gateway.path("hook.token"), "");
    trouble(&gateway, "upstream hook", Some("is empty"));
    write(&gateway.path("hook.token"), "second-0123456789");
    mqtt::publish_acknowledged(&mut stream, "a", 2, b"{}");
    gateway.wait_until("the second arrives", || delivered(&gateway, "hook") == 2);
    trouble(&gateway, "upstream hook", None);
    let status = gateway.status();
    assert_eq!(status["upstreams"][0]["dead_lettered"], 0, "{status}");
}

#[test]
fn a_broker_gets_the_new_password_with_the_next_connection() {
    const TEST: &str = "a_broker_gets_the_new_password_with_the_next_connection";
    let dir = tempfile::tempdir().expect("a folder");
    let passwords = dir.path().join("passwords");
    let set = |password: &str| {
        let made = std::process::Command::new("mosquitto_passwd")
            .args(["-c", "-b"])
            .arg(&passwords)
            .args(["gate", password])
            .status();
        made.is_ok_and(|made| made.success())
    };
    let lines = format!("password_file {}", passwords.display());
    let Some(mut broker) = Mosquitto::with(TEST, &lines) else {
        return;
    };
    if !set("first") {
        return;
    }
    broker.start();
    let address = broker.address;
    let login = "user = \"gate\"\npassword_file = \"gate.password\"\n";
    let more = format!(
        "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{address}\"\ntopic = \"out/{{topic}}\"\n{login}\n\
         [sources.plant]\ntype = \"mqtt\"\nurl = \"mqtt://{address}\"\ntopics = [\"in/#\"]\n{login}"
    );
    let mut gateway = Gateway::new(&more);
    write(&gateway.path("gate.password"), "wrong");
    gateway.start();
    trouble_of_login(&gateway);
    write(&gateway.path("gate.password"), "first");
    let up = |gateway: &Gateway| {
        gateway.metric("tidegate_upstream_up", "cloud")
            + gateway.metric("tidegate_source_up", "plant")
    };
    wait::find("both connect with what is new", || {
        if up(&gateway) == 2 {
            Ok(())
        } else {
            Err(gateway.log())
        }
    });
    let disconnects = || gateway.metric("tidegate_upstream_disconnects", "cloud");
    let before = disconnects();
    // The connection stands though the password is another one.
    write(&gateway.path("gate.password"), "second");
    gateway.wait_until("it is read", || {
        gateway.whole_log().matches("are read again").count() >= 4
    });
    let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("it listens");
    mqtt::publish_acknowledged(&mut stream, "a", 1, b"{}");
    gateway.wait_until("it arrives", || delivered(&gateway, "cloud") == 1);
    assert_eq!(disconnects(), before);
    assert_eq!(up(&gateway), 2);
}

/// Waits until both have been told that their login is wrong.
fn trouble_of_login(gateway: &Gateway) {
    for subject in ["upstream cloud", "source plant"] {
        wait::find("the login is refused", || {
            let all = gateway.control("/readyz");
            let is_there = all.contains(&format!("{subject} is "));
            is_there
                .then_some(())
                .ok_or_else(|| format!("{all}\n{}", gateway.log()))
        });
    }
}
