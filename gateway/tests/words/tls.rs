//! What is wrong between the gateway and a server with TLS, for each kind of client that it has.

use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::os::unix::fs::PermissionsExt;
use std::path::Path;
use std::sync::Arc;

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair,
};
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use rustls::{RootCertStore, ServerConfig, ServerConnection, StreamOwned};
use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::raw::{Hello, RawClient};

use crate::last_error;

/// What the server shows.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Shows {
    CaAsItsOwn,
    OfAnotherCa,
    /// Of a CA of the same name, with a key of another kind.
    OfAnotherKey,
    Expired,
    Unborn,
    OfAnotherHost,
    ForClients,
    /// It does not speak TLS at all.
    Nothing,
    /// All is well, but that it asks for a client certificate.
    AndAsksForOurs,
}

const CASES: [(Shows, &[&str]); 9] = [
    (
        Shows::CaAsItsOwn,
        &["shows a CA certificate (CA:TRUE) as its own", "CA:FALSE"],
    ),
    (
        Shows::OfAnotherCa,
        &["not trusted", "no CA under `ca` signed"],
    ),
    (
        Shows::OfAnotherKey,
        &["not trusted", "no CA under `ca` signed"],
    ),
    (
        Shows::Expired,
        &["expired on 2001-02-03", "this machine's clock says 20"],
    ),
    (
        Shows::Unborn,
        &[
            "not valid before 2999-01-01",
            "this machine's clock says 20",
        ],
    ),
    (
        Shows::OfAnotherHost,
        &["a certificate for elsewhere.example, not for localhost"],
    ),
    (
        Shows::ForClients,
        &["meant for something else", "serverAuth"],
    ),
    (Shows::Nothing, &["does not speak TLS; write "]),
    (
        Shows::AndAsksForOurs,
        &["asks for a client certificate", "`cert` and `key`"],
    ),
];

fn authority(kind: &'static rcgen::SignatureAlgorithm) -> (Issuer<'static, KeyPair>, String) {
    let mut params = CertificateParams::default();
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "root");
    let key = KeyPair::generate_for(kind).expect("a key");
    let pem = params.self_signed(&key).expect("a root").pem();
    (Issuer::new(params, key), pem)
}

/// Chain and key of the server in PEM, and the CA that its clients know.
fn certificates(shows: Shows) -> (String, String, String) {
    let (issuer, ca) = authority(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (other, _) = authority(&rcgen::PKCS_ECDSA_P256_SHA256);
    let (ed25519, _) = authority(&rcgen::PKCS_ED25519);
    let host = match shows {
        Shows::OfAnotherHost => "elsewhere.example",
        _ => "localhost",
    };
    let mut params = CertificateParams::new(vec![host.to_owned()]).expect("a name");
    let key = KeyPair::generate().expect("a key");
    match shows {
        Shows::Expired => params.not_after = rcgen::date_time_ymd(2001, 2, 3),
        Shows::Unborn => params.not_before = rcgen::date_time_ymd(2999, 1, 1),
        Shows::ForClients => {
            params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
        }
        Shows::CaAsItsOwn => params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained),
        _ => {}
    }
    if shows == Shows::Unborn {
        params.not_after = rcgen::date_time_ymd(3000, 1, 1);
    }
    let issuer = match shows {
        Shows::OfAnotherCa => &other,
        Shows::OfAnotherKey => &ed25519,
        _ => &issuer,
    };
    let shown = params.signed_by(&key, issuer).expect("a certificate");
    (shown.pem(), key.serialize_pem(), ca)
}

