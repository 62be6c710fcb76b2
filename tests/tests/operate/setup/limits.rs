//! `tidegate doctor` on memory and descriptors.

use std::fs;
use std::process::Command;

use tidegate_tests::gateway::binary;
use tidegate_tests::{peer, wait};

use super::doctor::{Machine, ids, site};
use super::text;

const LISTENER: &str = "[sources.floor]\ntype = \"mqtt-listener\"\nlisten = \"127.0.0.1:0\"\n";
const GROUPS: &str = "/sys/fs/cgroup/memory";

#[test]
fn few_descriptors_are_told() {
    let test = "few_descriptors_are_told";
    let Some(prlimit) = peer::find("prlimit", test) else {
        return;
    };
    let data = tempfile::tempdir().expect("a folder");
    let (_dir, config) = site(data.path(), LISTENER);
    for (limit, expected) in [(512, true), (1_064, false)] {
        let output = Command::new(&prlimit)
            .arg(format!("--nofile={limit}:{limit}"))
            .arg(binary::tidegate())
            .args(["doctor", "--format", "json", "--config", text(&config)])
            .output()
            .expect("prlimit runs");
        assert_eq!(
            ids(&output).contains("few-descriptors"),
            expected,
            "{limit}"
        );
    }
}

#[test]
fn a_limit_for_memory_below_what_the_configuration_needs_is_told() {
    let machine = Machine::sound();
    let data = tempfile::tempdir().expect("a folder");
    let (_dir, config) = site(data.path(), LISTENER);
    machine.file(
        "proc/self/mountinfo",
        "30 1 0:26 / /sys/fs/cgroup rw - cgroup2 none rw\n",
    );
    machine.file("proc/self/cgroup", "0::/small\n");
    for (limit, expected) in [("max", false), ("33554432", true), ("134217728", false)] {
        machine.file("sys/fs/cgroup/small/memory.max", limit);
        let found = machine.ids(&config).contains("memory-cgroup");
        assert_eq!(found, expected, "{limit}");
    }
    machine.file("proc/cmdline", "console=tty1 cgroup_disable=memory\n");
    assert!(
        machine.ids(&config).contains("memory-cgroup"),
        "no limits at all"
    );
}

#[test]
fn a_real_group_with_little_memory_is_told() {
    let test = "a_real_group_with_little_memory_is_told";
    let group = format!("{GROUPS}/tidegate-doctor-{}", std::process::id());
    if fs::create_dir(&group).is_err() {
        return peer::skip(
            test,
            "no group for memory can be made (it takes root and cgroup v1)",
        );
    }
    let data = tempfile::tempdir().expect("a folder");
    let (_dir, config) = site(data.path(), LISTENER);
    fs::write(format!("{group}/memory.limit_in_bytes"), "48M").expect("a limit");
    let script = format!(
        "echo $$ > {group}/cgroup.procs && exec {} doctor --format json --config {}",
        binary::tidegate().display(),
        config.display()
    );
    let output = Command::new("sh")
        .args(["-c", &script])
        .output()
        .expect("sh runs");
    wait::until("the group is empty", || fs::remove_dir(&group).is_ok());
    assert!(ids(&output).contains("memory-cgroup"));
}
