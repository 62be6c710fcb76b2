//! A hundred secrets go in at every door that takes some, and come out at none: not in the log at TRACE, nor in a status, a
//! metric, an event, a message about a broken configuration, a list of processes or a file beside the data.

use std::cell::Cell;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::process::Command;

use tidegate_tests::gateway::{Gateway, binary};
use tidegate_tests::mqtt::{self, packet};
use tidegate_tests::peer::mosquitto::Mosquitto;
use tidegate_tests::peer::webhook::{self, Reaction};
use tidegate_tests::{port, wait};

/// The secrets, numbered; each begins so that any of them is found by one look.
const MARK: &str = "cAnArY";

struct Canaries(Cell<u32>);

impl Canaries {
    fn next(&self) -> String {
        self.0.set(self.0.get() + 1);
        format!("{MARK}{:03}zqxjkvbpyw", self.0.get())
    }
}

/// What an encoding makes of the mark, wherever it stands among other bytes.
fn marks() -> Vec<String> {
    let mut marks = vec![MARK.to_owned()];
    const DIGITS: &[u8; 64] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789+/";
    for shift in 0..3 {
        let bytes = [&[0; 2][..shift], MARK.as_bytes()].concat();
        let whole = bytes.chunks_exact(3).map(|three| {
            let number = three
                .iter()
                .fold(0_u32, |number, byte| number << 8 | u32::from(*byte));
            let digit = |at: u32| char::from(DIGITS[(number >> (18 - 6 * at) & 63) as usize]);
            (0..4).map(digit).collect::<String>()
        });
        // The first digits depend on what stands before.
        marks.push(whole.collect::<String>()[if shift == 0 { 0 } else { 4 }..].to_owned());
    }
    marks.push(MARK.bytes().map(|byte| format!("{byte:02x}")).collect());
    let bytes: Vec<String> = MARK.bytes().map(|byte| byte.to_string()).collect();
    marks.push(bytes.join(", "));
    marks
}

/// That none of them is in what was said.
fn none_in(what: &str, bytes: &[u8]) {
    let text = String::from_utf8_lossy(bytes);
    for mark in marks() {
        let found = text.lines().find(|line| line.contains(&mark));
        assert!(found.is_none(), "{what}: {found:?}");
    }
}

fn none_below(folder: &Path) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        match path.is_dir() {
            true => none_below(&path),
            // Sockets and the like hold nothing.
            false => none_in(
                &path.display().to_string(),
                &std::fs::read(&path).unwrap_or_default(),
            ),
        }
    }
}

fn secret_file(gateway: &Gateway, name: &str, text: &str) {
    gateway.write(name, text);
    let mode = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(gateway.path(name), mode).expect("it is ours");
}

struct Site {
    gateway: Gateway,
    hooks: SocketAddr,
    canaries: Canaries,
    /// Of `press`: its password, and its token.
    password: String,
    token: String,
}

/// A gateway with a secret of every kind.
fn site(broker: SocketAddr) -> Site {
    let canaries = Canaries(Cell::new(0));
    let (password, token, echoed) = (canaries.next(), canaries.next(), canaries.next());
    // A server that says what it was told.
    let answer = format!("Authorization: Bearer {echoed} is not known here");
    let answer = format!(
        "HTTP/1.1 422 No\r\nContent-Length: {}\r\n\r\n{answer}",
        answer.len()
    );
    let answer: &'static str = Box::leak(answer.into_boxed_str());
    let echo = webhook::that(move |_| Reaction::Answer(answer));
    let silent = webhook::that(|_| Reaction::Status(200));
    let hooks = port::free();
    let hash = binary::password_hash(&password);
    let config = config(&hash, hooks, broker, &echo, &silent);
    let mut gateway = Gateway::new(&config);
    for variable in ["PLANT", "CLOUD", "HOOK", "KEY", "OTHER"] {
        gateway.variable(variable, &canaries.next());
    }
    gateway.variable("RUST_LOG", "trace");
    secret_file(&gateway, "press.token", &token);
    secret_file(&gateway, "echo.token", &echoed);
    for name in ["old.password", "cloud.password", "away.password"] {
        secret_file(&gateway, name, &canaries.next());
    }
    gateway.start();
    Site {
        gateway,
        hooks,
        canaries,
        password,
        token,
    }
}

