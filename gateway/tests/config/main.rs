//! The configuration: what is accepted, and the exact words for what is not.

mod sections;

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::time::Duration;

use tempfile::TempDir;
use tidegate::run::config::{self, Config};
use tidegate_rules::diagnostic::{Diagnostic, Sources};

/// A folder that configurations may point into.
struct Folder(TempDir);

impl Folder {
    fn new() -> Folder {
        let folder = tempfile::tempdir().expect("a temporary folder");
        std::fs::create_dir(folder.path().join("rules")).expect("the rules folder");
        Folder(folder)
    }

    fn write(&self, name: &str, text: &str, mode: u32) -> PathBuf {
        let path = self.0.path().join(name);
        std::fs::write(&path, text).expect("a file");
        let permissions = std::fs::Permissions::from_mode(mode);
        std::fs::set_permissions(&path, permissions).expect("its mode");
        path
    }

    fn parse(&self, text: &str) -> Result<Config, Vec<Diagnostic>> {
        let variable = |name: &str| match name {
            "PASSWORD" => Some("from the environment".to_owned()),
            "HOSTNAME" => Some("pi-7".to_owned()),
            _ => None,
        };
        config::parse(&self.0.path().join("gateway.toml"), text, &variable)
    }

    /// Messages as `line:column: severity: message (label)`.
    fn messages(&self, text: &str) -> Vec<String> {
        let found = match self.parse(text) {
            Ok(config) => config.warnings,
            Err(found) => found,
        };
        let file = self.0.path().join("gateway.toml").display().to_string();
        let folder = format!("{}/", self.0.path().display());
        let short = |d: &Diagnostic| {
            d.short()
                .replace(&format!("{file}:"), "")
                .replace(&folder, "")
        };
        found.iter().map(short).collect()
    }
}

/// The least that is accepted, in seven lines.
const LEAST: &str = r#"[gateway]
id = "a"
data_dir = "data"
[sources.s]
type = "mqtt-listener"
listen = "127.0.0.1:1883"
[upstreams.u]
type = "file"
path = "out.jsonl"
"#;

/// Checks that adding `lines` to the least configuration gives these messages, without their line numbers.
#[track_caller]
fn check(lines: &str, expected: &[&str]) {
    let found = Folder::new().messages(&format!("{LEAST}{lines}"));
    let found: Vec<&str> = found.iter().map(|m| without_place(m)).collect();
    assert_eq!(found, expected, "{lines}");
}

fn without_place(message: &str) -> &str {
    message
        .splitn(3, ':')
        .nth(2)
        .unwrap_or_default()
        .trim_start()
}

#[test]
fn the_least_configuration_has_every_default() {
    let config = Folder::new().parse(LEAST).expect("it is accepted");
    assert!(config.warnings.is_empty());
    assert_eq!(config.store.max_size_bytes, 2 << 30);
    assert_eq!(config.store.commit_delay_max, Duration::from_millis(5));
    assert_eq!(config.store.keep_for, Duration::from_secs(24 * 3600));
    assert_eq!(config.gateway.rules, None);
    assert_eq!(config.api.listen, None);
    let config::SourceKind::MqttListener(listener) = &config.sources[0].kind else {
        panic!("{:?}", config.sources);
    };
    assert!(listener.anonymous && listener.users.is_empty());
    assert_eq!(listener.payload_bytes_max, 256 * 1024);
    let lane = &config.upstreams[0].lane;
    assert_eq!((lane.inflight_max, lane.inflight_bytes_max), (256, 4 << 20));
    assert_eq!((lane.rate_max, lane.bandwidth_bytes_max), (None, None));
    assert_eq!(lane.retry_min, Duration::from_millis(250));
}

#[test]
fn a_configuration_with_five_mistakes_shows_five_errors() {
    let text = r#"
[gateway]
id = "plant-a"
data_dri = "/var/lib/tidegate"

[store]
max_size = "2GB"
keep_for = 24

[sources.floor]
type = "mqtt-listner"

[upstreams.cloud]
type = "mqtt"
url = "broker.example:1883"
"#;
    let expected = [
        "4:1: error: unknown key `data_dri` in [gateway] (did you mean `data_dir`?)",
        "7:12: error: `max_size` takes a size such as \"2GiB\", not \"2GB\" (write \"2GiB\")",
        "8:12: error: `keep_for` needs a unit (write \"24h\" if that is what you mean)",
        "11:8: error: `mqtt-listner` is no type of [sources.floor] (did you mean \"mqtt-listener\"?)",
        "15:7: error: `broker.example:1883` is no url such as \"mqtts://host\"",
    ];
    assert_eq!(Folder::new().messages(text), expected);
}

