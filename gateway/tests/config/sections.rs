//! Sections by type: listeners, users, ports, upstreams, and what they claim at once.

use super::check;

#[test]
fn nothing_is_open_to_the_network_by_accident() {
    let open = "can be reached from other machines and asks for no login";
    let s = "[sources.x]\ntype = \"mqtt-listener\"\n";
    check(
        &format!("{s}listen = \"0.0.0.0:1884\""),
        &[&format!(
            "error: 0.0.0.0:1884 {open} (write 127.0.0.1:1884 to stay on this machine)"
        )],
    );
    check(
        &format!("{s}listen = \"0.0.0.0:1884\"\nanonymous = true"),
        &[],
    );
    check(&format!("{s}listen = \"[::1]:1884\""), &[]);
    check(
        &format!(
            "{s}listen = \"0.0.0.0:1884\"\nusers = {{ a = {{ password_hash = \"$argon2id$x\" }} }}"
        ),
        &[
            "warning: passwords for 0.0.0.0:1884 travel in the clear (add tls = { cert = \"…\", key = \"…\" })",
        ],
    );
    check(
        &format!("{s}listen = \"127.0.0.1:1884\"\nusers = {{}}"),
        &["error: `users` is empty: nobody could log in"],
    );
    check(
        "[api]\nlisten = \"0.0.0.0:9884\"",
        &[&format!(
            "error: 0.0.0.0:9884 {open} (write 127.0.0.1:9884 to stay on this machine)"
        )],
    );
}

#[test]
fn users_have_hashes_and_topics() {
    let s = "[sources.x]\ntype = \"http\"\nlisten = \"127.0.0.1:8080\"\n";
    let user = |keys: &str| format!("{s}users = {{ ann = {{ {keys} }} }}");
    check(
        &user("password_hash = \"$argon2id$x\", publish = [\"a/{user}/#\"]"),
        &[],
    );
    check(&user(""), &["error: user `ann` has no password"]);
    check(
        &user("password_hash = \"secret\""),
        &["error: `password_hash` is no argon2 hash"],
    );
    check(
        &user("password_hash = \"$argon2id$x\", publish = [\"a/#/b\"]"),
        &[
            "error: `a/#/b` is no topic filter: `#` matches all remaining levels and must be the last level",
        ],
    );
    check(
        &user("password_hash = \"$argon2id$x\", publish = [\"{usr}/#\"]"),
        &["error: `{usr}` is nothing that `publish` knows (did you mean `{user}`?)"],
    );
    check(
        &user("password_hash = \"$argon2id$x\", pubish = []"),
        &["error: unknown key `pubish` in user `ann` (did you mean `publish`?)"],
    );
    check(
        &format!("{s}users = {{ \"a/b\" = {{ password_hash = \"$argon2id$x\" }} }}"),
        &["error: `a/b` is no user name: `+ # / :` are not allowed"],
    );
}

#[test]
fn names_can_be_used_in_rules() {
    let named = |name: &str| format!("[upstreams.{name}]\ntype = \"file\"\npath = \"x\"");
    check(&named("cloud_2"), &[]);
    check(
        &named("Plant-A"),
        &["error: `Plant-A` is no name of an upstream (write `plant_a`)"],
    );
    check(
        &named("dead_letter"),
        &["error: `dead_letter` is the destination of dead letters (choose another name)"],
    );
    check(
        &named("u"),
        &["error: duplicate key; the first one is in line 7"],
    );
}