/// Its configuration.
fn config(hash: &str, hooks: SocketAddr, broker: SocketAddr, echo: &str, silent: &str) -> String {
    format!(
        r##"
[sources.floor.users.press]
password_hash = '{hash}'
publish = ["#"]
subscribe = ["#"]
[sources.hooks]
type = "http"
listen = "{hooks}"
[sources.hooks.users]
press = {{ bearer_file = "press.token", publish = ["#"] }}
oven = {{ password_hash = '{hash}', publish = ["#"] }}
[sources.plant]
type = "mqtt"
url = "mqtt://{broker}"
topics = ["none/#"]
user = "plant"
password = "${{PLANT}}"
[sources.old]
type = "mqtt"
url = "mqtt://{broker}"
topics = ["none/#"]
version = "3.1.1"
user = "old"
password_file = "old.password"
[upstreams.cloud]
type = "mqtt"
url = "mqtt://{broker}"
topic = "away/{{topic}}"
user = "cloud"
password_file = "cloud.password"
[upstreams.cloud3]
type = "mqtt"
url = "mqtt://{broker}"
topic = "away3/{{topic}}"
version = "3.1.1"
user = "cloud"
password = "${{CLOUD}}"
[upstreams.away]
type = "mqtt"
url = "mqtts://127.0.0.1:9"
user = "away"
password_file = "away.password"
[upstreams.echo]
type = "http"
url = "{echo}"
bearer_file = "echo.token"
refusals_max = 1
[upstreams.hook]
type = "http"
url = "{silent}"
bearer = "${{HOOK}}"
headers = {{ X-Key = "${{KEY}}", X-Other = "${{OTHER}}" }}
"##
    )
}

/// A CONNECT of MQTT with a login; whatever the answer is.
fn connect(address: SocketAddr, level: u8, user: &str, password: &str, topic: &str) {
    let text = |bytes: &mut Vec<u8>, text: &str| {
        bytes.extend((text.len() as u16).to_be_bytes());
        bytes.extend(text.as_bytes());
    };
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', level, 0xc2, 0, 60];
    if level == 5 {
        body.push(0);
    }
    text(&mut body, "client");
    if level == 5 {
        body.push(0);
    }
    if level == 5 {
        body.truncate(body.len() - 1 - 8);
        text(&mut body, "client");
    }
    text(&mut body, user);
    text(&mut body, password);
    let mut stream = TcpStream::connect(address).expect("it listens");
    let _ = stream.write_all(&packet(0x10, &body));
    let mut answer = [0; 64];
    let _ = stream.read(&mut answer);
    if !topic.is_empty() {
        let _ = stream.write_all(&mqtt::publish(topic, 1, b"{}"));
        let _ = stream.read(&mut answer);
    }
}

fn post(address: SocketAddr, target: &str, head: &str) {
    let mut stream = wait::find("it listens", || TcpStream::connect(address));
    let request = format!(
        "POST {target} HTTP/1.1\r\nHost: localhost\r\n{head}\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{{}}"
    );
    let _ = stream.write_all(request.as_bytes());
    let _ = stream.read_to_end(&mut Vec::new());
}

fn base64(text: &str) -> String {
    let mut child = Command::new("base64")
        .arg("-w0")
        .stdin(std::process::Stdio::piped())
        .stdout(std::process::Stdio::piped())
        .spawn()
        .expect("base64 runs");
    child
        .stdin
        .take()
        .expect("its input")
        .write_all(text.as_bytes())
        .expect("it reads");
    String::from_utf8(child.wait_with_output().expect("it ends").stdout).expect("UTF-8")
}

/// Everything that shows something.
fn look(site: &Site) {
    let gateway = &site.gateway;
    for arguments in [
        &["status"][..],
        &["status", "--format", "json"],
        &["status", "--rules"],
        &["events", "list", "--limit", "10000"],
        &["events", "list", "--limit", "10000", "--format", "json"],
        &["dead-letters", "list"],
        &["dead-letters", "list", "--format", "json"],
        &["store", "status"],
        &["check"],
        &["check", "--format", "json"],
        &["check", "--format", "short"],
        &["reload"],
    ] {
        let said = gateway.ask(arguments);
        none_in(&arguments.join(" "), &said.stdout);
        none_in(&arguments.join(" "), &said.stderr);
    }
    for path in ["/metrics", "/status", "/readyz", "/healthz"] {
        none_in(path, gateway.control(path).as_bytes());
    }
    let pid = gateway.pid();
    let command = std::fs::read(format!("/proc/{pid}/cmdline")).expect("it runs");
    none_in("its command line", &command);
    none_in("its log", gateway.whole_log().as_bytes());
    none_below(&gateway.path("data"));
}

/// Clients that show what they should not, right and wrong.
fn visit(site: &Site) {
    let (floor, hooks, canaries) = (site.gateway.address, site.hooks, &site.canaries);
    for level in [4, 5] {
        connect(floor, level, "press", &site.password, "hall/n");
        for user in ["press", "nobody", ""] {
            connect(floor, level, user, &canaries.next(), "");
        }
        // The two swapped, one twice, a token without a password.
        connect(floor, level, &site.password, "press", "");
        let twice = canaries.next();
        connect(floor, level, &twice, &twice, "");
        connect(floor, level, &canaries.next(), "", "");
    }
    post(
        hooks,
        "/topics/hall",
        &format!("Authorization: Bearer {}", site.token),
    );
    let right = base64(&format!("oven:{}", site.password));
    post(
        hooks,
        "/topics/hall",
        &format!("Authorization: Basic {right}"),
    );
    for _ in 0..10 {
        post(
            hooks,
            "/topics/hall",
            &format!("Authorization: Bearer {}", canaries.next()),
        );
        let wrong = base64(&format!("oven:{}", canaries.next()));
        post(
            hooks,
            "/topics/hall",
            &format!("Authorization: Basic {wrong}"),
        );
        let swapped = base64(&format!("{}:oven", canaries.next()));
        post(
            hooks,
            "/topics/hall",
            &format!("Authorization: Basic {swapped}"),
        );
        post(
            hooks,
            "/topics/hall",
            &format!("Authorization: {}", canaries.next()),
        );
        post(
            hooks,
            "/topics/hall",
            &format!("Cookie: session={}", canaries.next()),
        );
        post(
            hooks,
            &format!("/topics/hall?access_token={}", canaries.next()),
            "X: y",
        );
    }
}

