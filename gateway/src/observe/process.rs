//! Metrics of the process itself, read from `/proc` whenever somebody asks.

pub mod configuration;

use std::io;
use std::os::fd::RawFd;
use std::time::{Duration, Instant};

use prometheus_client::collector::Collector;
use prometheus_client::encoding::{DescriptorEncoder, EncodeMetric};
use prometheus_client::metrics::MetricType;
use prometheus_client::metrics::counter::ConstCounter;
use prometheus_client::metrics::gauge::ConstGauge;
use prometheus_client::metrics::info::Info;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::Observe;

/// Descriptors that connections from outside leave to the store, the upstreams and the API.
const RESERVED: u64 = 64;
/// How long after the last connection was turned away the trouble is over.
const QUIET: Duration = Duration::from_secs(60);

/// Ticks per second of the times in `/proc/self/stat`: part of Linux's interface on every
/// architecture this runs on.
const TICKS_PER_SECOND: f64 = 100.0;

/// `/proc/self/status` counts memory in these.
const KILOBYTE: u64 = 1024;

/// What `/proc` says at one moment. Absent where it says nothing.
#[derive(Debug, Clone, Copy, Default, PartialEq)]
pub struct Process {
    /// Resident memory.
    pub resident_bytes: Option<u64>,
    /// Time spent on a processor, user and system.
    pub cpu_seconds: Option<f64>,
    /// Open files, sockets among them.
    pub open_files: Option<u64>,
    /// How many may be open.
    pub open_files_max: Option<u64>,
    /// Threads.
    pub threads: Option<u64>,
}

impl Process {
    /// Reads this process.
    pub fn read() -> Process {
        let text = |file: &str| std::fs::read_to_string(file).unwrap_or_default();
        let status = text("/proc/self/status");
        Process {
            resident_bytes: field(&status, "VmRSS:").map(|kilobytes| kilobytes * KILOBYTE),
            cpu_seconds: cpu_seconds(&text("/proc/self/stat")),
            open_files: open_descriptors(),
            open_files_max: descriptors_max(),
            threads: field(&status, "Threads:"),
        }
    }
}

/// How many file descriptors are open.
pub fn open_descriptors() -> Option<u64> {
    let all = std::fs::read_dir("/proc/self/fd").ok()?;
    Some(all.count() as u64)
}

/// How many file descriptors may be open at once; `None` for any number.
pub fn descriptors_max() -> Option<u64> {
    getrlimit(Resource::Nofile).current
}

/// Raises the number of file descriptors to what the system allows. Gives what it was and is.
pub fn raise_descriptors_max() -> (Option<u64>, Option<u64>) {
    let Rlimit { current, maximum } = getrlimit(Resource::Nofile);
    let wanted = Rlimit {
        current: maximum,
        maximum,
    };
    match setrlimit(Resource::Nofile, wanted) {
        Ok(()) => (current, maximum),
        Err(_) => (current, current),
    }
}

/// How many of `max` descriptors connections from outside may take.
pub fn descriptors_for_connections(max: u64) -> u64 {
    max - RESERVED.min(max / 4)
}

/// Whether a descriptor, which had the lowest number that was free, is one of those that connections from outside leave to others.
pub fn is_reserved(descriptor: RawFd) -> bool {
    let last = descriptors_max().map(descriptors_for_connections);
    last.is_some_and(|last| u64::try_from(descriptor).is_ok_and(|number| number >= last))
}

/// Whether there were no descriptors left.
pub fn is_short_of_descriptors(error: &io::Error) -> bool {
    let codes = [rustix::io::Errno::MFILE, rustix::io::Errno::NFILE];
    codes
        .iter()
        .any(|code| error.raw_os_error() == Some(code.raw_os_error()))
}

/// A connection was turned away, for there are no descriptors for it.
pub fn descriptors_short(observe: &Observe, now: Instant) {
    let max = descriptors_max().unwrap_or_default();
    let what = format!(
        "connections are turned away: nearly all of the {max} files that may be open at once are open. Allow more with \
         LimitNOFILE= in the service (`ulimit -n` in a shell), or close connections"
    );
    let until = now + QUIET;
    observe.follow("gateway", "descriptors", &what, Some(until));
}

