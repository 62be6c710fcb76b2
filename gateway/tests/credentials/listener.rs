//! At listeners: new connections meet what is new, old ones stay.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpStream};
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::binary::password_hash;
use tidegate_tests::{mqtt, port, wait};

use super::{Issued, issue, trouble, write};

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// A connection to a server that this authority signed for; an error where it did not.
fn dial(address: SocketAddr, ca: &str) -> std::io::Result<Tls> {
    let mut roots = RootCertStore::empty();
    let ca = CertificateDer::from_pem_slice(ca.as_bytes()).expect("a certificate");
    roots.add(ca).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots)
        .with_no_client_auth();
    let host = ServerName::try_from("localhost").expect("a name");
    let mut tls = ClientConnection::new(Arc::new(config), host).expect("a connection");
    let mut stream = TcpStream::connect(address)?;
    stream.set_read_timeout(Some(wait::PATIENCE))?;
    while tls.is_handshaking() {
        tls.complete_io(&mut stream)?;
    }
    Ok(StreamOwned::new(tls, stream))
}

fn request(stream: &mut Tls, address: SocketAddr) -> String {
    let text =
        format!("POST /topics/a HTTP/1.1\r\nHost: {address}\r\nContent-Length: 2\r\n\r\n{{}}");
    stream.write_all(text.as_bytes()).expect("it reads");
    let mut answer = [0; 1024];
    let count = stream.read(&mut answer).expect("an answer");
    String::from_utf8_lossy(&answer[..count]).into_owned()
}

/// Waits until new connections meet a certificate of this authority.
fn meets(gateway: &Gateway, address: SocketAddr, ca: &str) -> Tls {
    wait::find("it shows that certificate", || {
        dial(address, ca).map_err(|error| format!("{error}\n{}", gateway.log()))
    })
}

/// What is done to the files, what is said of it, and whether the first certificate is met after that.
struct Case<'c> {
    name: &'c str,
    cert: Option<&'c str>,
    key: Option<&'c str>,
    says: Option<&'c str>,
    meets: &'c Issued,
}

fn case<'c>(
    name: &'c str,
    (cert, key): (Option<&'c str>, Option<&'c str>),
    says: Option<&'c str>,
    meets: &'c Issued,
) -> Case<'c> {
    Case {
        name,
        cert,
        key,
        says,
        meets,
    }
}

/// One after the other.
fn cases<'c>(first: &'c Issued, second: &'c Issued, third: &'c Issued) -> Vec<Case<'c>> {
    let pair = |of: &'c Issued| (Some(&*of.cert), Some(&*of.key));
    let half = &third.key[..third.key.len() / 2];
    let no_pair = Some("is not the one of this certificate");
    let none = Some("holds no certificate");
    vec![
        case("a pair", pair(second), None, second),
        case("half of a pair", (Some(&third.cert), None), no_pair, second),
        case(
            "half of a file",
            (None, Some(half)),
            Some("is cut off"),
            second,
        ),
        case(
            "no certificate",
            (Some("rubbish"), Some(&second.key)),
            none,
            second,
        ),
        case("as it was", (Some(&second.cert), None), None, second),
        case("empty", (Some(""), Some("")), Some("is empty"), second),
        case("the next pair", pair(third), None, third),
        case(
            "the key of another",
            (None, Some(&first.key)),
            no_pair,
            third,
        ),
        case("back to the first", (Some(&first.cert), None), None, first),
    ]
}

#[test]
fn a_changed_pair_is_shown_to_new_connections_and_a_bad_one_is_not() {
    let [first, second, third] = ["first", "second", "third"].map(issue);
    let address = port::free();
    let more = format!(
        "[sources.hooks]\ntype = \"http\"\nlisten = \"{address}\"\ntls = {{ cert = \"hooks.pem\", key = \"hooks.key\" }}\n"
    );
    let mut gateway = Gateway::new(&more);
    let set = |cert: Option<&str>, key: Option<&str>| {
        cert.into_iter()
            .for_each(|cert| write(&gateway.path("hooks.pem"), cert));
        key.into_iter()
            .for_each(|key| write(&gateway.path("hooks.key"), key));
    };
    set(Some(&first.cert), Some(&first.key));
    let path = |name: &str| gateway.path(name);
    let (cert_path, key_path) = (path("hooks.pem"), path("hooks.key"));
    gateway.start();
    let mut old = meets(&gateway, address, &first.ca);
    for case in cases(&first, &second, &third) {
        eprintln!("{}", case.name);
        case.cert
            .into_iter()
            .for_each(|cert| write(&cert_path, cert));
        case.key.into_iter().for_each(|key| write(&key_path, key));
        trouble(&gateway, "source hooks", case.says);
        meets(&gateway, address, &case.meets.ca);
        let answer = request(&mut old, address);
        assert!(
            answer.starts_with("HTTP/1.1 200"),
            "{}: {answer}",
            case.name
        );
    }
    // A key that everybody may read is refused as at a start, and one that is gone is told.
    std::fs::remove_file(&key_path).expect("it is ours");
    trouble(&gateway, "source hooks", Some("cannot read"));
    std::fs::write(&key_path, &second.key).expect("a file");
    trouble(&gateway, "source hooks", Some("is open to everyone"));
    write(&key_path, &first.key);
    trouble(&gateway, "source hooks", None);
    assert!(gateway.terminate().success());
}

