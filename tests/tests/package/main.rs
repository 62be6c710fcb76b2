//! Issue 13, number 2: the package. What is in it, and what becomes of it on a fresh Debian.

mod contents;
mod first_event;

use tidegate_tests::debian::Manager;
use tidegate_tests::debian::base::{self, Architecture};
use tidegate_tests::debian::lifecycle::Machine;

#[test]
fn ten_thousand_events_outlive_an_upgrade_and_go_only_where_a_purge_is_told_so() {
    if !base::possible("package") {
        return;
    }
    let machine = Machine::fresh(Architecture::Amd64, Manager::Systemd);
    machine.is_installed_and_runs();
    machine.is_confined_and_works();
    machine.is_upgraded_over_a_backlog(10_000);
    machine.is_downgraded_only_by_force();
    machine.is_removed_and_comes_back();
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
