//! `tidegate reload` does what SIGHUP does, waits for it, and says what was taken, what needs a restart and what is refused.

use std::net::TcpListener;
use std::process::Command;

use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::{mqtt, port, wait};

use super::{ONE, add, arrives, edit, publish};

const TWO: &str = "[upstreams.two]\ntype = \"file\"\npath = \"two.jsonl\"\n";

/// Asks for it; the exit code and all that it says.
fn reload(gateway: &Gateway) -> (Option<i32>, String) {
    let output = gateway.ask(&["reload"]);
    let said = [output.stdout, output.stderr].concat();
    let said = String::from_utf8_lossy(&said).into_owned();
    eprintln!("{said}");
    (output.status.code(), said)
}

#[test]
fn reload_says_what_was_taken_what_needs_a_restart_and_what_is_refused() {
    let mut gateway = Gateway::new(ONE);
    let (code, said) = reload(&gateway);
    assert_eq!(code, Some(1));
    assert!(said.contains("no gateway runs"), "{said}");
    gateway.start();
    let mut stands = mqtt::connect(gateway.address, "sensor", true).expect("it listens");
    let busy = TcpListener::bind(port::free()).expect("an address");
    let address = busy.local_addr().expect("an address");
    let late = format!("[sources.late]\ntype = \"http\"\nlisten = \"{address}\"\n");
    // A change, the exit code, and words of what is said.
    type Case<'a> = (&'a dyn Fn(), i32, &'a [&'a str]);
    let cases: [Case; 9] = [
        (
            &|| (),
            0,
            &[
                "is read again",
                "sources    as before",
                "upstreams  as before",
            ],
        ),
        (&|| add(&gateway, TWO), 0, &["upstreams  +two"]),
        (
            &|| edit(&gateway, "two.jsonl", "dos.jsonl"),
            0,
            &["upstreams  ~two"],
        ),
        (
            &|| edit(&gateway, "type = \"file\"", "type = \"fils\""),
            78,
            &[
                "is refused, and everything stays as it was",
                "`fils`",
                "did you mean",
            ],
        ),
        (
            &|| edit(&gateway, "type = \"fils\"", "type = \"file\""),
            0,
            &["as before"],
        ),
        (
            &|| edit(&gateway, "\"plant-a\"", "\"plant-b\""),
            1,
            &[
                "restart needed: `id` in [gateway]",
                "everything else is in force",
            ],
        ),
        (
            &|| edit(&gateway, "\"plant-b\"", "\"plant-a\""),
            0,
            &["as before"],
        ),
        (
            &|| add(&gateway, &late),
            1,
            &["sources    +late", "cannot be taken yet", "tidegate status"],
        ),
        (&|| edit(&gateway, &late, ""), 0, &["sources    -late"]),
    ];
    for (number, (change, code, words)) in cases.into_iter().enumerate() {
        change();
        says(&gateway, number, code, words);
        publish(&mut stands, &format!("after/{number}"));
        arrives(&gateway, "one.jsonl", &format!("after/{number}"));
    }
    told_by_whom(&gateway);
}

/// What it ends with and says.
fn says(gateway: &Gateway, number: usize, code: i32, words: &[&str]) {
    let (ended, said) = reload(gateway);
    assert_eq!(ended, Some(code), "{number}: {said}");
    for word in words {
        assert!(said.contains(word), "{number}: {word} in {said}");
    }
}

/// The audit names who asked, and the report can be read by programs.
fn told_by_whom(gateway: &Gateway) {
    let output = gateway.ask(&["reload", "--format", "json"]);
    let report: Value = serde_json::from_slice(&output.stdout).expect("JSON");
    assert_eq!(report["refused"], serde_json::json!([]), "{report}");
    let topic = ["--topic", "$tidegate/audit/configuration"];
    let told = wait::find("the audit", || {
        let all = gateway.events(&topic);
        (all.len() >= 6).then_some(all).ok_or_else(|| gateway.log())
    });
    for change in told {
        assert_eq!(change["event"]["data"]["who"]["by"], "local", "{change}");
    }
}

fn write_secret(gateway: &Gateway) {
    gateway.write("secret", "correct horse");
    let closed = std::os::unix::fs::PermissionsExt::from_mode(0o600);
    std::fs::set_permissions(gateway.path("secret"), closed).expect("it is ours");
}

#[test]
fn what_is_no_file_in_the_place_of_a_secret_or_of_the_configuration_holds_nothing_up() {
    let cloud = "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:9\"\nuser = \"a\"\n\
                 password_file = \"secret\"\n";
    let mut gateway = Gateway::new(&format!("{ONE}{cloud}"));
    let data = gateway.path("data").display().to_string();
    write_secret(&gateway);
    let config = std::fs::read_to_string(gateway.path("gateway.toml")).expect("a configuration");
    gateway.start();
    let mut stands = mqtt::connect(gateway.address, "sensor", true).expect("it listens");
    let made = |line: &str| {
        let mut shell = Command::new("sh");
        let status = shell.args(["-c", line]).current_dir(gateway.dir.path());
        assert!(status.status().expect("sh runs").success(), "{line}");
    };
    let odd = [
        "mkfifo -m 600 X",
        "ln -s /dev/zero X",
        "ln -s X X",
        "mkdir X",
        "ln -s /proc/self/mem X",
    ];
    for (name, line) in ["secret", "gateway.toml"]
        .into_iter()
        .flat_map(|name| odd.map(|line| (name, line)))
    {
        made(&format!("rm -rf {name}; {}", line.replace('X', name)));
        let output = gateway.ask(&["reload", "--data-dir", &data]);
        let said = String::from_utf8_lossy(&output.stderr).into_owned();
        assert_eq!(output.status.code(), Some(78), "{name}, {line}: {said}");
        assert!(
            said.contains(name) && said.contains("cannot read"),
            "{name}, {line}: {said}"
        );
        publish(&mut stands, "goes/on");
        made(&format!("rm -rf {name}"));
        match name {
            "secret" => write_secret(&gateway),
            _ => gateway.write(name, &config),
        }
        let (code, said) = reload(&gateway);
        assert_eq!(code, Some(0), "{name}, {line}: {said}");
    }
}
