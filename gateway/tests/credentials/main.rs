//! Certificates and secrets that are changed while the gateway runs: noticed without a word, tried, and those before
//! stay in use where the new ones are of no use.

mod client;
mod listener;

use std::os::unix::fs::PermissionsExt;
use std::path::Path;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};
use tidegate_tests::gateway::Gateway;

/// Writes a file that only its user may read, in one step.
fn write(path: &Path, text: &str) {
    let beside = path.with_extension("new");
    std::fs::write(&beside, text).expect("a file");
    let own = std::fs::Permissions::from_mode(0o600);
    std::fs::set_permissions(&beside, own).expect("its mode");
    std::fs::rename(beside, path).expect("it is ours");
}

/// A certificate of an authority of its own: `ca`, `cert` and `key` as PEM.
struct Issued {
    ca: String,
    cert: String,
    key: String,
}

fn issue(name: &str) -> Issued {
    let mut of_ca = CertificateParams::default();
    of_ca.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    of_ca
        .distinguished_name
        .push(DnType::CommonName, format!("{name} ca"));
    let ca_key = KeyPair::generate().expect("a key");
    let ca = of_ca.self_signed(&ca_key).expect("a root").pem();
    let issuer = Issuer::new(of_ca, ca_key);
    let names = vec!["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).expect("a name");
    params.distinguished_name.push(DnType::CommonName, name);
    let key = KeyPair::generate().expect("a key");
    let cert = params
        .signed_by(&key, &issuer)
        .expect("a certificate")
        .pem();
    Issued {
        ca,
        cert,
        key: key.serialize_pem(),
    }
}

/// Waits until a trouble of `subject` says this, or until there is none about what changed.
fn trouble(gateway: &Gateway, subject: &str, words: Option<&str>) {
    let begin = format!("{subject}: ");
    tidegate_tests::wait::find("the troubles are as expected", || {
        let all = gateway.control("/readyz");
        let is_so = match words {
            Some(words) => all.contains(&begin) && all.contains(words),
            None => ["credentials", "configuration", "refused"]
                .iter()
                .all(|kind| {
                    let labels = format!("subject=\"{subject}\",kind=\"{kind}\"");
                    gateway.metric("tidegate_trouble{", &labels) == 0
                }),
        };
        is_so
            .then_some(())
            .ok_or_else(|| format!("{all}\n{}", gateway.log()))
    });
}
