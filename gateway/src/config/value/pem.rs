//! Files of certificates and private keys, which are PEM, and in what words it is told that one is something else.

use rustls::pki_types::pem::{self, PemObject};
use rustls::pki_types::{CertificateDer, PrivateKeyDer};

use super::text::BYTE_ORDER_MARK;

/// What a file should hold.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Wanted {
    Certificate,
    PrivateKey,
}

/// What is wrong, and what to do.
pub(super) type Objection = (String, String);

impl Wanted {
    fn name(self) -> &'static str {
        match self {
            Wanted::Certificate => "certificate",
            Wanted::PrivateKey => "private key",
        }
    }

    fn header(self) -> &'static str {
        match self {
            Wanted::Certificate => "CERTIFICATE",
            Wanted::PrivateKey => "PRIVATE KEY",
        }
    }

    /// The subcommand of openssl that reads it.
    fn tool(self) -> &'static str {
        match self {
            Wanted::Certificate => "x509",
            Wanted::PrivateKey => "pkey",
        }
    }

    /// Why `text`, what the file `path` holds, is not that.
    pub(super) fn objection(self, path: &str, text: &str) -> Option<Objection> {
        let headers: Vec<&str> = headers(text).collect();
        let is_encrypted =
            headers.contains(&"ENCRYPTED PRIVATE KEY") || text.contains("Proc-Type: 4,ENCRYPTED");
        if self == Wanted::PrivateKey && is_encrypted {
            let what = "is encrypted, and a gateway has nobody to ask for its passphrase";
            let note =
                format!("write it without one: `(umask 077; openssl pkey -in {path} -out NEW)`");
            return Some((what.to_owned(), note));
        }
        if text.starts_with(BYTE_ORDER_MARK) {
            let what = "begins with a byte order mark, behind which no PEM is seen";
            let note =
                format!("save it without one, or run `sed -i '1s/^\\xEF\\xBB\\xBF//' {path}`");
            return Some((what.to_owned(), note));
        }
        if text.trim().is_empty() {
            return Some((
                "is empty".to_owned(),
                format!("write the {} into it", self.name()),
            ));
        }
        match self.found(text) {
            Ok(true) => None,
            Ok(false) => Some(self.none(&headers)),
            Err(error) => Some(self.damaged(&error)),
        }
    }

    fn found(self, text: &str) -> Result<bool, pem::Error> {
        match self {
            Wanted::Certificate => {
                let all = CertificateDer::pem_slice_iter(text.as_bytes());
                all.collect::<Result<Vec<_>, _>>()
                    .map(|all| !all.is_empty())
            }
            Wanted::PrivateKey => match PrivateKeyDer::from_pem_slice(text.as_bytes()) {
                Ok(_) => Ok(true),
                Err(pem::Error::NoItemsFound) => Ok(false),
                Err(error) => Err(error),
            },
        }
    }

    /// There is none among what these headers begin.
    fn none(self, headers: &[&str]) -> Objection {
        let is_key = |header: &&str| header.ends_with("PRIVATE KEY");
        let holds = |what: &str| format!("holds {what} and no {}", self.name());
        let has = |header: &str| headers.contains(&header);
        if self == Wanted::Certificate && headers.iter().any(is_key) {
            let note = "`cert` names the certificate, `key` its private key: are they the wrong way round?";
            return (holds("a private key"), note.to_owned());
        }
        if self == Wanted::PrivateKey && has("CERTIFICATE") {
            let note = "`cert` names the certificate, `key` its private key: are they the wrong way round?";
            return (holds("a certificate"), note.to_owned());
        }
        if has("CERTIFICATE REQUEST") || has("NEW CERTIFICATE REQUEST") {
            let note = "name what the CA made of the request";
            return (holds("a certificate request"), note.to_owned());
        }
        if has("PUBLIC KEY") {
            return (
                holds("a public key"),
                "name the other half of the pair".to_owned(),
            );
        }
        let note = format!(
            "a PEM file of one begins with -----BEGIN {}-----",
            self.header()
        );
        (format!("holds no {}", self.name()), note)
    }

    fn damaged(self, error: &pem::Error) -> Objection {
        let copy = "copy the whole file anew".to_owned();
        match error {
            pem::Error::MissingSectionEnd { .. } => {
                let what = format!("is cut off: it ends before -----END {}-----", self.header());
                (what, copy)
            }
            pem::Error::IllegalSectionStart { .. } => (
                "is damaged: one of its -----BEGIN lines is torn".to_owned(),
                copy,
            ),
            pem::Error::Base64Decode(_) => {
                let what = "is damaged: what stands between BEGIN and END is no base64";
                (what.to_owned(), copy)
            }
            other => (format!("is damaged: {other}"), copy),
        }
    }

    /// What is said of `bytes` that are no text.
    pub(super) fn binary(self, path: &str, bytes: &[u8]) -> Option<Objection> {
        // A sequence of ASN.1, as long as the file or with a length of more than one byte.
        let is_der = match bytes {
            [0x30, 0x81..=0x84, ..] => true,
            [0x30, length, rest @ ..] => usize::from(*length) == rest.len(),
            _ => false,
        };
        is_der.then(|| {
            let what = format!("is DER or PKCS #12, and a {} in PEM is read", self.name());
            let tool = self.tool();
            let note = format!(
                "write it as PEM: `openssl {tool} -inform der -in {path} -out NEW`, or of PKCS #12 `openssl pkcs12 -in {path} -nodes -out NEW`"
            );
            (what, note)
        })
    }
}

/// What stands in the lines `-----BEGIN …-----`.
fn headers(text: &str) -> impl Iterator<Item = &str> {
    let lines = text.split(['\n', '\r']);
    lines.filter_map(|line| {
        line.trim()
            .strip_prefix("-----BEGIN ")?
            .strip_suffix("-----")
    })
}
