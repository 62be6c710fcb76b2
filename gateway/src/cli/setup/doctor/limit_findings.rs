//! Memory and descriptors: what the service may have, against what its configuration needs.

use super::subject::Subject;
use super::{Finding, Severity};
use crate::cli::terminal::figures;
use crate::observe::process;

/// What a gateway takes before anything comes, and for what is under way at full rate; measured: 11 and 38 MiB.
const BASE_BYTES: u64 = 40 << 20;
/// Generations that are open at a time; the database holds nearly the whole of one in memory.
const OPEN_GENERATIONS: u64 = 3;
/// For an id that is remembered.
const DEDUP_BYTES: u64 = 64;
/// Of a connection that is open and says little.
const CONNECTION_BYTES: u64 = 16 << 10;

pub(super) fn all(subject: &Subject) -> Vec<Finding> {
    let found = [
        memory(subject),
        memory_groups(subject),
        descriptors(subject),
    ];
    found.into_iter().flatten().collect()
}

/// What the configuration may come to need.
fn needed_bytes(subject: &Subject) -> u64 {
    let store = subject.store.as_ref();
    let generation = store.map_or(8 << 20, |store| {
        store.generation_bytes.min(store.max_size_bytes / 8)
    });
    BASE_BYTES
        + OPEN_GENERATIONS * generation
        + subject.dedup_window as u64 * DEDUP_BYTES
        + subject.connections_max as u64 * CONNECTION_BYTES
        + subject.inflight_bytes
}

fn memory(subject: &Subject) -> Option<Finding> {
    let (bytes, whence) = memory_limit(subject)?;
    let needed = needed_bytes(subject);
    if bytes >= needed {
        return None;
    }
    let severity = match bytes < BASE_BYTES {
        true => Severity::Error,
        false => Severity::Warning,
    };
    let message = format!(
        "the gateway may have {} of memory ({whence}), and this configuration may come to need {}: the system would end it",
        figures::size(bytes),
        figures::size(needed)
    );
    let remedy = format!(
        "raise the limit (MemoryMax={}M in the unit), or lower max_connections, generation_size or dedup_window",
        needed.div_ceil(1 << 20)
    );
    Some(Finding::new("memory-cgroup", severity, message, remedy))
}

/// The limit of the gateway that runs, else of the unit, else of who asks.
fn memory_limit(subject: &Subject) -> Option<(u64, String)> {
    let machine = &subject.machine;
    let of = |pid: &str| {
        let limit = machine.memory_limit(pid)?;
        Some((limit.bytes, limit.file.display().to_string()))
    };
    match (subject.running, &subject.unit) {
        (Some(running), _) => of(&running.pid.to_string()),
        (None, Some(unit)) => {
            let bytes = unit.memory_bytes?;
            Some((bytes, "MemoryMax= of its unit".to_owned()))
        }
        (None, None) => of("self"),
    }
}

fn memory_groups(subject: &Subject) -> Option<Finding> {
    let is_off = subject.machine.has_memory_groups_disabled();
    is_off.then(|| {
        Finding::new(
            "memory-cgroup",
            Severity::Note,
            "the kernel was started without limits for memory (cgroup_disable=memory): MemoryMax= of a unit has no effect, \
             and a program that takes too much takes it from all",
            "add `cgroup_enable=memory cgroup_memory=1` to the one line of /boot/firmware/cmdline.txt (/boot/cmdline.txt on \
             older systems) and restart the machine",
        )
    })
}

fn descriptors(subject: &Subject) -> Option<Finding> {
    let machine = &subject.machine;
    let max = match (subject.running, &subject.unit) {
        (Some(running), _) => machine.descriptors_of(&running.pid.to_string()),
        (None, Some(unit)) => unit.descriptors,
        (None, None) => machine.descriptors_of("self"),
    }?;
    let room = process::descriptors_for_connections(max);
    let connections = subject.connections_max as u64;
    if connections <= room {
        return None;
    }
    let wanted = connections + (max - room);
    let message = format!(
        "the sources allow {connections} connections, and of the {max} files that the gateway may open {room} are left for \
         them: the others are turned away"
    );
    let remedy = format!(
        "LimitNOFILE={wanted} in the unit (`ulimit -Hn {wanted}` in a shell), or lower max_connections"
    );
    Some(Finding::new(
        "few-descriptors",
        Severity::Warning,
        message,
        remedy,
    ))
}
