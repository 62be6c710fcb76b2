//! What a process has cost, from `/proc`.

use std::path::PathBuf;

/// The costs of a process so far.
#[derive(Debug, Clone, Copy, Default)]
pub(crate) struct Cost {
    /// Processor time in user and kernel mode, in microseconds.
    pub cpu_us: u64,
    /// Bytes it caused to be written to storage.
    pub written_bytes: u64,
    /// Highest resident memory so far.
    pub resident_bytes_max: u64,
    /// Resident memory now.
    pub resident_bytes: u64,
}

/// Reads the costs of a process; zeros where it is gone.
pub(crate) fn cost(pid: u32) -> Cost {
    let read = |name: &str| {
        std::fs::read_to_string(PathBuf::from(format!("/proc/{pid}/{name}"))).unwrap_or_default()
    };
    let status = read("status");
    let kibibytes = |name: &str| field(&status, name) * 1024;
    Cost {
        cpu_us: cpu_us(&read("stat")),
        written_bytes: field(&read("io"), "write_bytes:"),
        resident_bytes_max: kibibytes("VmHWM:"),
        resident_bytes: kibibytes("VmRSS:"),
    }
}

/// User and system time of a `stat` line, whose ticks are a hundredth of a second on Linux.
fn cpu_us(stat: &str) -> u64 {
    let after_name = stat.rsplit(')').next().unwrap_or_default();
    let times = after_name.split_whitespace().skip(11).take(2);
    times
        .filter_map(|ticks| ticks.parse::<u64>().ok())
        .sum::<u64>()
        * 10_000
}

fn field(text: &str, name: &str) -> u64 {
    text.lines()
        .find_map(|line| line.strip_prefix(name))
        .and_then(|rest| rest.split_whitespace().next())
        .and_then(|number| number.parse().ok())
        .unwrap_or(0)
}
