//! Issue 12, number 9: each change of rules, configuration, secrets, lanes and dead letters, and each refused login, is one
//! system event with who made it and the digests before and after; a flood of refusals is a few events and its count.

mod durable;
mod logins;

use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use serde_json::Value;
use tidegate_tests::gateway::{End, Gateway};
use tidegate_tests::{mqtt, port, wait};

const ARCHIVE: &str = "[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n";
const RULES: &str = "rule bad { on \"bad/#\" send to dead_letter reason \"no\" }\n\
                     rule fine { on \"fine/#\" send to archive }\n";

/// The audit events of one kind, oldest first.
fn audited(gateway: &Gateway, kind: &str) -> Vec<Value> {
    let topic = format!("$tidegate/audit/{kind}");
    let all = gateway.events(&["--topic", &topic, "--limit", "1000"]);
    all.into_iter().map(|told| told["event"].clone()).collect()
}

/// Waits for one more than `before` of a kind, and gives that.
fn next(gateway: &Gateway, kind: &str, before: usize) -> Value {
    let one = wait::find(&format!("the audit of {kind}"), || {
        let all = audited(gateway, kind);
        assert!(all.len() <= before + 1, "one change is one event: {all:#?}");
        all.get(before).cloned().ok_or_else(|| gateway.log())
    });
    assert_eq!(one["type"], format!("dev.tidegate.audit.{kind}"));
    let members: Vec<_> = one["data"]
        .as_object()
        .expect("an object")
        .keys()
        .cloned()
        .collect();
    let shape = [
        "action", "after", "before", "count", "others", "to", "who", "why",
    ];
    assert_eq!(members, shape, "one shape for all");
    one
}

/// What `sha256sum` prints of these files together, cut.
fn sha256(files: &[&str]) -> String {
    let line = format!("cat {} | sha256sum | cut -c1-16", files.join(" "));
    let output = Command::new("sh")
        .args(["-c", &line])
        .output()
        .expect("sh runs");
    String::from_utf8_lossy(&output.stdout).trim().to_owned()
}

fn shown(gateway: &Gateway, name: &str) -> String {
    gateway.path(name).display().to_string()
}

fn publish(gateway: &Gateway, topics: &[&str]) {
    let mut stream = mqtt::connect(gateway.address, "press", true).expect("it listens");
    for (id, topic) in (1..).zip(topics) {
        mqtt::publish_acknowledged(&mut stream, topic, id, b"{}");
    }
}