/// A server that shakes hands and no more; without TLS, one that greets like a mail server.
fn serve(shows: Shows, ca: &str, chain: &str, key: &str) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").expect("an address");
    let address = listener.local_addr().expect("its address");
    let chain = vec![CertificateDer::from_pem_slice(chain.as_bytes()).expect("a certificate")];
    let key = PrivateKeyDer::from_pem_slice(key.as_bytes()).expect("a key");
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .expect("versions");
    let config = match shows {
        Shows::AndAsksForOurs => {
            let mut roots = RootCertStore::empty();
            let ca = CertificateDer::from_pem_slice(ca.as_bytes()).expect("a root");
            roots.add(ca).expect("a root");
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
            config.with_client_cert_verifier(verifier.build().expect("a verifier"))
        }
        _ => config.with_no_client_auth(),
    };
    let config = Arc::new(config.with_single_cert(chain, key).expect("a pair"));
    std::thread::spawn(move || {
        for stream in listener.incoming() {
            let Ok(mut stream) = stream else { continue };
            let config = Arc::clone(&config);
            std::thread::spawn(move || {
                if shows == Shows::Nothing {
                    let _ = stream.write_all(b"220 mail.example ESMTP ready\r\n");
                    return;
                }
                let connection = ServerConnection::new(config).expect("a connection");
                let mut stream = StreamOwned::new(connection, stream);
                let mut buffer = [0; 1024];
                while let Ok(1..) = stream.read(&mut buffer) {}
                let _ = stream.flush();
            });
        }
    });
    address
}

fn write(path: &Path, text: &str) {
    std::fs::write(path, text).expect("a file");
    let own = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(path, own).expect("its mode");
}

#[test]
fn what_is_wrong_with_a_server_of_tls_is_told_by_each_client_of_the_gateway() {
    let dir = tempfile::tempdir().expect("a folder");
    let mut sections = String::new();
    for (number, (shows, _)) in CASES.into_iter().enumerate() {
        let (chain, key, ca) = certificates(shows);
        let port = serve(shows, &ca, &chain, &key).port();
        write(&dir.path().join(format!("{number}.pem")), &ca);
        sections += &format!(
            "[sources.in_{number}]\ntype = \"mqtt\"\ntopics = [\"a\"]\nurl = \"mqtts://localhost:{port}\"\nca = \"{number}.pem\"\n\
             [sources.old_{number}]\ntype = \"mqtt\"\nversion = \"3.1.1\"\ntopics = [\"a\"]\nurl = \"mqtts://localhost:{port}\"\nca = \"{number}.pem\"\n\
             [upstreams.out_{number}]\ntype = \"mqtt\"\nurl = \"mqtts://localhost:{port}\"\nca = \"{number}.pem\"\n\
             [upstreams.web_{number}]\ntype = \"http\"\nurl = \"https://localhost:{port}/\"\nca = \"{number}.pem\"\n"
        );
    }
    let mut gateway = Gateway::new_in(dir, &sections);
    gateway.start();
    // With TLS 1.3 a server says what it thinks of ours once something is sent.
    let mut sender = RawClient::connect(gateway.address, &Hello::new(5, "sender"));
    sender.stored(5, "a", b"{}");
    for (number, (_, words)) in CASES.into_iter().enumerate() {
        last_error(&gateway, "sources", &format!("in_{number}"), words);
        last_error(&gateway, "sources", &format!("old_{number}"), words);
        last_error(&gateway, "upstreams", &format!("out_{number}"), words);
        last_error(&gateway, "upstreams", &format!("web_{number}"), words);
    }
    for plain in ["write mqtt://", "write http://"] {
        assert!(gateway.status().to_string().contains(plain), "{plain}");
    }
}

#[test]
fn a_pair_that_does_not_belong_together_is_found_by_check() {
    let dir = tempfile::tempdir().expect("a folder");
    let (chain, _, _) = certificates(Shows::Nothing);
    let (_, key, _) = certificates(Shows::Nothing);
    write(&dir.path().join("own.pem"), &chain);
    write(&dir.path().join("own.key"), &key);
    let gateway = Gateway::new_in(
        dir,
        "tls = { cert = \"own.pem\", key = \"own.key\" }\n\
         [upstreams.out]\ntype = \"mqtt\"\nurl = \"mqtts://localhost\"\ncert = \"own.pem\"\nkey = \"own.key\"\n\
         [upstreams.web]\ntype = \"http\"\nurl = \"https://localhost\"\ncert = \"own.pem\"\nkey = \"own.key\"\n",
    );
    for command in ["check", "run"] {
        let output = gateway.ask(&[command]);
        let said = String::from_utf8_lossy(&output.stderr);
        assert_eq!(output.status.code(), Some(78), "{said}");
        let told = said.matches("the private key is not the one of this certificate");
        assert_eq!(told.count(), 3, "{said}");
    }
}
