//! What was answered with 200 over HTTP survives SIGKILL.

use std::collections::BTreeSet;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::port;
use tidegate_tests::wait::PATIENCE;

const SENDERS: u32 = 4;

/// Posts one event on an open connection; whether it was answered with 200.
fn post(stream: &mut TcpStream, id: &str) -> std::io::Result<bool> {
    let body =
        format!(r#"{{"specversion":"1.0","id":"{id}","source":"oracle","type":"t","data":1}}"#);
    let length = body.len();
    write!(
        stream,
        "POST /events HTTP/1.1\r\nHost: localhost\r\nContent-Length: {length}\r\n\
         Content-Type: application/cloudevents+json\r\n\r\n{body}"
    )?;
    let mut answer = Vec::new();
    let mut chunk = [0; 1024];
    while !answer.ends_with(b"}\n") {
        match stream.read(&mut chunk)? {
            0 => return Ok(false),
            count => answer.extend_from_slice(&chunk[..count]),
        }
    }
    Ok(answer.starts_with(b"HTTP/1.1 200"))
}

/// Posts until the gateway is gone, telling what was answered with 200.
fn send(address: SocketAddr, sender: u32, acknowledged: &mpsc::Sender<String>) {
    let mut stream = port::connect(address);
    for number in 0.. {
        let id = format!("{sender}-{number}");
        match post(&mut stream, &id) {
            Ok(true) => acknowledged.send(id).expect("the test listens"),
            Ok(false) | Err(_) => return,
        }
    }
}

#[test]
fn an_event_that_was_answered_with_200_is_listed_after_a_kill() {
    let address = port::free();
    let source = format!("[sources.hooks]\ntype = \"http\"\nlisten = \"{address}\"\n");
    let mut gateway = Gateway::new(&source);
    gateway.start();
    let (told, acknowledged) = mpsc::channel();
    let senders: Vec<_> = (0..SENDERS)
        .map(|sender| {
            let told = told.clone();
            std::thread::spawn(move || send(address, sender, &told))
        })
        .collect();
    drop(told);
    let mut ids = BTreeSet::new();
    while ids.len() < 300 {
        match acknowledged.recv_timeout(PATIENCE) {
            Ok(id) => ids.insert(id),
            Err(_) => break,
        };
    }
    gateway.kill();
    for sender in senders {
        sender.join().expect("a sender");
    }
    ids.extend(acknowledged.iter());
    assert!(ids.len() >= 300, "{} acknowledged", ids.len());
    gateway.start();
    let arguments = ["events", "list", "--format", "json", "--limit", "10000"];
    let list = gateway.ask(&arguments);
    let list = String::from_utf8_lossy(&list.stdout);
    for id in &ids {
        assert!(list.contains(&format!("\"{id}\"")), "{id} is lost");
    }
    println!("{} acknowledged, all of them there", ids.len());
}