#[test]
fn an_error_is_a_picture_with_a_caret_and_the_way_out() {
    let folder = Folder::new();
    let text = format!("{LEAST}[store]\ncommit_delay_max = \"5 millis\"\n");
    let found = folder.parse(&text).expect_err("it is refused");
    let file = found[0].file.clone();
    let sources = Sources::new([(file.as_str(), text.as_str())]);
    let picture = found[0]
        .render(&sources, false)
        .replace(&file, "gateway.toml");
    let expected = "\
error: `commit_delay_max` takes a duration such as \"5ms\", not \"5 millis\"
  --> gateway.toml:11:20
   |
11 | commit_delay_max = \"5 millis\"
   |                    ^^^^^^^^^^ write \"5ms\"";
    assert_eq!(picture, expected);
}

#[test]
fn a_password_in_the_file_is_refused_and_never_shown_again() {
    let folder = Folder::new();
    let text = format!(
        "{LEAST}[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtt://me:hunter2@h\"\nuser = \"me\"\npassword = \"hunter3\"\n"
    );
    let path = folder.write("gateway.toml", &text, 0o600);
    let found = config::load(&path).expect_err("it is refused");
    let picture = config::render(&found, false);
    assert!(
        picture.contains("a login does not belong into the url"),
        "{picture}"
    );
    assert!(
        picture.contains("`password` is written into the file"),
        "{picture}"
    );
    let debug = format!("{found:?}");
    for secret in ["hunter2", "hunter3"] {
        assert!(!picture.contains(secret), "{picture}");
        assert!(!debug.contains(secret), "{debug}");
    }
}

#[test]
fn mistakes_in_values_say_what_to_write() {
    check(
        "[store]\nkeep_for = 24",
        &["error: `keep_for` needs a unit (write \"24h\" if that is what you mean)"],
    );
    check(
        "[store]\nmax_size = 4096",
        &["error: `max_size` needs a unit (write \"4096B\" if that is what you mean)"],
    );
    check(
        "[store]\nmax_size = true",
        &["error: `max_size` takes a size such as \"2GiB\", not true or false"],
    );
    check(
        "[store]\nkeep_for = \"soon\"",
        &["error: `keep_for` takes a duration such as \"24h\", not \"soon\""],
    );
    check(
        "[store]\ncommit_delay_max = \"5s\"",
        &["error: `commit_delay_max` is out of range: \"5s\" (allowed are 0ms to 1s)"],
    );
    check(
        "[store]\ncommit_delay = \"50ms\"",
        &["error: `commit_delay` is more than `commit_delay_max` (raise commit_delay_max as well)"],
    );
    check(
        "[store]\nendurance = \"lots\"",
        &["error: `endurance` takes a size such as \"1GiB\", not \"lots\""],
    );
    check(
        "[store]\nwhen_full = \"drop\"",
        &["error: `drop` is no when_full of [store]"],
    );
    check(
        "[store]\nmax_size = \"8MiB\"\ngeneration_size = \"2MiB\"",
        &[
            "error: `generation_size` is more than an eighth of `max_size` (write generation_size = \"1MiB\" or less)",
        ],
    );
    check(
        "[api]\nlisten = 9884",
        &["error: `listen` takes an address such as \"127.0.0.1:1883\", not a whole number"],
    );
    check(
        "[api]\nlisten = \":9884\"",
        &["error: `:9884` is no address:port (write \"127.0.0.1:9884\")"],
    );
    check(
        "[stor]",
        &["error: unknown section `stor` (did you mean `store`?)"],
    );
    check(
        "[sources]\nx = 1",
        &["error: `x` in [sources] is no section (write [sources.NAME] and its keys below)"],
    );
}

#[test]
fn a_secret_file_is_closed_to_others() {
    let folder = Folder::new();
    folder.write("open", "s3cret\n", 0o644);
    folder.write("closed", "s3cret\n", 0o600);
    folder.write("empty", "\n", 0o600);
    let with = |file: &str| {
        format!(
            "{LEAST}[upstreams.m]\ntype = \"mqtt\"\nurl = \"mqtts://h\"\nuser = \"a\"\npassword_file = \"{file}\""
        )
    };
    let refused = |file: &str| folder.messages(&with(file));
    assert_eq!(
        refused("open"),
        ["14:17: error: open is open to everyone on this machine (mode 0644)"]
    );
    assert_eq!(refused("empty"), ["14:17: error: empty is empty"]);
    assert_eq!(
        refused("absent"),
        ["14:17: error: cannot read absent: no such file or directory"]
    );
    let config = folder.parse(&with("closed")).expect("it is accepted");
    let config::UpstreamKind::Mqtt(mqtt) = &config.upstreams[1].kind else {
        panic!("{:?}", config.upstreams);
    };
    let (user, password) = mqtt.broker.login.as_ref().expect("a login");
    assert_eq!((user.as_str(), password.reveal()), ("a", "s3cret"));
    assert!(!format!("{config:?}").contains("s3cret"));
}