/// Registers the metrics of this process.
pub fn register(observe: &Observe) {
    let version = ("version", env!("CARGO_PKG_VERSION"));
    observe.register(|registry| {
        registry.register_collector(Box::new(ProcessCollector));
        let build = Info::new(vec![version]);
        registry.register("build", "The program that runs", build);
    });
}

#[derive(Debug)]
struct ProcessCollector;

impl Collector for ProcessCollector {
    fn encode(&self, mut encoder: DescriptorEncoder) -> Result<(), std::fmt::Error> {
        let process = Process::read();
        let gauges = [
            (
                "process_resident_memory_bytes",
                "Resident memory",
                process.resident_bytes,
            ),
            (
                "process_open_fds",
                "Open files and sockets",
                process.open_files,
            ),
            (
                "process_max_fds",
                "How many may be open",
                process.open_files_max,
            ),
            ("process_threads", "Threads", process.threads),
        ];
        for (name, help, value) in gauges {
            let Some(value) = value else { continue };
            let gauge = ConstGauge::new(i64::try_from(value).unwrap_or(i64::MAX));
            gauge.encode(encoder.encode_descriptor(name, help, None, MetricType::Gauge)?)?;
        }
        if let Some(seconds) = process.cpu_seconds {
            let (name, help) = ("process_cpu_seconds", "Time spent on a processor");
            let counter = ConstCounter::new(seconds);
            counter.encode(encoder.encode_descriptor(name, help, None, MetricType::Counter)?)?;
        }
        Ok(())
    }
}

/// The number after `name` in `/proc/self/status`.
fn field(status: &str, name: &str) -> Option<u64> {
    let rest = status.lines().find_map(|line| line.strip_prefix(name))?;
    rest.split_whitespace().next()?.parse().ok()
}

/// User and system time of `/proc/self/stat`. The program's name in it may hold anything, so
/// fields are counted from its closing parenthesis.
fn cpu_seconds(stat: &str) -> Option<f64> {
    let (_, rest) = stat.rsplit_once(')')?;
    let mut fields = rest.split_whitespace().skip(11);
    let user: u64 = fields.next()?.parse().ok()?;
    let system: u64 = fields.next()?.parse().ok()?;
    Some((user + system) as f64 / TICKS_PER_SECOND)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn times_are_found_behind_any_name_of_a_program() {
        let stat = "42 (a ) b) S 1 42 42 0 -1 4194560 1 2 3 4 150 50 0 0 20 0 9 0 1 2 3";
        assert_eq!(cpu_seconds(stat), Some(2.0));
        assert_eq!(cpu_seconds("nothing"), None);
    }

    #[test]
    fn this_process_has_memory_files_and_threads() {
        let process = Process::read();
        assert!(process.resident_bytes > Some(100_000));
        assert!(process.open_files > Some(2));
        assert!(process.threads >= Some(1));
        assert!(process.cpu_seconds.is_some());
    }

    #[test]
    fn the_last_descriptors_are_left_to_others() {
        for (max, expected) in [(1_024, 960), (100, 75), (4, 3)] {
            assert_eq!(descriptors_for_connections(max), expected);
        }
        assert!(!is_reserved(3) && is_reserved(RawFd::MAX));
        assert!(is_short_of_descriptors(&io::Error::from_raw_os_error(24)));
        assert!(!is_short_of_descriptors(&io::Error::from_raw_os_error(2)));
    }

    #[test]
    fn a_scrape_shows_the_process() {
        let observe = Observe::default();
        register(&observe);
        let text = observe.metrics_text();
        let build = concat!(
            "tidegate_build_info{version=\"",
            env!("CARGO_PKG_VERSION"),
            "\"} 1"
        );
        assert!(text.contains(build), "{text}");
        for name in [
            "resident_memory_bytes",
            "open_fds",
            "max_fds",
            "threads",
            "cpu_seconds_total",
        ] {
            assert!(
                text.contains(&format!("\ntidegate_process_{name} ")),
                "{name} in {text}"
            );
        }
    }
}