#[test]
fn upstreams_say_what_they_cannot_do() {
    let mqtt = "[upstreams.m]\ntype = \"mqtt\"\n";
    check(
        "[upstreams.k]\ntype = \"kafka\"",
        &["error: the upstream `kafka` comes with a later version"],
    );
    check(
        "[upstreams.k]\ntype = \"kafak\"",
        &["error: `kafak` is no type of [upstreams.k]"],
    );
    check(
        "[upstreams.k]\npath = \"x\"",
        &["error: [upstreams.k] lacks the key `type`"],
    );
    check(
        &format!("{mqtt}url = \"mqtt://h\"\nqos = 0"),
        &["error: `qos` is out of range: 0 (allowed are 1 to 2)"],
    );
    check(
        &format!("{mqtt}url = \"tcp://h\""),
        &["error: `tcp://` is not spoken here (write \"mqtt://h\")"],
    );
    check(
        &format!("{mqtt}url = \"mqtt://h:99999\""),
        &["error: `h:99999` is no host or host:port"],
    );
    check(
        &format!("{mqtt}url = \"mqtt://h\"\nversion = 5"),
        &["error: `version` takes text, not a whole number (write \"5\")"],
    );
    check(
        &format!("{mqtt}url = \"mqtt://h\"\ntopic = \"a/#\""),
        &["error: `a/#` is no topic to publish under"],
    );
    check(
        &format!("{mqtt}url = \"mqtt://h\"\ntopic = \"{{topc}}\""),
        &["error: `{topc}` is nothing that `topic` knows (did you mean `{topic}`?)"],
    );
    check(
        &format!(
            "{mqtt}url = \"mqtt://broker.example\"\nuser = \"a\"\npassword = \"${{PASSWORD}}\""
        ),
        &["warning: the password goes to broker.example in the clear (mqtts:// would encrypt it)"],
    );
    check(
        &format!("{mqtt}url = \"mqtts://h\"\nuser = \"a\"\npassword = \"${{PASWORD}}\""),
        &["error: the environment variable `PASWORD` is not set"],
    );
    check(
        &format!("{mqtt}url = \"mqtt://h\"\nretry_min = \"1m\""),
        &["error: `retry_min` is longer than `retry_max`"],
    );
}

#[test]
fn one_thing_is_claimed_once() {
    check(
        "[sources.x]\ntype = \"http\"\nlisten = \"127.0.0.1:1883\"",
        &["error: [sources.s] and [sources.x] both listen on 127.0.0.1:1883"],
    );
    check(
        "[upstreams.v]\ntype = \"file\"\npath = \"out.jsonl\"",
        &["error: [upstreams.u] and [upstreams.v] both use out.jsonl"],
    );
    check(
        "[sources.m]\ntype = \"mqtt\"\nurl = \"mqtt://h\"\ntopics = [\"a/#\"]\n[upstreams.m]\ntype = \"mqtt\"\nurl = \"mqtt://h\"\ntopic = \"b/{topic}\"",
        &[
            "error: [sources.m] and [upstreams.m] would connect to one broker with the client id `a-m`; set `client_id` on one of them",
        ],
    );
}

#[test]
fn an_upstream_at_the_gateways_own_listener_is_told() {
    for (listen, url, own) in [
        ("127.0.0.1:1999", "mqtt://localhost:1999", true),
        ("127.0.0.1:1999", "mqtt://127.0.0.2:1999", true),
        ("[::1]:1999", "mqtt://localhost:1999", true),
        ("0.0.0.0:1999", "mqtt://127.0.0.1:1999", true),
        ("[::]:1999", "mqtt://[::1]:1999", true),
        ("192.0.2.7:1999", "mqtt://192.0.2.7:1999", true),
        ("192.0.2.7:1999", "mqtt://localhost:1999", false),
        ("127.0.0.1:1999", "mqtt://localhost:1998", false),
        ("0.0.0.0:1999", "mqtt://broker.example:1999", false),
    ] {
        let told = "warning: [upstreams.out] publishes to this gateway's own [sources.m]";
        check(
            &format!(
                "[sources.m]\ntype = \"mqtt-listener\"\nlisten = \"{listen}\"\nanonymous = true\n\
                 [upstreams.out]\ntype = \"mqtt\"\nurl = \"{url}\""
            ),
            &[told][..usize::from(own)],
        );
    }
}