#[test]
fn what_one_source_cannot_use_keeps_no_other_from_what_is_new() {
    let [first, second] = ["first", "second"].map(issue);
    let [a, b] = [port::free(), port::free()];
    let source = |name: &str, address| {
        format!(
            "[sources.{name}]\ntype = \"http\"\nlisten = \"{address}\"\ntls = {{ cert = \"{name}.pem\", key = \"{name}.key\" }}\n"
        )
    };
    let mut gateway = Gateway::new(&(source("a", a) + &source("b", b)));
    let pair = |gateway: &Gateway, name: &str, of: &Issued| {
        write(&gateway.path(&format!("{name}.pem")), &of.cert);
        write(&gateway.path(&format!("{name}.key")), &of.key);
    };
    pair(&gateway, "a", &first);
    pair(&gateway, "b", &first);
    gateway.start();
    write(&gateway.path("a.pem"), "rubbish");
    trouble(&gateway, "source a", Some("holds no certificate"));
    // An edit of the configuration waits for its SIGHUP.
    let config = gateway.path("gateway.toml");
    let text = std::fs::read_to_string(&config).expect("a configuration");
    std::fs::write(&config, text.clone() + "[upstreams.\n").expect("a configuration");
    pair(&gateway, "b", &second);
    meets(&gateway, b, &second.ca);
    meets(&gateway, a, &first.ca);
    trouble(&gateway, "source b", None);
    trouble(&gateway, "configuration", None);
    trouble(&gateway, "source a", Some("holds no certificate"));
    // At a SIGHUP all is read as at a start.
    std::fs::write(&config, text).expect("a configuration");
    gateway.signal("HUP");
    trouble(&gateway, "configuration", Some("holds no certificate"));
    pair(&gateway, "a", &second);
    meets(&gateway, a, &second.ca);
    gateway.signal("HUP");
    trouble(&gateway, "configuration", None);
    trouble(&gateway, "source a", None);
}

/// How a login with MQTT 3.1.1 ends: 0, or why not.
fn log_in(address: SocketAddr, password: &str) -> (u8, TcpStream) {
    let mut stream = TcpStream::connect(address).expect("it listens");
    stream
        .set_read_timeout(Some(wait::PATIENCE))
        .expect("a timeout");
    let mut body = vec![0, 4, b'M', b'Q', b'T', b'T', 4, 0xc2, 0, 0];
    // A client of its own each time: none takes the place of another.
    static CLIENTS: AtomicU32 = AtomicU32::new(0);
    let client = format!("device-{}", CLIENTS.fetch_add(1, Ordering::Relaxed));
    for text in [&*client, "press", password] {
        body.extend((text.len() as u16).to_be_bytes());
        body.extend(text.as_bytes());
    }
    stream
        .write_all(&mqtt::packet(0x10, &body))
        .expect("it reads");
    let mut answer = [0; 4];
    stream.read_exact(&mut answer).expect("an answer");
    (answer[3], stream)
}

#[test]
fn a_changed_password_or_token_counts_for_new_logins_and_old_connections_stay() {
    let hooks = port::free();
    let more = format!(
        "[sources.floor.users.press]\npassword_hash_file = \"press.hash\"\npublish = [\"#\"]\n\n\
         [sources.hooks]\ntype = \"http\"\nlisten = \"{hooks}\"\n\
         [sources.hooks.users.press]\nbearer_file = \"press.token\"\npublish = [\"#\"]\n"
    );
    let mut gateway = Gateway::new(&more);
    let [old, new] = ["old", "new"].map(password_hash);
    let tokens = ["0123456789abcdef0", "fedcba98765432100"];
    write(&gateway.path("press.hash"), &old);
    write(&gateway.path("press.token"), tokens[0]);
    gateway.start();
    let posted = |token: &str| {
        let mut stream = TcpStream::connect(hooks).expect("it listens");
        let text = format!(
            "POST /topics/a HTTP/1.1\r\nHost: {hooks}\r\nAuthorization: Bearer {token}\r\nContent-Length: 2\r\n\r\n{{}}"
        );
        stream.write_all(text.as_bytes()).expect("it reads");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).expect("an answer");
        String::from_utf8_lossy(&answer[9..]).into_owned()
    };
    let (code, mut stream) = log_in(gateway.address, "old");
    assert_eq!((code, &*posted(tokens[0])), (0, "200"));
    // What is no hash and no token is refused, and told.
    write(&gateway.path("press.hash"), "press");
    trouble(&gateway, "source floor", Some("no argon2 hash"));
    write(&gateway.path("press.token"), "short");
    trouble(&gateway, "source hooks", Some("bearer token"));
    assert_eq!(
        (log_in(gateway.address, "old").0, &*posted(tokens[0])),
        (0, "200")
    );
    write(&gateway.path("press.hash"), &(new + "\n"));
    write(&gateway.path("press.token"), tokens[1]);
    wait::until("the new password counts", || {
        log_in(gateway.address, "new").0 == 0
    });
    wait::until("the new token counts", || posted(tokens[1]) == "200");
    assert_ne!(log_in(gateway.address, "old").0, 0);
    assert_eq!(posted(tokens[0]), "401");
    mqtt::publish_acknowledged(&mut stream, "still", 9, b"{}");
    assert!(gateway.terminate().success());
}