/// Configurations with a mistake beside a secret.
fn broken(canaries: &Canaries) -> Vec<String> {
    let mut all = Vec::new();
    let upstream =
        "\n[upstreams.more]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1:9\"\nuser = \"x\"\n";
    for line in [
        "password = \"{}\"",
        "password = '{}'",
        "password = {}",
        "password = \"{}",
        "password = \"\"\"{}",
        "password = [\"{}\"]",
        "password = { a = \"{}\" }",
        "passwort = \"{}\"",
        "password_file = \"/nowhere\"\npassword = \"{}\"",
        "password \"{}\"",
        "password = \"{}\" x",
        "password = \"{}\\q\"",
        "password = \"${MISSING}{}\"",
        "url = \"mqtt://user:{}@127.0.0.1\"",
        "url = \"mqtt://{}@127.0.0.1\"",
    ] {
        all.push(format!(
            "{upstream}{}\n",
            line.replace("{}", &canaries.next())
        ));
    }
    let hook = "\n[upstreams.more]\ntype = \"http\"\n";
    for line in [
        "url = \"https://u:{}@127.0.0.1/\"",
        "url = \"ftp://u:{}@127.0.0.1/\"",
        "url = \"http://127.0.0.1:9/\"\nbearer = \"{}\"",
        "url = \"http://127.0.0.1:9/\"\nbearer = \"{}",
        "url = \"http://127.0.0.1:9/\"\nheaders = { Authorization = \"Bearer {}\", \"b d\" = \"x\" }",
        "url = \"http://127.0.0.1:9/\"\nheaders = { Authorization = \"Bearer {}\" ",
    ] {
        all.push(format!("{hook}{}\n", line.replace("{}", &canaries.next())));
    }
    all
}

#[test]
fn a_hundred_secrets_come_out_nowhere() {
    let Some(mut broker) = Mosquitto::new("a_hundred_secrets_come_out_nowhere") else {
        return;
    };
    broker.start();
    let mut site = site(broker.address);
    visit(&site);
    wait::find("something is set aside with what the server said", || {
        let letters = site.gateway.dead_letters();
        (!letters.is_empty())
            .then_some(())
            .ok_or(site.gateway.log())
    });
    look(&site);

    // Secrets that change, and are not what a secret is.
    for (name, text) in [
        (
            "cloud.password",
            format!("{}\n{}\n", site.canaries.next(), site.canaries.next()),
        ),
        ("old.password", format!("\u{feff}{}", site.canaries.next())),
        (
            "echo.token",
            format!("{} {}", site.canaries.next(), site.canaries.next()),
        ),
        ("cloud.password", site.canaries.next()),
        ("old.password", site.canaries.next()),
    ] {
        secret_file(&site.gateway, name, &text);
        look(&site);
    }
    let config = site.gateway.path("gateway.toml");
    let sound = std::fs::read_to_string(&config).expect("a configuration");
    for more in broken(&site.canaries) {
        std::fs::write(&config, format!("{sound}{more}")).expect("a configuration");
        for arguments in [
            &["check"][..],
            &["check", "--format", "json"],
            &["check", "--format", "short"],
            &["reload"],
        ] {
            let said = site.gateway.ask(arguments);
            let what = format!("{} of {more}", arguments.join(" "));
            none_in(&what, &said.stdout);
            none_in(&what, &said.stderr);
        }
        let ran = site
            .gateway
            .command()
            .stderr(std::process::Stdio::piped())
            .output();
        none_in(&format!("run of {more}"), &ran.expect("it runs").stderr);
    }
    std::fs::write(&config, &sound).expect("a configuration");
    look(&site);
    let backup = site.gateway.path("backup");
    site.gateway
        .ask(&["store", "backup", backup.to_str().expect("UTF-8")]);
    none_below(&backup);
    assert!(site.gateway.terminate().success());
    none_in("its log", site.gateway.whole_log().as_bytes());
    none_below(&site.gateway.path("data"));
    println!("{} secrets", site.canaries.0.get());
    assert!(site.canaries.0.get() >= 100);
    // Those that are told apart from all else are found where they are.
    let token = std::fs::read(site.gateway.path("press.token")).expect("a secret");
    assert!(std::panic::catch_unwind(|| none_in("the secret itself", &token)).is_err());
}
