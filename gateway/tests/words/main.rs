//! Messages, each provoked with the real program and read: what is wrong, where, and what to do next.

mod brokers;
mod commands;
mod refusals;
mod run_says;
mod tables;
mod tls;

use tidegate_tests::gateway::Gateway;
use tidegate_tests::wait;

/// Waits until the last error of a source or an upstream holds all these words.
#[track_caller]
fn last_error(gateway: &Gateway, list: &str, name: &str, words: &[&str]) {
    wait::find(&format!("{list} {name} says {words:?}"), || {
        let status = gateway.status();
        let all = status[list].as_array().into_iter().flatten();
        let mut of_name = all.filter(|one| one["name"] == name);
        let said = of_name.next().map_or_else(
            || format!("no {name} in {status}"),
            |one| one["last_error"].as_str().unwrap_or("no error").to_owned(),
        );
        match words.iter().all(|word| said.contains(word)) {
            true => Ok(()),
            false => Err(said),
        }
    });
}