/// Runs a subcommand that succeeds; who did it, as the audit should know it.
fn done(gateway: &Gateway, arguments: &[&str]) -> String {
    let output = gateway.ask(arguments);
    let said = String::from_utf8_lossy(&output.stderr);
    assert!(output.status.success(), "{arguments:?}: {said}");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

/// The user of this machine who runs the test.
fn is_me(change: &Value) {
    let id = |what: &str| {
        let output = Command::new("id").arg(what).output().expect("id runs");
        String::from_utf8_lossy(&output.stdout).trim().to_owned()
    };
    let who = &change["data"]["who"];
    assert_eq!(who["by"], "local", "{change:#}");
    assert_eq!(who["uid"].to_string(), id("-u"), "{change:#}");
    assert_eq!(who["user"], id("-un"), "{change:#}");
    assert!(who["pid"].as_i64().is_some_and(|pid| pid > 1), "{change:#}");
}

fn write_secret(gateway: &Gateway, name: &str, secret: &str) {
    gateway.write(name, secret);
    let closed = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(gateway.path(name), closed).expect("it is ours");
}

#[test]
fn number_9_dead_letters() {
    let mut gateway = Gateway::new(ARCHIVE);
    gateway.write("rules/a.rules", RULES);
    gateway.start();
    publish(&gateway, &["bad/1", "bad/2", "bad/3", "bad/4", "bad/5"]);
    wait::until("five dead letters", || gateway.dead_letters().len() == 5);
    let ids: Vec<_> = gateway
        .dead_letters()
        .into_iter()
        .map(|letter| letter["id"].clone())
        .collect();
    let id = |at: usize| ids[at].as_str().expect("an id");
    // What it asks for, what is told of how many, and where they went.
    type Case<'a> = (&'a [&'a str], &'a str, &'a str, u64, Value);
    let cases: [Case; 3] = [
        (
            &["dead-letters", "retry", id(0), "--to", "archive"],
            id(0),
            "sent again",
            1,
            "archive".into(),
        ),
        (
            &["dead-letters", "drop", id(1)],
            id(1),
            "dropped",
            1,
            Value::Null,
        ),
        (
            &["dead-letters", "drop", "--yes", "--all"],
            "all",
            "dropped",
            3,
            Value::Null,
        ),
    ];
    for (before, (arguments, subject, action, count, to)) in cases.into_iter().enumerate() {
        done(&gateway, arguments);
        let change = next(&gateway, "dead_letters", before);
        is_me(&change);
        assert_eq!(change["subject"], subject);
        let data = &change["data"];
        assert_eq!(
            (&data["action"], &data["count"]),
            (&action.into(), &count.into())
        );
        assert_eq!(data["to"], to);
    }
    let failed = gateway.ask(&["dead-letters", "drop", id(1)]);
    assert!(!failed.status.success());
    assert_eq!(
        audited(&gateway, "dead_letters").len(),
        3,
        "what failed changed nothing"
    );
}

#[test]
fn number_9_dead_letters_by_hand_and_right_before_an_end() {
    let mut gateway = Gateway::new(ARCHIVE);
    gateway.write("rules/a.rules", RULES);
    gateway.start();
    publish(&gateway, &["bad/6", "bad/7", "bad/8"]);
    wait::until("three dead letters", || gateway.dead_letters().len() == 3);
    assert!(gateway.terminate().success());
    let letters = gateway.dead_letters();
    let id = |at: usize| letters[at]["id"].as_str().expect("an id");
    done(&gateway, &["dead-letters", "drop", id(0), id(1)]);
    gateway.start();
    let change = next(&gateway, "dead_letters", 0);
    is_me(&change);
    assert_eq!(
        (&change["subject"], &change["data"]["count"]),
        (&id(0).into(), &2.into())
    );
    assert_eq!(change["data"]["others"][0], id(1));
    let why = change["data"]["why"].as_str().expect("a word");
    assert!(why.contains("while no gateway ran"), "{why}");
    done(&gateway, &["dead-letters", "drop", id(2)]);
    assert!(gateway.terminate().success());
    let topic = ["--topic", "$tidegate/audit/dead_letters"];
    assert_eq!(
        gateway.events(&topic).len(),
        2,
        "the last change before the end is told"
    );
    gateway.start();
    assert_eq!(audited(&gateway, "dead_letters").len(), 2, "each once");
}

#[test]
fn number_9_lanes_and_a_kill_right_behind() {
    let away = port::free();
    let old =
        |name: &str| format!("[upstreams.{name}]\ntype = \"http\"\nurl = \"http://{away}/in\"\n");
    let mut gateway = Gateway::new(&format!("{ARCHIVE}{}{}", old("one"), old("two")));
    gateway.start();
    publish(&gateway, &["a", "b", "c"]);
    gateway.terminate();
    let path = gateway.path("gateway.toml");
    let text = std::fs::read_to_string(&path).expect("a configuration");
    let text = text.replace(&old("one"), "").replace(&old("two"), "");
    std::fs::write(&path, text).expect("written");
    gateway.start();
    let cases: [(&[&str], &str, &str, Value); 2] = [
        (
            &["store", "lanes", "move", "one", "--to", "archive"],
            "one",
            "moved",
            "archive".into(),
        ),
        (
            &["store", "lanes", "drop", "two"],
            "two",
            "dropped",
            Value::Null,
        ),
    ];
    for (before, (arguments, subject, action, to)) in cases.into_iter().enumerate() {
        let said = done(&gateway, arguments);
        let count = said.split_whitespace().next().expect("a number");
        let change = next(&gateway, "lane", before);
        is_me(&change);
        assert_eq!(change["subject"], subject);
        let data = &change["data"];
        assert_eq!((&data["action"], &data["to"]), (&action.into(), &to));
        assert_eq!(data["count"].to_string(), count, "{said}");
        assert!(data["count"].as_u64() >= Some(3), "{said}");
        gateway.end(End::Killed);
        gateway.start();
        let listed = done(&gateway, &["store", "lanes", "list"]);
        assert!(!listed.contains(subject), "it is there no more: {listed}");
    }
}

#[test]
fn number_9_rules() {
    let mut gateway = Gateway::new(ARCHIVE);
    gateway.write("rules/a.rules", RULES);
    gateway.start();
    let rules = shown(&gateway, "rules");
    let in_force = || sha256(&[&format!("{rules}/*.rules")]);
    let mut digests = vec![in_force()];
    let changes: [(&str, &str); 3] = [
        (
            "rules/a.rules",
            "rule fine { on \"fine/#\" send to archive }\n",
        ),
        (
            "rules/b.rules",
            "rule more { on \"more/#\" send to archive }\n",
        ),
        ("rules/a.rules", RULES),
    ];
    for (before, (name, text)) in changes.into_iter().enumerate() {
        gateway.write(name, text);
        let change = next(&gateway, "rules", before);
        digests.push(in_force());
        let data = &change["data"];
        let file = serde_json::json!({ "by": "file", "path": rules });
        assert_eq!(data["who"], file, "{change:#}");
        assert_eq!(data["before"], *digests[before], "{change:#}");
        assert_eq!(data["after"], *digests[before + 1], "{change:#}");
    }
    // A mistake changes nothing that is in force.
    gateway.write("rules/b.rules", "rule more { on }\n");
    wait::until("the mistake is told", || {
        !gateway
            .events(&["--topic", "$tidegate/rules/refused"])
            .is_empty()
    });
    gateway.write(
        "rules/b.rules",
        "rule more { on \"more/#\" send to archive }\n",
    );
    assert_eq!(audited(&gateway, "rules").len(), 3);
}

#[test]
fn number_9_configuration_and_secrets_that_change_while_no_gateway_runs() {
    let secret = "correct horse battery staple";
    let cloud = "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:9\"\nuser = \"a\"\n\
                 password_file = \"cloud.password\"\n";
    let mut gateway = Gateway::new(&format!("{ARCHIVE}{cloud}"));
    write_secret(&gateway, "cloud.password", secret);
    let config = shown(&gateway, "gateway.toml");
    gateway.start();
    gateway.terminate();
    gateway.start();
    let before = sha256(&[&config]);
    for kind in ["configuration", "secret"] {
        assert_eq!(
            audited(&gateway, kind),
            Vec::<Value>::new(),
            "a restart is no change"
        );
    }
    gateway.terminate();
    let text = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, format!("{text}# by hand\n")).expect("written");
    gateway.start();
    let change = next(&gateway, "configuration", 0);
    assert_eq!(change["data"]["before"], before);
    assert_eq!(change["data"]["after"], sha256(&[&config]));
    assert_eq!(
        change["data"]["who"],
        serde_json::json!({ "by": "file", "path": config })
    );
    gateway.terminate();
    let plain = sha256(&[&shown(&gateway, "cloud.password")]);
    write_secret(&gateway, "cloud.password", "another secret");
    gateway.start();
    let change = next(&gateway, "secret", 0);
    let data = &change["data"];
    assert_eq!(change["subject"], shown(&gateway, "cloud.password"));
    assert!(
        data["before"].is_string() && data["after"].is_string(),
        "{change:#}"
    );
    assert_ne!(data["before"], data["after"]);
    assert_ne!(
        data["before"], plain,
        "who looks cannot try out what it may be"
    );
    gateway.terminate();
    gateway.start();
    let text = format!(
        "{:?}{}",
        gateway.events(&["--limit", "1000"]),
        gateway.whole_log()
    );
    for secret in [secret, "another secret"] {
        assert!(!text.contains(secret));
    }
    for (kind, count) in [("configuration", 1), ("secret", 1)] {
        assert_eq!(audited(&gateway, kind).len(), count, "{kind}");
    }
}
