//! Issue 13, number 2: the package. What is in it, and what becomes of it on a fresh Debian.

mod contents;
mod first_event;
mod put_back;
mod upgrades;

use std::time::Instant;

use tidegate_tests::peer::debian::Manager;
use tidegate_tests::peer::debian::base::{self, Architecture};
use tidegate_tests::peer::debian::lifecycle::Machine;

#[test]
fn ten_thousand_events_outlive_an_upgrade_and_go_only_where_a_purge_is_told_so() {
    if !base::possible("package") {
        return;
    }
    let began = Instant::now();
    let step = |what: &str| println!("{:5.1} s  {what}", began.elapsed().as_secs_f64());
    let machine = Machine::fresh(Architecture::Amd64, Manager::Systemd);
    step("up");
    machine.is_installed_and_runs();
    step("installed");
    machine.is_confined_and_works();
    step("confined");
    machine.is_upgraded_over_a_backlog(10_000);
    step("upgraded");
    machine.is_downgraded_only_by_force();
    step("not downgraded");
    machine.is_removed_and_comes_back();
    step("removed");
    machine.is_purged_as_answered();
}

/// As while an image is built: nothing is started, and nothing fails for it.
#[test]
fn without_a_service_manager_the_package_comes_and_goes() {
    if !base::possible("package") {
        return;
    }
    let machine = Machine::fresh(Architecture::Amd64, Manager::Nobody);
    machine.comes_and_goes_without_a_service();
}
