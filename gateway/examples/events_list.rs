//! How long it takes to find events among millions, as `tidegate events list` does: by topic, with wildcards, by time,
//! and what is not there at all.
//!
//! `cargo run --release -p tidegate --example events_list -- [directory] [events]`, by default the system's
//! temporary directory and 5,000,000.

use std::path::{Path, PathBuf};
use std::time::Instant;
use tidegate::control::history::search::{EventFilter, list};
use tidegate::event::record::{self, tags};
use tidegate_rules::event::Event;
use tidegate_rules::topic::TopicFilter;
use tidegate_store::{Append, Commit, Options, Route, Store, open};

type Outcome<T> = Result<T, Box<dyn std::error::Error>>;

const START_MS: i64 = 1_764_000_000_000;
/// Between two events: five million take five days.
const STEP_MS: i64 = 86;
const LINES: u64 = 50;
const SENSORS: u64 = 40;

fn main() -> Outcome<()> {
    tidegate_store::limit_heaps();
    let mut arguments = std::env::args().skip(1);
    let parent = arguments
        .next()
        .map_or_else(std::env::temp_dir, PathBuf::from);
    let events: u64 = arguments.next().map_or(Ok(5_000_000), |n| n.parse())?;
    let dir = parent.join(format!("tidegate-events-{}", std::process::id()));
    let done = fill(&dir, events).and_then(|()| look(&dir, events));
    std::fs::remove_dir_all(&dir)?;
    done
}

fn options(dir: &Path) -> Options {
    Options {
        max_size_bytes: 16 << 30,
        ..Options::new(dir)
    }
}

/// Sensors speak in turn; the last line began to work a short time before the end, and one sensor spoke once.
fn topic(number: u64, events: u64) -> String {
    let late = number > events - events / 200;
    let lines = if late { LINES } else { LINES - 1 };
    match number == events / 3 {
        true => "plant/line1/rare/alarm".to_owned(),
        false => format!(
            "plant/line{}/sensor{}/celsius",
            number % lines,
            number / lines % SENSORS
        ),
    }
}

fn fill(dir: &Path, events: u64) -> Outcome<()> {
    let (mut writer, store) = open(options(dir))?;
    let lane = store.lane("cloud")?;
    let (mut commit, mut bytes, mut found) = (Commit::new(), Vec::new(), Vec::new());
    let started = Instant::now();
    for number in 0..events {
        let event = event(number, &topic(number, events));
        bytes.clear();
        record::encode(&event, &[], &mut bytes);
        found.clear();
        tags::of_event(&event, &mut found);
        let append = Append {
            routes: &[Route { lane, class: 1 }],
            time_ms: event.received as u64,
            bytes: &bytes,
        };
        commit.push_tagged(append, &found);
        if commit.len() == 1024 || number + 1 == events {
            writer.commit(&commit)?;
            commit.clear();
        }
    }
    let stats = store.stats();
    println!(
        "{events} events in {} generations, {} MiB, written in {:.1} s",
        stats.generations.len(),
        stats.disk_bytes >> 20,
        started.elapsed().as_secs_f64()
    );
    Ok(())
}

fn event(number: u64, topic: &str) -> Event {
    let data = format!(
        "{{\"celsius\":{}.{},\"battery\":3.{}}}",
        18 + number % 9,
        number * 7 % 10,
        number % 97
    );
    Event {
        id: format!("{:016x}", number.wrapping_mul(0x9e37_79b9_7f4a_7c15)).into(),
        source: "plant-gateway/floor".into(),
        kind: "reading".into(),
        subject: None,
        topic: topic.into(),
        publisher: format!("sensor-{}", number % 2000).into(),
        time: None,
        received: START_MS + number as i64 * STEP_MS,
        content_type: Some("application/json".into()),
        schema: None,
        extensions: Vec::new(),
        data: data.into_bytes().into(),
        ..Event::default()
    }
}

fn look(dir: &Path, events: u64) -> Outcome<()> {
    let started = Instant::now();
    let (_writer, store) = open(options(dir))?;
    println!("opened in {:.3} s\n", started.elapsed().as_secs_f64());
    let end_ms = START_MS + events as i64 * STEP_MS;
    let hour_ms = 3_600_000;
    for (filter, since_ms, what) in [
        (
            "plant/line7/sensor3/celsius",
            None,
            "one sensor, the newest 20",
        ),
        ("plant/line1/rare/alarm", None, "one event in the middle"),
        ("plant/+/rare/#", None, "the same by wildcards"),
        (
            "plant/line49/sensor3/celsius",
            Some(end_ms - 2 * hour_ms),
            "a sensor, the last two hours",
        ),
        (
            "plant/line7/sensor3/celsius",
            Some(end_ms - 48 * hour_ms),
            "a sensor, the last two days, 10,000",
        ),
        ("plant/line1/absent/celsius", None, "a topic that never was"),
        (
            "#",
            Some(end_ms - hour_ms),
            "everything, the last hour, 10,000",
        ),
    ] {
        let limit = if what.contains("10,000") { 10_000 } else { 20 };
        time(&store, filter, since_ms, limit, what)?;
    }
    Ok(())
}

fn time(
    store: &Store,
    filter: &str,
    since_ms: Option<i64>,
    limit: usize,
    what: &str,
) -> Outcome<()> {
    let query = EventFilter {
        topic: Some(TopicFilter::parse(filter)?),
        since_ms,
        ..EventFilter::default()
    };
    let started = Instant::now();
    let found = list(store, &query, limit).map_err(|error| error.to_string())?;
    let seconds = started.elapsed().as_secs_f64();
    println!(
        "{seconds:>8.3} s  {:>6} found  {filter:<30} {what}",
        found.len()
    );
    Ok(())
}