#[test]
fn certificates_and_keys_are_what_they_are_said_to_be() {
    let folder = Folder::new();
    let pair = rcgen::generate_simple_self_signed(["g".to_owned()]).expect("a certificate");
    folder.write("cert.pem", &pair.cert.pem(), 0o644);
    folder.write("key.pem", &pair.signing_key.serialize_pem(), 0o600);
    folder.write("open.pem", &pair.signing_key.serialize_pem(), 0o644);
    let refused = |cert: &str, key: &str| {
        folder.messages(&format!(
            "{LEAST}[sources.x]\ntype = \"http\"\nlisten = \"127.0.0.1:1\"\ntls = {{ cert = \"{cert}\", key = \"{key}\" }}"
        ))
    };
    assert!(refused("cert.pem", "key.pem").is_empty());
    assert_eq!(
        refused("key.pem", "cert.pem"),
        [
            "13:16: error: key.pem holds a private key and no certificate",
            "13:33: error: cert.pem is open to everyone on this machine (mode 0644)",
        ]
    );
    assert_eq!(
        refused("absent.pem", "open.pem"),
        [
            "13:16: error: cannot read absent.pem: no such file or directory",
            "13:36: error: open.pem is open to everyone on this machine (mode 0644)",
        ]
    );
}

#[test]
fn only_where_a_certificate_logs_in_may_a_user_have_no_password() {
    let folder = Folder::new();
    let pair = rcgen::generate_simple_self_signed(["g".to_owned()]).expect("a certificate");
    folder.write("cert.pem", &pair.cert.pem(), 0o644);
    folder.write("key.pem", &pair.signing_key.serialize_pem(), 0o600);
    let without = |kind: &str, client_ca: &str| {
        let said = folder.messages(&format!(
            "{LEAST}[sources.x]\ntype = \"{kind}\"\nlisten = \"127.0.0.1:1\"\n\
             tls = {{ cert = \"cert.pem\", key = \"key.pem\"{client_ca} }}\nusers.a = {{}}"
        ));
        said.iter().any(|line| line.contains("has no password"))
    };
    let client_ca = ", client_ca = \"cert.pem\"";
    assert!(!without("mqtt-listener", client_ca));
    assert!(without("mqtt-listener", ""));
    assert!(without("http", client_ca));
}

#[test]
fn variables_are_filled_in_and_paths_are_relative_to_the_file() {
    let folder = Folder::new();
    let text = LEAST.replace("id = \"a\"", "id = \"${HOSTNAME}\"\nrules = \"rules\"");
    let config = folder.parse(&text).expect("it is accepted");
    assert_eq!(config.gateway.id, "pi-7");
    assert_eq!(config.gateway.data_dir, folder.0.path().join("data"));
    assert_eq!(config.gateway.rules, Some(folder.0.path().join("rules")));
    let absent = text.replace("\"rules\"", "\"absent\"");
    assert_eq!(
        folder.messages(&absent),
        ["3:9: error: absent does not exist"]
    );
}

#[test]
fn a_gateway_with_nothing_to_do_says_so() {
    let only = |sections: &str| format!("[gateway]\nid = \"a\"\ndata_dir = \"d\"\n{sections}");
    let source = "[sources.s]\ntype = \"mqtt-listener\"\nlisten = \"127.0.0.1:1883\"\n";
    let upstream = "[upstreams.u]\ntype = \"file\"\npath = \"o\"\n";
    let folder = Folder::new();
    assert_eq!(
        folder.messages(&only("")),
        ["1:2: error: there are no sources and no upstreams"]
    );
    assert_eq!(
        folder.messages(&only(source)),
        ["1:2: warning: there are no upstreams"]
    );
    assert_eq!(
        folder.messages(&only(upstream)),
        ["1:2: warning: there are no sources"]
    );
    assert_eq!(
        folder.messages(""),
        [
            "1:1: error: section `[gateway]` is missing",
            "1:1: error: there are no sources and no upstreams"
        ]
    );
}

#[test]
fn a_file_that_is_no_toml_says_where() {
    let folder = Folder::new();
    assert_eq!(
        folder.messages("[gateway]\nid = plant\n"),
        ["2:6: error: string values must be quoted, expected literal string"]
    );
    let absent = config::load(Path::new("/nonexistent/gateway.toml")).expect_err("it is absent");
    assert_eq!(
        absent[0].message,
        "cannot read /nonexistent/gateway.toml: no such file or directory"
    );
}
