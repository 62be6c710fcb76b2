//! TLS, and certificates instead of passwords.

use std::net::{SocketAddr, TcpStream};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, ClientConnection, RootCertStore, StreamOwned};
use tempfile::TempDir;

use crate::client::{Client, V5, connect, dial, publish, wordless};
use crate::gateway::{Gateway, start_in, stored};
use tidegate_tests::gateway::binary::password_hash;
use tidegate_tests::gateway::told::Told;
use tidegate_tests::wait;

type Tls = StreamOwned<ClientConnection, TcpStream>;

/// An authority whose files lie in a folder.
struct Authority {
    folder: TempDir,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Authority {
        let folder = tempfile::tempdir().expect("a folder");
        let mut params = CertificateParams::default();
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let root = params.self_signed(&key).expect("a root");
        write(&folder.path().join("ca.pem"), &root.pem());
        let issuer = Issuer::new(params, key);
        Authority { folder, issuer }
    }

    /// Writes `<name>.pem` and `<name>.key`, for a server or a client of this name.
    fn issue(&self, name: &str) {
        let names = vec!["localhost".to_owned()];
        self.issue_as(name, CertificateParams::new(names).expect("a name"));
    }

    fn issue_as(&self, name: &str, mut params: CertificateParams) {
        params.distinguished_name.push(DnType::CommonName, name);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        let file = |kind: &str| self.folder.path().join(format!("{name}.{kind}"));
        write(&file("pem"), &certificate.pem());
        write(&file("key"), &key.serialize_pem());
    }
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
    let own = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, own).expect("its mode");
}

/// A TLS connection that shows the certificate of `name`, if one.
fn dial_tls(folder: &Path, address: SocketAddr, name: Option<&str>) -> Tls {
    let pem = |file: String| CertificateDer::from_pem_file(folder.join(file)).expect("a file");
    let mut roots = RootCertStore::empty();
    roots.add(pem("ca.pem".into())).expect("a root");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_root_certificates(roots);
    let config = match name {
        None => config.with_no_client_auth(),
        Some(name) => {
            let key = folder.join(format!("{name}.key"));
            let key = PrivateKeyDer::from_pem_file(key).expect("a key");
            let chain = vec![pem(format!("{name}.pem"))];
            config
                .with_client_auth_cert(chain, key)
                .expect("an identity")
        }
    };
    let host = ServerName::try_from("localhost").expect("a name");
    let tls = ClientConnection::new(Arc::new(config), host).expect("a connection");
    StreamOwned::new(tls, dial(address))
}

/// A TLS listener; `client_ca` asks for certificates.
fn gateway(client_ca: bool, users: &str) -> Gateway {
    let authority = Authority::new();
    for name in ["gateway", "press", "stranger"] {
        authority.issue(name);
    }
    let ca = if client_ca {
        ", client_ca = \"ca.pem\""
    } else {
        ""
    };
    let tls = format!("tls = {{ cert = \"gateway.pem\", key = \"gateway.key\"{ca} }}\n{users}");
    start_in(authority.folder, &tls)
}

fn let_in(gateway: &Gateway, name: Option<&str>) -> Client<Tls> {
    let stream = dial_tls(gateway.dir.path(), gateway.address, name);
    Client::over(stream, V5, &connect(V5, "device"))
}

/// The packet that answers a CONNECT; none when the connection ends instead.
fn answer(gateway: &Gateway, name: Option<&str>) -> Option<(u8, Vec<u8>)> {
    let mut stream = dial_tls(gateway.dir.path(), gateway.address, name);
    let sent = std::io::Write::write_all(&mut stream, &connect(V5, "device"));
    sent.ok()?;
    let mut answer = [0; 4];
    std::io::Read::read_exact(&mut stream, &mut answer).ok()?;
    Some((answer[0], answer[2..].to_vec()))
}

#[test]
fn events_arrive_over_tls_and_plain_text_is_refused() {
    let gateway = gateway(false, "");
    assert!(let_in(&gateway, None).stored("a/b", b"secret"));
    let mut plain = dial(gateway.address);
    std::io::Write::write_all(&mut plain, &connect(V5, "plain")).expect("it reads");
    let mut said = Vec::new();
    let _ = std::io::Read::read_to_end(&mut plain, &mut said);
    assert_ne!(said.first(), Some(&0x20), "a CONNACK in the clear");
    wait::until("it is counted", || {
        gateway.metric("tidegate_source_malformed_total", "\"tls\"") >= 1
    });
}

#[test]
fn a_certificate_logs_in_the_user_of_its_name_with_that_users_permissions() {
    let gateway = gateway(
        true,
        "[sources.floor.users.press]\npublish = [\"plant/{user}/#\"]\n",
    );
    let mut press = let_in(&gateway, Some("press"));
    assert!(press.stored("plant/press/temp", b"21.5"));
    press.send(&publish(V5, 1, 1, "plant/other", b"1"));
    assert_eq!(wordless(press.packet()), (0x40, vec![0, 1, 0x87]));
    assert_eq!(
        answer(&gateway, Some("stranger")),
        Some((0x20, vec![0, 0x86]))
    );
    assert_eq!(answer(&gateway, None), None, "no certificate");
}