#[test]
fn what_would_wait_for_ever_is_told() {
    let letters = |more: &str| format!("[dead_letters]\nwhen_full = \"refuse\"\n{more}");
    let source = |bytes: &str| {
        format!(
            "[sources.x]\ntype = \"http\"\nlisten = \"127.0.0.1:1999\"\nmax_payload = \"{bytes}\"\n"
        )
    };
    let told = |payload: &str, bound: &str| {
        format!(
            "warning: [sources.x] takes payloads of {payload}, and all dead letters may have {bound}: one that does not fit waits for ever"
        )
    };
    let cases = [
        (
            source("1MiB") + &letters("max_size = \"1MiB\""),
            Some(("1MiB", "1MiB")),
        ),
        (
            source("16MiB") + &letters("max_size = \"8MiB\""),
            Some(("16MiB", "8MiB")),
        ),
        // An eighth of the store, 2 GiB here, and a 32nd of it.
        (source("16MiB") + &letters("max_size = \"16TiB\""), None),
        (source("16MiB") + &letters(""), None),
        (
            source("1MiB") + "[dead_letters]\nmax_size = \"512KiB\"",
            None,
        ),
    ];
    for (text, expected) in cases {
        let expected = expected.map(|(payload, bound)| told(payload, bound));
        let expected: Vec<&str> = expected.iter().map(String::as_str).collect();
        check(&text, &expected);
    }
    check(
        "[upstreams.v]\ntype = \"file\"\npath = \"/dev/null\"",
        &["warning: /dev/null is no regular file"],
    );
}

#[test]
fn a_source_that_takes_back_what_an_upstream_gives_is_told() {
    for (topics, url, topic, goes_round) in [
        ("#", "mqtt://h", "{topic}", true),
        ("a/#", "mqtt://h:1883", "{topic}", true),
        ("a/+/b", "mqtt://h", "{topic}", true),
        ("#", "mqtt://h", "central/{topic}", true),
        ("a/#", "mqtt://h", "a/{publisher}", true),
        ("a/#", "mqtt://h", "central/{topic}", false),
        ("a/#", "mqtt://h", "b", false),
        ("#", "mqtt://other", "{topic}", false),
        ("#", "mqtt://h:1884", "{topic}", false),
    ] {
        let told = "warning: what [upstreams.out] publishes comes in again by [sources.m]: both are at one broker, \
             and its `topics` match";
        check(
            &format!(
                "[sources.m]\ntype = \"mqtt\"\nurl = \"mqtt://h\"\ntopics = [\"{topics}\"]\n\
                 [upstreams.out]\ntype = \"mqtt\"\nurl = \"{url}\"\ntopic = \"{topic}\""
            ),
            &[told][..usize::from(goes_round)],
        );
    }
}

#[test]
fn texts_that_mqtt_does_not_carry_are_told_with_their_place() {
    let long = "x".repeat(65_536);
    let characters = [
        ("\\u0001", "U+0001"),
        ("\\n", "U+000A"),
        ("\\u001f", "U+001F"),
        ("\\u007f", "U+007F"),
        ("\\u0085", "U+0085"),
        ("\\ufdd0", "U+FDD0"),
        ("\\uffff", "U+FFFF"),
        ("\\U0010ffff", "U+10FFFF"),
    ];
    let keys = [
        ("upstreams.v", "", "client_id"),
        ("upstreams.v", "", "user"),
        ("upstreams.v", "", "topic"),
        ("sources.v", "topics = [\"a\"]\n", "client_id"),
        ("sources.v", "topics = [\"a\"]\n", "user"),
        ("sources.v", "", "topics"),
    ];
    for (section, more, key) in keys {
        let with = |value: &str| {
            let value = match key {
                "topics" => format!("[\"{value}\"]"),
                _ => format!("\"{value}\""),
            };
            format!(
                "[{section}]\ntype = \"mqtt\"\nurl = \"mqtt://localhost:1884\"\n{more}{key} = {value}"
            )
        };
        for (written, named) in characters {
            let error =
                format!("error: `{key}` has the character {named}, which MQTT does not carry");
            check(&with(&format!("a{written}b")), &[&error]);
        }
        let error = format!("error: `{key}` has 65536 bytes; MQTT carries at most 65535");
        check(&with(&long), &[&error]);
        check(&with("grün \u{1f321}"), &[]);
    }
}

