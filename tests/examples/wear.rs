//! Latency against wear: what `commit_delay` costs an acknowledgement and saves the disk, at several rates.
//!
//! `cargo run --release -p tidegate-tests --example wear [-- SECONDS [EVENTS_PER_SECOND]]`
//!
//! For each cell a fresh gateway with an upstream that is down; ten senders publish 200 bytes of JSON with QoS 1 at an even
//! pace, whether acknowledged or not. Written is what the kernel counts for the gateway's process.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::time::{Duration, Instant};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt;
use tidegate_tests::port;

const RATES: [u64; 4] = [10, 100, 1_000, 5_000];
const DELAYS_MS: [u64; 4] = [0, 5, 50, 200];
const SENDERS: u64 = 10;

/// What one cell measured.
struct Cell {
    p50_ms: f64,
    p99_ms: f64,
    events_per_commit: f64,
    written_per_event: f64,
}

fn main() -> std::io::Result<()> {
    let number = |place| std::env::args().nth(place)?.parse().ok();
    let lasting = Duration::from_secs(number(1).unwrap_or(8));
    let only: Option<u64> = number(2);
    println!(
        "| events/s | commit_delay | ack p50 | ack p99 | events per commit | written per event |"
    );
    println!("|---|---|---|---|---|---|");
    for rate in RATES
        .into_iter()
        .filter(|rate| only.is_none_or(|only| only == *rate))
    {
        for delay_ms in DELAYS_MS {
            let cell = measure(rate, delay_ms, lasting)?;
            println!(
                "| {rate} | {delay_ms} ms | {:.1} ms | {:.1} ms | {:.1} | {:.0} B |",
                cell.p50_ms, cell.p99_ms, cell.events_per_commit, cell.written_per_event
            );
        }
    }
    Ok(())
}

fn measure(rate: u64, delay_ms: u64, lasting: Duration) -> std::io::Result<Cell> {
    let mut gateway = Gateway::new(&format!(
        "[store]\ncommit_delay = \"{delay_ms}ms\"\ncommit_delay_max = \"{}ms\"\n\n\
         [upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://{}\"\n",
        delay_ms.max(5),
        port::free()
    ));
    gateway.start();
    load(gateway.address, rate, Duration::from_secs(1))?;
    let before = figures(&gateway);
    let mut latencies = load(gateway.address, rate, lasting)?;
    let after = figures(&gateway);
    latencies.sort_unstable();
    let at = |percent: usize| {
        let found = latencies.get(latencies.len() * percent / 100);
        found.map_or(f64::NAN, |latency| latency.as_secs_f64() * 1e3)
    };
    let [events, commits, written] = [0, 1, 2].map(|n| after[n] - before[n]);
    Ok(Cell {
        p50_ms: at(50),
        p99_ms: at(99),
        events_per_commit: events / commits,
        written_per_event: written / events,
    })
}

/// Records, commits and bytes written so far.
fn figures(gateway: &Gateway) -> [f64; 3] {
    let answer = gateway.ask(&["store", "status", "--format", "json"]);
    let report: serde_json::Value = serde_json::from_slice(&answer.stdout).unwrap_or_default();
    let written = &report["wear"]["written_bytes"];
    [&report["records"], &report["commits"], written]
        .map(|figure| figure.as_f64().unwrap_or(f64::NAN))
}

/// Publishes for so long; gives how long each acknowledgement took.
fn load(to: SocketAddr, rate: u64, lasting: Duration) -> std::io::Result<Vec<Duration>> {
    let senders: Vec<_> = (0..SENDERS)
        .map(|number| {
            std::thread::spawn(move || {
                // They take turns rather than to send all at once.
                let every = Duration::from_secs_f64(SENDERS as f64 / rate as f64);
                std::thread::sleep(every.mul_f64(number as f64 / SENDERS as f64));
                sender(to, number, every, lasting)
            })
        })
        .collect();
    let mut all = Vec::new();
    for sender in senders {
        let latencies = sender
            .join()
            .map_err(|_| std::io::Error::other("a sender"))?;
        all.extend(latencies?);
    }
    Ok(all)
}

fn sender(
    to: SocketAddr,
    number: u64,
    every: Duration,
    lasting: Duration,
) -> std::io::Result<Vec<Duration>> {
    let mut stream = mqtt::connect(to, &format!("sender-{number}"), true)?;
    stream.set_read_timeout(None)?;
    let (sent, due) = mpsc::channel();
    let reader = {
        let stream = stream.try_clone()?;
        std::thread::spawn(move || acknowledged(stream, &due))
    };
    let began = Instant::now();
    let topic = format!("plant/{number}/reading");
    for n in 0.. {
        let at = every * n;
        if at >= lasting {
            break;
        }
        std::thread::sleep(at.saturating_sub(began.elapsed()));
        let id = n as u16 % 60_000 + 1;
        let _ = sent.send(Instant::now());
        stream.write_all(&mqtt::publish(&topic, id, &payload(number, n)))?;
    }
    drop(sent);
    let latencies = reader.join();
    latencies.map_err(|_| std::io::Error::other("a reader"))?
}

/// Takes an acknowledgement for each event sent; they come in order.
fn acknowledged(
    mut stream: TcpStream,
    due: &mpsc::Receiver<Instant>,
) -> std::io::Result<Vec<Duration>> {
    let (mut latencies, mut buffer, mut chunk) = (Vec::new(), Vec::new(), [0; 4096]);
    for sent in due {
        while mqtt::take(&mut buffer).is_none() {
            let count = stream.read(&mut chunk)?;
            if count == 0 {
                return Err(std::io::ErrorKind::UnexpectedEof.into());
            }
            buffer.extend(&chunk[..count]);
        }
        latencies.push(sent.elapsed());
    }
    Ok(latencies)
}

fn payload(number: u64, n: u32) -> Vec<u8> {
    let mut noise = (number << 32 | u64::from(n)).wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut digits = String::new();
    while digits.len() < 128 {
        noise ^= noise << 13;
        noise ^= noise >> 7;
        noise ^= noise << 17;
        digits.push_str(&format!("{noise:016x}"));
    }
    let mut text =
        format!(r#"{{"sensor":{number},"n":{n},"temperature":21.5,"trace":"{digits}"}}"#);
    text.truncate(198);
    text.push_str("  ");
    text.into_bytes()
}
