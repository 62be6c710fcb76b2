//! Issue 12, number 8: whoever looks after a gateway reaches it without the secrets of its service. Its group may look,
//! only its owner and root may change what it holds, and what cannot be reached is said with whose it is and who may.

mod stopped;

use std::os::unix::fs::{MetadataExt, PermissionsExt};
use std::process::{Command, Output};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::told::troubles;
use tidegate_tests::gateway::user::{OtherUser, may_change};
use tidegate_tests::{mqtt, wait};

/// Whose the gateway is, who is of its group, and who is of none.
const OWNER: OtherUser = OtherUser::named("daemon", Some("games"));
const MEMBER: OtherUser = OtherUser::named("www-data", Some("games"));
const STRANGER: OtherUser = OtherUser::named("nobody", None);

const CONFIG: &str = r#"
[upstreams.archive]
type = "file"
path = "data/archive.jsonl"

[upstreams.cloud]
type = "mqtt"
url = "mqtt://127.0.0.1:9"
user = "plant-a"
password_file = "cloud.password"
"#;
const RULES: &str = "rule bad { on \"bad/#\" send to dead_letter reason \"no\" }\n\
                     rule fine { on \"fine/#\" send to archive }\n";
const SECRET: &str = "correct horse battery staple";

/// A gateway of [`OWNER`]'s with a secret that nobody else can read, not started.
fn gateway(group: &str) -> Gateway {
    let mut gateway = Gateway::new(CONFIG);
    gateway.write("rules/a.rules", RULES);
    gateway.write("cloud.password", SECRET);
    let config = gateway.path("gateway.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let text = text.replacen("[gateway]\n", &format!("[gateway]\n{group}\n"), 1);
    std::fs::write(&config, text).expect("a configuration");
    for (name, mode) in [("", 0o755), ("cloud.password", 0o600), ("data", 0o700)] {
        let mode = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(gateway.path(name), mode).expect("it is ours");
    }
    for name in ["cloud.password", "data"] {
        let given = Command::new("chown")
            .arg("daemon:daemon")
            .arg(gateway.path(name))
            .status();
        assert!(given.expect("chown runs").success());
    }
    gateway.under(OWNER.words());
    gateway
}

/// Two dead letters and an event that was delivered; the letters' ids.
fn fill(gateway: &Gateway) -> [String; 2] {
    let mut stream = mqtt::connect(gateway.address, "press", true).expect("it listens");
    for (id, topic) in [(1, "bad/1"), (2, "bad/2"), (3, "fine/1")] {
        mqtt::publish_acknowledged(&mut stream, topic, id, b"{}");
    }
    wait::until("two dead letters", || gateway.dead_letters().len() == 2);
    let mut ids = gateway.dead_letters().into_iter();
    let mut next = || {
        ids.next()
            .and_then(|letter| letter["id"].as_str().map(str::to_owned))
    };
    [next(), next()].map(|id| id.expect("an id"))
}

fn said(output: &Output) -> String {
    let mut text = String::from_utf8_lossy(&output.stdout).into_owned();
    text += &String::from_utf8_lossy(&output.stderr);
    assert!(!text.contains(SECRET), "{text}");
    text
}

/// What a user is told of a request.
#[derive(Clone, Copy)]
enum Answer {
    Done,
    /// It may look and no more.
    OnlyLooks,
    /// Not even that.
    Closed,
}

fn check(gateway: &Gateway, user: &OtherUser, request: &[&str], answer: Answer) {
    let config = gateway.path("gateway.toml").display().to_string();
    let output = user.run(gateway, &[request, &["--config", &config]].concat());
    let text = said(&output);
    let who = user.name;
    let code = output.status.code();
    match answer {
        Answer::Done => assert_eq!(code, Some(0), "{who} {request:?}: {text}"),
        Answer::OnlyLooks => {
            assert_eq!(code, Some(1), "{who} {request:?}: {text}");
            for word in ["only daemon (uid 1)", "root", who, "may look"] {
                assert!(text.contains(word), "{word} for {who} {request:?}: {text}");
            }
        }
        Answer::Closed => {
            assert_eq!(code, Some(1), "{who} {request:?}: {text}");
            for word in ["belongs to daemon:games", who, "sudo -u daemon", "`group`"] {
                assert!(text.contains(word), "{word} for {who} {request:?}: {text}");
            }
        }
    }
}

#[test]
fn number_8_the_group_looks_and_the_owner_changes() {
    if !may_change("who may look and who may change") {
        return;
    }
    let mut gateway = gateway("group = \"games\"");
    gateway.start();
    let [first, second] = fill(&gateway);
    let event = gateway
        .events(&["--topic", "fine/#"])
        .pop()
        .expect("an event");
    let id = event["event"]["id"].as_str().expect("an id");
    let socket = std::fs::metadata(gateway.path("data/tidegate.sock")).expect("a socket");
    assert_eq!(socket.mode() & 0o7777, 0o660);
    let data = std::fs::metadata(gateway.path("data")).expect("a folder");
    assert_eq!(data.mode() & 0o7777, 0o750);

    let looks: [&[&str]; 10] = [
        &["status"],
        &["status", "--rules"],
        &["status", "--format", "json"],
        &["events", "list"],
        &["events", "show", id],
        &["dead-letters", "list"],
        &["dead-letters", "show", &first],
        &["store", "status"],
        &["store", "verify"],
        &["store", "lanes", "list"],
    ];
    for request in looks {
        check(&gateway, &OWNER, request, Answer::Done);
        check(&gateway, &MEMBER, request, Answer::Done);
        check(&gateway, &STRANGER, request, Answer::Closed);
    }
    members_change_nothing(&gateway, &first);
    let backup = gateway.path("data/backup").display().to_string();
    let done: [&[&str]; 3] = [
        &["dead-letters", "retry", &first, "--to", "archive"],
        &["dead-letters", "drop", &second],
        &["store", "backup", &backup],
    ];
    for request in done {
        check(&gateway, &OWNER, request, Answer::Done);
    }
    let refused = gateway.events(&["--topic", "$tidegate/audit/control"]);
    assert!(!refused.is_empty(), "what was refused is told");
    assert_eq!(refused[0]["event"]["data"]["who"]["user"], "www-data");

    gateway.terminate();
    check(&gateway, &STRANGER, &["store", "status"], Answer::Closed);
    check(&gateway, &OWNER, &["store", "status"], Answer::Done);
    check(&gateway, &MEMBER, &["store", "status"], Answer::Done);
}

/// Whatever members ask to be changed is refused, and left as it was.
fn members_change_nothing(gateway: &Gateway, letter: &str) {
    let backup = gateway.path("data/backup").display().to_string();
    let changes: [&[&str]; 9] = [
        &["reload"],
        &["dead-letters", "drop", letter],
        &["dead-letters", "drop", "--yes", "--all"],
        &[
            "dead-letters",
            "drop",
            "--yes",
            "--all",
            "--upstream",
            "dead_letter",
        ],
        &["dead-letters", "retry", letter, "--to", "archive"],
        &["dead-letters", "retry", "--all", "--to", "archive"],
        &["store", "lanes", "drop", "old"],
        &["store", "lanes", "move", "old", "--to", "archive"],
        &["store", "backup", &backup],
    ];
    for request in changes {
        check(gateway, &MEMBER, request, Answer::OnlyLooks);
        check(gateway, &STRANGER, request, Answer::Closed);
    }
    assert_eq!(gateway.dead_letters().len(), 2, "nothing was changed");
    assert!(!gateway.path("data/backup").exists());
}

/// A configuration that is broken in one way, and whether it says still where the data lies.
struct Broken {
    what: &'static str,
    change: fn(&str) -> Option<String>,
    mode: u32,
    says_where: bool,
    /// A word that names what is wrong where it does not.
    word: &'static str,
}

impl Broken {
    const fn new(what: &'static str, change: fn(&str) -> Option<String>) -> Broken {
        Broken {
            what,
            change,
            mode: 0o644,
            says_where: true,
            word: "",
        }
    }

    const fn without(mut self, word: &'static str) -> Broken {
        self.says_where = false;
        self.word = word;
        self
    }
}

fn broken() -> Vec<Broken> {
    vec![
        Broken::new("nothing but the secret", |text| Some(text.to_owned())),
        Broken::new("an unknown key", |text| {
            Some(text.replace("id = ", "idd = "))
        }),
        Broken::new("an unknown section", |text| {
            Some(format!("{text}\n[nonsense]\na = 1\n"))
        }),
        Broken::new("an unknown type", |text| {
            Some(text.replace("\"file\"", "\"fils\""))
        }),
        Broken::new("a rules folder that is gone", |text| {
            Some(text.replace("rules = \"rules\"", "rules = \"ruels\""))
        }),
        Broken::new("a secret that is gone", |text| {
            Some(text.replace("cloud.password", "gone"))
        }),
        Broken::new("a variable that is not set", |text| {
            Some(text.replace("\"plant-a\"\npassword", "\"${NOBODY_SETS_THIS}\"\npassword"))
        }),
        Broken::new("a wrong size", |text| {
            Some(format!("{text}\n[store]\nmax_size = \"lots\"\n"))
        }),
        Broken::new("a line that is no TOML", |text| {
            Some(format!("{text}\n[store\n"))
        }),
        Broken::new("a text without its end", |text| {
            Some(text.replace("\"plant-a\"\npass", "\"plant-a\npass"))
        }),
        Broken::new("a key twice", |text| {
            Some(text.replace("user = ", "user = \"b\"\nuser = "))
        }),
        Broken::new("a heading in front that is none", |text| {
            Some(format!("[store\nx = 1\n{text}"))
        }),
        Broken::new("a data_dir twice", |text| {
            Some(text.replace("data_dir = ", "data_dir = \"other\"\ndata_dir = "))
        })
        .without("duplicate key"),
        Broken::new("a data_dir without its end", |text| {
            Some(text.replace("\"data\"", "\"data"))
        })
        .without("gateway.toml"),
        Broken::new("no data_dir", |text| {
            Some(text.replace("data_dir = \"data\"\n", ""))
        })
        .without("`data_dir`"),
        Broken::new("a misspelt data_dir", |text| {
            Some(text.replace("data_dir", "data_dri"))
        })
        .without("data_dri"),
        Broken::new("a data_dir of a variable that is not set", |text| {
            Some(text.replace("\"data\"", "\"${NOBODY_SETS_THIS}\""))
        })
        .without("NOBODY_SETS_THIS"),
        Broken::new("no file", |_| None).without("cannot read"),
        Broken {
            mode: 0o600,
            ..Broken::new("a file that is not readable", |text| Some(text.to_owned()))
                .without("permission denied")
        },
    ]
}

#[test]
fn number_8_a_broken_configuration_hides_no_gateway() {
    if !may_change("a broken configuration hides no gateway") {
        return;
    }
    let mut gateway = gateway("group = \"games\"");
    gateway.start();
    let [letter, _] = fill(&gateway);
    let path = gateway.path("gateway.toml");
    let config = path.display().to_string();
    let data = gateway.path("data").display().to_string();
    let whole = std::fs::read_to_string(&path).expect("a configuration");
    for case in broken() {
        let _ = std::fs::remove_file(&path);
        if let Some(text) = (case.change)(&whole) {
            let changed = text != whole || case.what.starts_with("nothing") || case.mode != 0o644;
            assert!(changed, "{}", case.what);
            std::fs::write(&path, text).expect("written");
            let mode = std::fs::Permissions::from_mode(case.mode);
            std::fs::set_permissions(&path, mode).expect("it is ours");
        }
        let requests: [&[&str]; 4] = [
            &["status"],
            &["events", "list"],
            &["dead-letters", "show", &letter],
            &["store", "status"],
        ];
        for request in requests {
            let output = MEMBER.run(&gateway, &[request, &["--config", &config]].concat());
            let text = said(&output);
            match case.says_where {
                true => assert!(output.status.success(), "{}: {text}", case.what),
                false => {
                    assert_eq!(output.status.code(), Some(78), "{}: {text}", case.what);
                    for word in [case.word, "--data-dir DIR"] {
                        assert!(text.contains(word), "{}: {word} in {text}", case.what);
                    }
                }
            }
            let output = MEMBER.run(&gateway, &[request, &["--data-dir", &data]].concat());
            assert!(output.status.success(), "{}: {}", case.what, said(&output));
        }
    }
    // Beside a store that lies there alone it is no other.
    std::fs::write(&path, whole).expect("written");
    gateway.terminate();
    let output = OWNER.run(&gateway, &["store", "status", "--data-dir", &data]);
    assert!(output.status.success(), "{}", said(&output));
    let output = MEMBER.run(
        &gateway,
        &["events", "list", "--data-dir", "/nowhere/at/all"],
    );
    let text = said(&output);
    assert!(
        !output.status.success() && text.contains("/nowhere/at/all"),
        "{text}"
    );
}

#[test]
fn number_8_where_the_group_cannot_be_let_in_that_is_said() {
    if !may_change("a group that cannot be let in") {
        return;
    }
    // The group, what is changed before the start, and words of the trouble.
    type Case = (&'static str, fn(&Gateway), &'static [&'static str]);
    let cases: [Case; 3] = [
        (
            "group = \"no-such-group\"",
            |_| (),
            &["no group `no-such-group`", "groupadd"],
        ),
        (
            "group = \"audio\"",
            |_| (),
            &[
                "cannot be given to the group `audio`",
                "SupplementaryGroups=audio",
                "chgrp audio",
            ],
        ),
        (
            "group = \"games\"",
            |gateway| {
                let closed = std::fs::Permissions::from_mode(0o700);
                std::fs::set_permissions(gateway.path(""), closed).expect("it is ours");
                let given = Command::new("chown")
                    .arg("daemon:daemon")
                    .arg(gateway.path(""))
                    .status();
                assert!(given.expect("chown runs").success());
            },
            &["lets the group `games` not through", "chmod o+x"],
        ),
    ];
    for (group, before, words) in cases {
        let mut gateway = gateway(group);
        before(&gateway);
        gateway.start();
        let told = wait::find("the trouble is told", || {
            let all = troubles(&gateway);
            let told = all
                .iter()
                .find(|line| line.contains("its group may not look"));
            told.cloned().ok_or_else(|| format!("{group}: {all:#?}"))
        });
        for word in words {
            assert!(told.contains(word), "{word} in {told}");
        }
        let socket = std::fs::metadata(gateway.path("data/tidegate.sock")).expect("a socket");
        assert_eq!(socket.mode() & 0o7777, 0o600, "{group}");
        gateway.terminate();
    }
}

/// What in its data is not the owner's.
fn of_others(gateway: &Gateway) -> String {
    let mut find = Command::new("find");
    find.arg(gateway.path("data"))
        .args(["!", "-user", "daemon"]);
    let output = find.output().expect("find runs");
    String::from_utf8_lossy(&output.stdout).into_owned()
}

#[test]
fn number_8_root_leaves_nothing_behind_that_the_owner_cannot_open() {
    if !may_change("root looks at a store whose gateway does not run") {
        return;
    }
    let mut gateway = gateway("");
    gateway.start();
    let [first, _] = fill(&gateway);
    gateway.terminate();
    let backup = gateway.path("data/backup").display().to_string();
    let requests: [&[&str]; 7] = [
        &["store", "status"],
        &["store", "verify"],
        &["events", "list"],
        &["dead-letters", "list"],
        &["dead-letters", "drop", &first],
        &["dead-letters", "drop", "--yes", "--all"],
        &["store", "backup", &backup],
    ];
    for request in requests {
        let output = gateway.ask(request);
        assert!(output.status.success(), "{request:?}: {}", said(&output));
        assert_eq!(of_others(&gateway), "", "{request:?}");
    }
    gateway.start();
    let told = wait::find("what was dropped by hand is told", || {
        let told = gateway.events(&["--topic", "$tidegate/audit/dead_letters"]);
        (told.len() == 2)
            .then_some(told)
            .ok_or_else(|| gateway.log())
    });
    let uids: Vec<_> = told
        .iter()
        .map(|told| &told["event"]["data"]["who"]["uid"])
        .collect();
    assert_eq!(uids, [0, 0], "root dropped them, whoever it went on as");
    gateway.terminate();
    std::fs::rename(gateway.path("data/store"), gateway.path("data/before")).expect("it is ours");
    let output = gateway.ask(&["store", "restore", &backup]);
    assert!(output.status.success(), "{}", said(&output));
    assert_eq!(of_others(&gateway), "");
    gateway.start();
    let change = gateway.events(&["--topic", "fine/#"]);
    assert_eq!(change.len(), 1, "it is all there");
}

#[test]
fn number_8_without_a_group_nobody_else_looks() {
    if !may_change("without a group") {
        return;
    }
    let mut gateway = gateway("");
    gateway.start();
    let config = gateway.path("gateway.toml").display().to_string();
    for user in [&MEMBER, &STRANGER] {
        let output = user.run(&gateway, &["status", "--config", &config]);
        let text = said(&output);
        assert_eq!(output.status.code(), Some(1), "{text}");
        for word in [
            "belongs to daemon:daemon (mode 0700)",
            user.name,
            "sudo -u daemon",
        ] {
            assert!(text.contains(word), "{word} for {}: {text}", user.name);
        }
    }
    let data = std::fs::metadata(gateway.path("data")).expect("a folder");
    assert_eq!(data.mode() & 0o7777, 0o700, "the folder is left as it is");
    check(&gateway, &OWNER, &["status"], Answer::Done);
}
