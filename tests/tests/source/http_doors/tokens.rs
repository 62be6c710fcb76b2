//! Bearer tokens.

use std::net::SocketAddr;
use std::os::unix::fs::PermissionsExt;
use std::process::Command;

use tidegate_tests::gateway::Gateway;

use crate::{post, start, with_hooks};

const TOKEN: &str = "press-7.0123456789abcdef~+/==";
const OVEN: &str = "oven-0123456789abcdef";

/// Users in a gateway's folder, whose tokens are `TOKEN` and `OVEN`.
fn users(gateway: &Gateway) -> String {
    let file = gateway.path("press.token");
    std::fs::write(&file, format!("{TOKEN}\n")).expect("a file");
    std::fs::set_permissions(&file, std::fs::Permissions::from_mode(0o600)).expect("its mode");
    let mut sum = Command::new("sh");
    sum.args(["-c", &format!("printf %s {OVEN} | sha256sum")]);
    let sum = sum.output().expect("sha256sum runs").stdout;
    let sum = String::from_utf8_lossy(&sum[..64]).to_uppercase();
    let password = "$argon2id$v=19$m=19456,t=2,p=1$c29tZXNhbHRzb21lc2FsdA$c1mJp0zQ6s0oZcJd0tO0kz8n9mZ1m6f2b5l8uV0Yx3A";
    format!(
        "users = {{ press = {{ bearer_file = \"press.token\", publish = [\"hall/#\"] }}, \
         oven = {{ bearer_hash = \"{sum}\", password_hash = \"{password}\", publish = [\"oven\"] }}, \
         lamp = {{ password_hash = \"{password}\", publish = [\"#\"] }} }}\n"
    )
}

/// A gateway with those users.
fn with_users() -> (Gateway, SocketAddr) {
    let (gateway, hooks) = with_hooks("");
    let config = gateway.path("gateway.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let text = format!("{text}{}", users(&gateway));
    std::fs::write(&config, text).expect("a configuration");
    (gateway, hooks)
}

#[test]
fn a_bearer_token_is_the_login_of_its_user_alone() {
    let (mut gateway, hooks) = with_users();
    start(&mut gateway, hooks);
    for (path, login, status, publisher) in [
        ("/topics/hall/7", format!("Bearer {TOKEN}"), 200, "press"),
        ("/topics/hall/7", format!("bearer  {TOKEN} "), 200, "press"),
        ("/topics/oven", format!("BEARER {OVEN}"), 200, "oven"),
        ("/topics/oven", format!("Bearer {TOKEN}"), 403, ""),
        ("/topics/hall/7", format!("Bearer {OVEN}"), 403, ""),
        ("/topics/hall/7", format!("Bearer {TOKEN}x"), 401, ""),
        ("/topics/hall/7", "Bearer ".to_owned(), 401, ""),
        ("/topics/hall/7", format!("Token {TOKEN}"), 401, ""),
        ("/topics/hall/7", TOKEN.to_owned(), 401, ""),
        // `press:` and `press:` with the token: a user without a password has none, not an empty one.
        ("/topics/hall/7", "Basic cHJlc3M6".to_owned(), 401, ""),
    ] {
        let headers = format!("Authorization: {login}\r\n");
        let answer = post(hooks, path, &headers, b"1");
        let expected = format!("HTTP/1.1 {status}");
        assert!(
            answer.starts_with(&expected),
            "{path} {login} {publisher}\n{answer}"
        );
        for challenge in ["basic realm", "bearer realm"] {
            let challenge = format!("www-authenticate: {challenge}");
            let is_asked = answer.to_lowercase().contains(&challenge);
            assert_eq!(is_asked, status == 401, "{login}\n{answer}");
        }
    }
    let log = gateway.whole_log();
    assert!(log.contains("the bearer token is of none of"), "{log}");
    assert!(
        log.contains("127.0.0.1") && !log.contains("0123456789abcdef"),
        "{log}"
    );
}

/// Keys of a user `x`, the mode and text of the file `x.token`, and what `check` says.
const BAD_TOKENS: &[(&str, u32, &str, &str)] = &[
    (
        "bearer_file = \"x.token\"",
        0o644,
        TOKEN,
        "open to everyone",
    ),
    (
        "bearer_file = \"x.token\"",
        0o600,
        "short",
        "shorter than 16",
    ),
    ("bearer_file = \"x.token\"", 0o600, "", "is empty"),
    (
        "bearer_file = \"x.token\"",
        0o600,
        "0123456789abcdef\nsecond",
        "2 lines, and a secret is one",
    ),
    (
        "bearer_file = \"x.token\"",
        0o600,
        "\u{feff}0123456789abcdef",
        "a byte order mark",
    ),
    (
        "bearer_file = \"x.token\"",
        0o600,
        TOKEN,
        "the same bearer token",
    ),
    ("bearer_file = \"none.token\"", 0o600, "", "cannot read"),
    ("bearer_hash = \"abc\"", 0o600, "", "64 hexadecimal digits"),
    (
        "bearer_hash = \"abc\", bearer_file = \"x.token\"",
        0o600,
        TOKEN,
        "say the same thing twice",
    ),
];

#[test]
fn a_token_that_cannot_work_is_told_by_check() {
    for (keys, mode, text, what) in BAD_TOKENS {
        let (gateway, _) = with_users();
        gateway.write("x.token", text);
        let permissions = std::fs::Permissions::from_mode(*mode);
        std::fs::set_permissions(gateway.path("x.token"), permissions).expect("its mode");
        let config = gateway.path("gateway.toml");
        let before = std::fs::read_to_string(&config).expect("a configuration");
        let after = before.replace("lamp = {", &format!("x = {{ {keys} }}, lamp = {{"));
        std::fs::write(&config, after).expect("a configuration");
        let checked = gateway.ask(&["check"]);
        let said = String::from_utf8_lossy(&checked.stderr);
        assert!(!checked.status.success(), "{keys} {text:?}");
        assert!(said.contains(what), "{keys} {text:?}: {what}\n{said}");
        assert!(!said.contains("0123456789abcdef"), "{said}");
    }
}

#[test]
fn a_listener_of_mqtt_takes_no_token() {
    let (gateway, _) = with_hooks("");
    let config = gateway.path("gateway.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    let users = "type = \"mqtt-listener\"\nusers = { x = { bearer_hash = \"abc\" } }";
    let text = text.replace("type = \"mqtt-listener\"", users);
    std::fs::write(&config, text).expect("a configuration");
    let said = gateway.ask(&["check"]);
    let said = String::from_utf8_lossy(&said.stderr);
    assert!(said.contains("unknown key `bearer_hash`"), "{said}");
}
