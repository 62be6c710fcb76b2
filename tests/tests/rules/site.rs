//! A gateway whose rules send to one of two upstreams, and what is done to their folder.

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::path::{Path, PathBuf};
use std::process::Command;

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt;

/// Without rules an event goes to both.
pub(crate) const UPSTREAMS: &str = "[upstreams.meant]\ntype = \"file\"\npath = \"meant.jsonl\"\n\n\
                         [upstreams.other]\ntype = \"file\"\npath = \"other.jsonl\"\n";
pub(crate) const GOOD: &str = "rule keep {\n  on \"#\"\n  send to meant\n}\n";
pub(crate) const FILE: &str = "rules/keep.rules";

/// A gateway whose rules send to one upstream alone.
pub(crate) fn gateway() -> Gateway {
    let gateway = Gateway::new(UPSTREAMS);
    gateway.write(FILE, GOOD);
    gateway
}

/// Root reads what nobody may: without these capabilities it does not.
pub(crate) fn without_privileges(gateway: &mut Gateway) {
    let caps = "--bounding-set=-dac_override,-dac_read_search";
    if std::fs::metadata("/proc/self").is_ok_and(|own| own.uid() != 0) {
        return;
    }
    gateway.under(["setpriv", caps].map(Into::into).to_vec());
}

pub(crate) fn run(program: &str, arguments: &[&str], folder: &Path) {
    let done = Command::new(program)
        .args(arguments)
        .current_dir(folder)
        .status();
    assert!(
        done.is_ok_and(|done| done.success()),
        "{program} {arguments:?}"
    );
}

pub(crate) fn status(gateway: &Gateway) -> Value {
    let answer = gateway.control("/status");
    let body = answer.split_once("\r\n\r\n").map_or("", |(_, body)| body);
    serde_json::from_str(body).unwrap_or_else(|error| panic!("{error}: {answer}"))
}

/// The one line of what is refused, if anything is.
pub(crate) fn refused(gateway: &Gateway) -> Option<String> {
    let all = status(gateway)["rules"]["refused"].as_array().cloned();
    let all = all.expect("a list");
    (!all.is_empty()).then(|| all[0].as_str().expect("text").to_owned())
}

pub(crate) fn has_trouble(gateway: &Gateway, part: &str) -> bool {
    let status = status(gateway);
    let troubles = status["troubles"].as_array().expect("a list").iter();
    troubles
        .filter_map(Value::as_str)
        .any(|one| one.contains(part))
}

/// Publishes once and waits for the acknowledgement.
pub(crate) fn publish(gateway: &Gateway, topic: &str) {
    let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("it listens");
    mqtt::publish_acknowledged(&mut stream, topic, 1, b"{}");
}

pub(crate) fn holds(gateway: &Gateway, file: &str, topic: &str) -> bool {
    let text = std::fs::read_to_string(gateway.path(file)).unwrap_or_default();
    text.contains(&format!("\"{topic}\""))
}

/// An event goes where the rules say, and nowhere else.
pub(crate) fn obeys(gateway: &Gateway, topic: &str) {
    publish(gateway, topic);
    gateway.wait_until("the event is where the rules send it", || {
        holds(gateway, "meant.jsonl", topic)
    });
    let after = format!("{topic}/after");
    publish(gateway, &after);
    gateway.wait_until("and the next one", || holds(gateway, "meant.jsonl", &after));
    assert!(
        !holds(gateway, "other.jsonl", topic),
        "{topic} went to every upstream"
    );
}

/// What becomes of the folder at `path`, in which the one file is.
pub(crate) type Change = fn(&Path);

pub(crate) fn write(folder: &Path, name: &str, text: &str) {
    std::fs::write(folder.join(name), text).expect("it is ours");
}

pub(crate) fn rename(folder: &Path, from: &str, to: &str) {
    std::fs::rename(folder.join(from), folder.join(to)).expect("it is ours");
}

pub(crate) fn chmod(path: PathBuf, mode: u32) {
    std::fs::set_permissions(path, PermissionsExt::from_mode(mode)).expect("it is ours");
}

/// The folder as it was.
pub(crate) fn restore(folder: &Path) {
    let rules = folder.join("rules");
    if std::fs::symlink_metadata(&rules).is_ok_and(|found| found.is_dir()) {
        chmod(rules.clone(), 0o755);
        std::fs::remove_dir_all(&rules).expect("it is ours");
    } else {
        let _ = std::fs::remove_file(&rules);
    }
    let _ = std::fs::remove_dir_all(folder.join("rules.new"));
    std::fs::create_dir(&rules).expect("it is ours");
    write(folder, FILE, GOOD);
}