#[cfg(feature = "serial")]
#[test]
fn serial_ports_are_named_or_matched() {
    let serial = "[sources.p]\ntype = \"serial\"\n";
    check(&format!("{serial}port = \"/dev/ttyACM0\""), &[]);
    check(
        &format!("{serial}match = {{ vid = \"2e8a\", serial = \"E661\" }}"),
        &[],
    );
    check(
        serial,
        &["error: [sources.p] lacks the key `port` or `match`"],
    );
    check(
        &format!("{serial}match = {{ vid = 2 }}"),
        &["error: `vid` takes text, not a whole number (write \"2\")"],
    );
    check(
        &format!("{serial}match = {{ vid = \"2e8ag\" }}"),
        &["error: `2e8ag` is no USB id of four hexadecimal digits"],
    );
    let lines = "[sources.p]\ntype = \"lines\"\nport = \"/dev/ttyUSB0\"\n";
    check(
        &format!("{lines}format = \"csv\"\ncolumns = [\"a\", \"b\"]"),
        &[],
    );
    check(
        &format!("{lines}format = \"csv\""),
        &[
            "error: csv lines need the names of their columns (add columns = [\"time\", \"temperature\"])",
        ],
    );
    check(
        &format!("{lines}format = \"json\"\ndelimiter = \";\""),
        &["error: `delimiter` goes with format = \"csv\" only"],
    );
    check(
        &format!("{lines}format = \"text\"\ndecimal = \",\""),
        &["error: `decimal` goes with format = \"csv\" only"],
    );
}

#[cfg(feature = "serial")]
const BAD_LINES: &[(&str, &str)] = &[
    (
        "columns = [\"t flaot\"]",
        "error: `flaot` is no type of a column, which is text, int, float, bool or any; a name with a blank in it \
             needs one: \"t flaot any\"",
    ),
    (
        "columns = [\"t float\", \"t\"]",
        "error: there are two columns `t`",
    ),
    ("columns = [\"\"]", "error: a column needs a name"),
    (
        "columns = [\"t\", \"n int\"]\ndecimal = \",\"\ndelimiter = \";\"",
        "error: `decimal` is for columns of the type `float`, and there are none (name the type behind the column: \
             columns = [\"t float\"])",
    ),
    (
        "columns = [\"t float\"]\ndecimal = \";\"",
        "error: `;` is no decimal of [sources.p] (did you mean \".\"?)",
    ),
    (
        "columns = [\"t float\"]\ndecimal = \",\"",
        "warning: the comma ends a column, so that a number with one needs quotes around it (set delimiter = \
             \";\" if the lines have that)",
    ),
    (
        "columns = [\"t\"]\ndelimiter = \"\\\"\"",
        "error: quotes, line ends and NUL cannot stand between columns",
    ),
    (
        "columns = [\"t\"]\ndelimiter = \"::\"",
        "error: `delimiter` takes one ASCII character",
    ),
    (
        "columns = [\"t\"]\ndelimiter = \"\"",
        "error: `delimiter` takes one ASCII character",
    ),
    (
        "columns = [\"t\"]\nencoding = \"latin-9\"",
        "error: `latin-9` is no encoding that is known here: write utf-8, windows-1252, iso-8859-15, koi8-r, \
             shift_jis, gbk, …",
    ),
    (
        "columns = [\"t\"]\nencoding = \"utf-16\"",
        "error: lines cannot be read as UTF-16LE: the bytes of their ends are also parts of other characters",
    ),
    (
        "columns = [\"t\"]\nparity = \"mark\"",
        "error: `mark` is no parity of [sources.p]",
    ),
    (
        "columns = [\"t\"]\ndata_bits = 9",
        "error: `data_bits` is out of range: 9 (allowed are 5 to 8)",
    ),
    (
        "columns = [\"t\"]\nstop_bits = 0",
        "error: `stop_bits` is out of range: 0 (allowed are 1 to 2)",
    ),
    (
        "columns = [\"t\"]\ndtr = \"on\"",
        "error: `dtr` takes true or false, not text",
    ),
];

#[cfg(feature = "serial")]
#[test]
fn columns_have_names_and_types() {
    let csv = "[sources.p]\ntype = \"lines\"\nport = \"/dev/ttyUSB0\"\nformat = \"csv\"\n";
    for good in [
        "columns = [\"t float\", \"id text\", \"n int\", \"on bool\", \"x\", \"air temp any\"]",
        "columns = [\"t float\"]\ndecimal = \",\"\ndelimiter = \";\"",
        "columns = [\"t\"]\ndelimiter = \"\\t\"",
        "columns = [\"t\"]\nencoding = \"windows-1252\"\nparity = \"even\"\ndata_bits = 7\nstop_bits = 2\ndtr = false\nrts = true",
    ] {
        check(&format!("{csv}{good}"), &[]);
    }
    for (bad, expected) in BAD_LINES {
        check(&format!("{csv}{bad}"), &[*expected]);
    }
}
