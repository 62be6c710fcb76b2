//! Sessions of the MQTT listener as the three standards have them, over raw packets of each version and with real
//! clients: wills, keep-alives, versions, large CONNECTs, clients that are held back, who is not let in.

mod held_back;
mod keep_alive;
mod logins;
mod retained;
mod topics;
mod vanished;
mod versions;
mod wills;

use std::process::Command;

use serde_json::Value;
use tidegate_tests::gateway::Gateway;

pub(crate) const ARCHIVE: &str = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n";

/// A running gateway; `keys` are further keys of its listener.
pub(crate) fn start(keys: &str) -> Gateway {
    let mut gateway = Gateway::new(&format!("{keys}\n\n{ARCHIVE}"));
    gateway.start();
    gateway
}

/// The stored events of a topic filter, oldest first.
pub(crate) fn stored(gateway: &Gateway, filter: &str) -> Vec<Value> {
    gateway.events(&["--limit", "10000", "--topic", filter])
}

/// Their topics.
pub(crate) fn topics(gateway: &Gateway, filter: &str) -> Vec<String> {
    let all = stored(gateway, filter);
    let topic = |event: &Value| event["topic"].as_str().map(str::to_owned);
    all.iter().filter_map(topic).collect()
}

/// A real client on its way to the gateway.
pub(crate) fn real(program: &std::path::Path, gateway: &Gateway, arguments: &[&str]) -> Command {
    let mut command = Command::new(program);
    command.args(["-p", &gateway.address.port().to_string()]);
    command.args(arguments);
    command
}
