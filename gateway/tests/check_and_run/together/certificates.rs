//! Certificates and private keys of all sorts.

use std::path::Path;

use rcgen::{CertificateParams, IsCa, Issuer, KeyPair};

use super::{Row, Says, own, with};

/// A listener with the pair of files that are written.
const TLS: &str = "[sources.s]\ntype = \"mqtt-listener\"\nlisten = \"FREE\"\ntls = { cert = \"c.pem\", key = \"k.pem\" }\n";

/// Two files that should be a certificate and its key.
pub(super) fn pairs() -> Vec<Row> {
    use Says::{Fine, Wrong};
    vec![
        with(
            "a chain from its root on",
            TLS,
            |dir| {
                let (own, key, root) = chain();
                put(dir, &(root + &own), &key);
            },
            Wrong(&["the private key is the one of certificate 2 of 2: put that first"]),
        ),
        with(
            "a chain from the certificate on",
            TLS,
            |dir| {
                let (own, key, root) = chain();
                put(dir, &(own + &root), &key);
            },
            Fine,
        ),
        with(
            "lines that end as on Windows",
            TLS,
            |dir| {
                let (own, key, _) = chain();
                put(dir, &own.replace('\n', "\r\n"), &key.replace('\n', "\r\n"));
            },
            Fine,
        ),
        with(
            "the key of another",
            TLS,
            |dir| put(dir, &chain().0, &chain().1),
            Wrong(&["not the one of this certificate"]),
        ),
        with(
            "the wrong way round",
            TLS,
            |dir| {
                let (own, key, _) = chain();
                put(dir, &key, &own);
            },
            Wrong(&[
                "holds a private key and no certificate",
                "holds a certificate and no private key",
                "wrong way round",
            ]),
        ),
    ]
}

/// What is no certificate, or no key.
pub(super) fn others() -> Vec<Row> {
    let ca = "[upstreams.m]\ntype = \"mqtt\"\nurl = \"mqtts://localhost\"\nca = \"c.pem\"\n";
    use Says::Wrong;
    vec![
        with(
            "encrypted keys",
            TLS,
            |dir| {
                put(
                    dir,
                    &chain().0,
                    "-----BEGIN ENCRYPTED PRIVATE KEY-----\nMIIB\n-----END ENCRYPTED PRIVATE KEY-----\n",
                )
            },
            Wrong(&["is encrypted", "openssl pkey -in k.pem"]),
        ),
        with(
            "a key encrypted as of old",
            TLS,
            |dir| {
                put(
                    dir,
                    &chain().0,
                    "-----BEGIN EC PRIVATE KEY-----\nProc-Type: 4,ENCRYPTED\nDEK-Info: AES-128-CBC,00\n\nMIIB\n-----END EC PRIVATE KEY-----\n",
                )
            },
            Wrong(&["is encrypted"]),
        ),
        with(
            "a torn certificate",
            TLS,
            |dir| {
                let (own, key, _) = chain();
                put(dir, &own[..200], &key);
            },
            Wrong(&["c.pem is cut off"]),
        ),
        with(
            "a request",
            TLS,
            |dir| {
                put(
                    dir,
                    "-----BEGIN CERTIFICATE REQUEST-----\nMIIB\n-----END CERTIFICATE REQUEST-----\n",
                    &chain().1,
                )
            },
            Wrong(&["holds a certificate request"]),
        ),
        with(
            "DER",
            ca,
            |dir| {
                std::fs::write(dir.join("c.pem"), [0x30, 0x82, 0x01, 0xff, 0xfe]).expect("a file")
            },
            Wrong(&["is DER or PKCS #12", "openssl x509 -inform der -in c.pem"]),
        ),
        with(
            "no byte of a CA",
            ca,
            |dir| std::fs::write(dir.join("c.pem"), "").expect("a file"),
            Wrong(&["c.pem is empty"]),
        ),
    ]
}

/// A certificate, its key, and the CA that signed it.
fn chain() -> (String, String, String) {
    let mut root = CertificateParams::new(Vec::new()).expect("parameters");
    root.is_ca = IsCa::Ca(rcgen::BasicConstraints::Unconstrained);
    let root_key = KeyPair::generate().expect("a key");
    let root_pem = root.self_signed(&root_key).expect("a root").pem();
    let key = KeyPair::generate().expect("a key");
    let own = CertificateParams::new(vec!["localhost".to_owned()]).expect("a name");
    let own = own
        .signed_by(&key, &Issuer::new(root, root_key))
        .expect("a certificate");
    (own.pem(), key.serialize_pem(), root_pem)
}

fn put(dir: &Path, certificate: &str, key: &str) {
    std::fs::write(dir.join("c.pem"), certificate).expect("a file");
    own(&dir.join("k.pem"), key.as_bytes());
}
