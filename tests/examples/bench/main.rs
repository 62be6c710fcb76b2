//! The benchmark: Tidegate against mosquitto as an edge broker, on the same work in one run.
//!
//! ```text
//! clients ─▶ edge: mosquitto bridge (in memory)         ─▶ acknowledger
//! clients ─▶ edge: Tidegate (three rules, synced acks)  ─▶ acknowledger
//! clients ─▶ edge: mosquitto bridge (in memory)         ─▶ mosquitto (persistent) ─▶ sink
//! clients ─▶ edge: Tidegate (three rules, synced acks)  ─▶ mosquitto (persistent) ─▶ sink
//! ```
//!
//! `cargo run --release -p tidegate-tests --example bench [-- EVENTS [ROUNDS]]`
//!
//! 200-byte JSON, QoS 1, a window of 100 publishes per client, 1, 10 and 100 clients. Rounds
//! alternate between the two sides, each cell with fresh processes; the median of each figure
//! is shown, and the ratio Tidegate ÷ mosquitto. The acknowledger is a far end that costs next to
//! nothing, so that the edge is what limits; behind a mosquitto, that is. Clients, both edges and
//! the far end share the machine, so figures of different machines do not compare; ratios of one
//! run do. Costs are those of the edge process alone.

mod acknowledger;
mod clients;
mod process;
mod sides;
mod sink;
mod ticks;

use std::time::Duration;

use acknowledger::Acknowledger;
use process::Cost;
use sides::{FarEnd, Kind, Side};
use sink::Sink;
use ticks::Ticks;

/// How a far end is started, and what it is called.
type NamedFarEnd = (fn() -> Option<FarEnd>, &'static str);

const CLIENTS: [u64; 3] = [1, 10, 100];
const FAR_ENDS: [NamedFarEnd; 2] = [
    (FarEnd::acknowledger, "a far end that only acknowledges"),
    (FarEnd::broker, "mosquitto"),
];
const EVENTS: u64 = 200_000;
const ROUNDS: usize = 3;
/// With nothing arriving for so long, what is missing does not come.
const QUIET: Duration = Duration::from_secs(10);

/// What one cell of one round measured, in the order of [`ROWS`].
type Figures = [f64; ROWS.len()];

/// Figures, and whether more is better.
const ROWS: [(&str, bool); 9] = [
    ("acked/s", true),
    ("end to end/s", true),
    ("ack p50, ms", false),
    ("ack p99, ms", false),
    ("CPU, µs/event", false),
    ("peak RSS, MiB", false),
    ("idle RSS, MiB", false),
    ("written, B/event", false),
    ("missing or twice", false),
];

fn main() -> std::io::Result<()> {
    let mut arguments = std::env::args().skip(1);
    let mut number = |default: u64| {
        arguments
            .next()
            .and_then(|a| a.parse().ok())
            .unwrap_or(default)
    };
    let (events, rounds) = (number(EVENTS), number(ROUNDS as u64) as usize);
    let runtime = tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()?;
    println!(
        "{events} events a cell, {rounds} rounds, medians; {} processors",
        processors()
    );
    for (far_end, name) in FAR_ENDS {
        println!("\nin front of {name}");
        for clients in CLIENTS {
            let mut measured: [Vec<Figures>; 2] = Default::default();
            for _ in 0..rounds {
                let kinds = [Kind::Mosquitto, Kind::Tidegate];
                for (kind, into) in kinds.into_iter().zip(&mut measured) {
                    let Some(side) = Side::start(kind, far_end) else {
                        return Ok(());
                    };
                    into.push(runtime.block_on(cell(&side, clients, events))?);
                }
            }
            print(clients, &measured);
        }
    }
    println!("\nrelease binary: {:.1} MiB", binary_mib()?);
    Ok(())
}

/// One cell: the load at the edge, and the sink behind the upstream, at the same time.
async fn cell(side: &Side, clients: u64, events: u64) -> std::io::Result<Figures> {
    let count = events / clients;
    let events = count * clients;
    let ticks = Ticks::new(clients, count);
    let arrivals = match &side.far_end {
        FarEnd::Broker(broker) => {
            let sink = Sink::subscribe(broker.address, ticks).await?;
            tokio::spawn(sink.drain(events, QUIET))
        }
        FarEnd::Acknowledger(far) => {
            far.expect(ticks);
            tokio::spawn(Acknowledger::drain(far.clone(), events, QUIET))
        }
    };
    let before = process::cost(side.pid());
    let began = std::time::Instant::now();
    let load = clients::publish(side.address(), clients, events).await?;
    let ticks = arrivals.await.map_err(std::io::Error::other)??;
    let after = process::cost(side.pid());
    let cost = |of: fn(&Cost) -> u64| (of(&after) - of(&before)) as f64 / events as f64;
    let milliseconds = |latency: Duration| latency.as_secs_f64() * 1e3;
    Ok([
        events as f64 / load.took.as_secs_f64(),
        ticks.arrived as f64 / (ticks.last - began).as_secs_f64(),
        milliseconds(load.percentile(50)),
        milliseconds(load.percentile(99)),
        cost(|cost| cost.cpu_us),
        mib(after.resident_bytes_max),
        mib(before.resident_bytes),
        cost(|cost| cost.written_bytes),
        (events - ticks.arrived + ticks.duplicates) as f64,
    ])
}

fn print(clients: u64, measured: &[Vec<Figures>; 2]) {
    println!("\n{clients} clients          mosquitto    Tidegate   ratio");
    for (row, (name, more_is_better)) in ROWS.iter().enumerate() {
        let [theirs, ours] = measured.each_ref().map(|rounds| median(rounds, row));
        let ratio = match theirs > 0.0 {
            true => format!(
                "{:.2}{}",
                ours / theirs,
                if *more_is_better {
                    ""
                } else {
                    "  (less is better)"
                }
            ),
            false => "–".to_owned(),
        };
        println!("{name:<18}{theirs:>12.1}{ours:>12.1}   {ratio}");
    }
}

fn median(rounds: &[Figures], row: usize) -> f64 {
    let mut figures: Vec<f64> = rounds.iter().map(|round| round[row]).collect();
    figures.sort_by(f64::total_cmp);
    figures[figures.len() / 2]
}

fn mib(bytes: u64) -> f64 {
    bytes as f64 / f64::from(1 << 20)
}

fn binary_mib() -> std::io::Result<f64> {
    Ok(mib(std::fs::metadata(
        tidegate_tests::gateway::binary::tidegate(),
    )?
    .len()))
}

fn processors() -> usize {
    std::thread::available_parallelism().map_or(1, usize::from)
}
