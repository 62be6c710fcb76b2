//! A gateway whose listener `floor` is to be tested, and what it stored.

use serde_json::Value;
use tempfile::TempDir;
pub(crate) use tidegate_tests::gateway::Gateway;

/// Starts one; `keys` are further keys of the listener `floor`.
pub(crate) fn start(keys: &str) -> Gateway {
    start_in(tempfile::tempdir().expect("a folder"), keys)
}

/// Starts one in a folder that holds what its keys name.
pub(crate) fn start_in(folder: TempDir, keys: &str) -> Gateway {
    let archive = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n";
    let mut gateway = Gateway::new_in(folder, &format!("{keys}\n\n{archive}"));
    gateway.start();
    gateway
}

/// The stored events of a topic in the words of `tidegate events list`, oldest first.
pub(crate) fn stored(gateway: &Gateway, topic: &str) -> Vec<Value> {
    gateway.events(&["--limit", "1000", "--topic", topic])
}
