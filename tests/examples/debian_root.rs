//! The package through its life in a fresh root of another architecture, which QEMU runs:
//! `cargo run -p tidegate-tests --example debian_root -- arm64 [events]`, a quarter of an hour.
//!
//! There the service is started by a stand-in for `systemctl`, which runs the lines of the unit as its user and hands
//! down each descriptor that it is given: what a maintainer script forgets to close holds up the installer here.

use std::time::Instant;

use tidegate_tests::peer::debian::Manager;
use tidegate_tests::peer::debian::base::{self, Architecture};
use tidegate_tests::peer::debian::lifecycle::Machine;

fn main() {
    let mut arguments = std::env::args().skip(1);
    let architecture = match arguments.next().as_deref() {
        Some("amd64") => Architecture::Amd64,
        Some("arm64") | None => Architecture::Arm64,
        Some("armhf") => Architecture::Armhf,
        Some(other) => panic!("amd64, arm64 or armhf, not {other}"),
    };
    let events = arguments
        .next()
        .map_or(10_000, |events| events.parse().expect("a number of events"));
    assert!(base::possible("debian_root"), "it is said above");
    let began = Instant::now();
    let step = |what: &str| println!("{:6.1} s  {what}", began.elapsed().as_secs_f64());
    let machine = Machine::fresh(architecture, Manager::StandIn);
    step("a fresh root, and the package in two versions");
    machine.is_installed_and_runs();
    step("installed; an event came through");
    machine.is_upgraded_over_a_backlog(events);
    step(&format!(
        "upgraded with {events} events waiting; all arrived, in order"
    ));
    machine.is_downgraded_only_by_force();
    step("a downgrade was refused, the service ran on; forced, it was made");
    machine.is_removed_and_comes_back();
    step("removed and installed again; the events were there");
    machine.is_purged_as_answered();
    step("purged: without an answer the events stay, answered yes only the user is left");
}