#[test]
fn without_users_every_certified_client_is_let_in_and_no_other() {
    let gateway = gateway(true, "");
    assert!(let_in(&gateway, Some("stranger")).stored("any/topic", b"1"));
    assert_eq!(answer(&gateway, None), None);
}

#[test]
fn a_certificate_that_is_refused_is_told_everywhere() {
    let authority = Authority::new();
    for name in ["gateway", "press"] {
        authority.issue(name);
    }
    let with_dates = |first: i32, last: i32| {
        let mut params = CertificateParams::default();
        params.not_before = rcgen::date_time_ymd(first, 1, 1);
        params.not_after = rcgen::date_time_ymd(last, 1, 1);
        params
    };
    authority.issue_as("old", with_dates(2001, 2002));
    authority.issue_as("unborn", with_dates(2090, 2091));
    let other = Authority::new();
    other.issue("foreign");
    for kind in ["pem", "key"] {
        let file = format!("foreign.{kind}");
        let text = std::fs::read_to_string(other.folder.path().join(&file)).expect("a file");
        write(&authority.folder.path().join(file), &text);
    }
    let tls = "tls = { cert = \"gateway.pem\", key = \"gateway.key\", client_ca = \"ca.pem\" }\n";
    let gateway = start_in(authority.folder, tls);
    // Noise is no login.
    let mut plain = dial(gateway.address);
    std::io::Write::write_all(&mut plain, &connect(V5, "plain")).expect("it reads");
    wait::until("it is counted", || {
        gateway.metric("tidegate_source_malformed_total", "\"tls\"") >= 1
    });
    let failed = || gateway.metric("tidegate_source_failed_logins_total", "floor");
    assert!(let_in(&gateway, Some("press")).stored("a", b"1"));
    assert_eq!(failed(), 0);
    let cases = [
        (None, "it shows no certificate"),
        (Some("foreign"), "no CA in `client_ca` signed"),
        (Some("old"), "expired on"),
        (Some("unborn"), "not valid before"),
    ];
    for (count, (name, why)) in cases.into_iter().enumerate() {
        assert_eq!(answer(&gateway, name), None, "{why}");
        let told = Told {
            subject: "source floor",
            kind: "logins",
            words: &["127.0.0.1", why, "log in"],
        };
        told.everywhere(&gateway);
        assert_eq!(failed(), count as u64 + 1, "{why}");
    }
}

#[test]
fn a_user_without_a_hash_has_no_password_that_works() {
    let users = format!(
        "[sources.floor.users.press]\n[sources.floor.users.clerk]\npassword_hash = \"{}\"\n",
        password_hash("inkwell")
    );
    let gateway = gateway(true, &users);
    for (user, password, code) in [("press", "x", 0x86), ("clerk", "inkwell", 0)] {
        let folder = gateway.dir.path();
        let mut stream = dial_tls(folder, gateway.address, Some("stranger"));
        let fields = [text_of("desk"), text_of(user), text_of(password)];
        let hello = crate::client::connect_with(V5, 0xc2, 60, &fields);
        std::io::Write::write_all(&mut stream, &hello).expect("it reads");
        let mut answer = [0; 4];
        std::io::Read::read_exact(&mut stream, &mut answer).expect("CONNACK");
        assert_eq!(answer[3], code, "{user}");
    }
}

fn text_of(text: &str) -> Vec<u8> {
    crate::client::text(text)
}

#[test]
fn an_mqtt_upstream_delivers_over_tls_with_a_certificate_and_refuses_the_wrong_host() {
    let central = gateway(true, "");
    let files = central.dir.path();
    for (version, host, arrives) in [
        ("5", "localhost", true),
        ("3.1.1", "localhost", true),
        ("5", "127.0.0.1", false),
    ] {
        let folder = tempfile::tempdir().expect("a folder");
        for file in ["ca.pem", "press.pem", "press.key"] {
            std::fs::copy(files.join(file), folder.path().join(file)).expect("copied");
        }
        let edge = start_in(
            folder,
            &format!(
                "[upstreams.cloud]\ntype = \"mqtt\"\nurl = \"mqtts://{host}:{}\"\nversion = \"{version}\"\n\
                 ca = \"ca.pem\"\ncert = \"press.pem\"\nkey = \"press.key\"\n",
                central.address.port()
            ),
        );
        let topic = format!("edge/{version}/{host}");
        let mut device = Client::over(dial(edge.address), V5, &connect(V5, "device"));
        // More than one TLS record, and more than the socket takes at once.
        let large = vec![b'x'; 200_000];
        for _ in 0..20 {
            assert!(device.stored(&topic, &large));
        }
        match arrives {
            true => wait::until("all arrive", || stored(&central, &topic).len() == 20),
            false => edge.wait_until("it is told", || edge.log().contains("upstream down")),
        }
        assert_eq!(
            stored(&central, &topic).is_empty(),
            !arrives,
            "{}",
            edge.log()
        );
    }
}
