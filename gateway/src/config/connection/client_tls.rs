//! Certificates towards a broker or server that the gateway connects to.

use std::path::PathBuf;

use crate::config::key::{AnyKey, keys, path};
use crate::config::kinds::KeyGroup;
use crate::config::section::Section;
use crate::config::value::files;

keys! {
    /// Keys of every connection that may be encrypted.
    pub(crate) CLIENT_TLS: ClientTlsKeys {
        ca: Option<PathBuf> = path().optional("the system's roots", "PEM roots that the server's certificate must come from"),
        cert: Option<PathBuf> = path().optional("no client certificate", "PEM certificate chain; goes with `key`"),
        key: Option<PathBuf> = path().optional("no client certificate", "PEM private key; must not be readable by everyone"),
    }
}

/// For the kinds that take them.
pub(crate) const GROUP: KeyGroup = KeyGroup {
    heading: "source mqtt, upstreams mqtt and http",
    keys: ClientTlsKeys::ROWS,
};

/// Certificates towards an upstream or a source broker.
#[derive(Debug, Clone, Default, PartialEq)]
pub struct ClientTls {
    /// `ca`: PEM roots; `None` uses the system's.
    pub ca: Option<PathBuf>,
    /// `cert` and `key`: the client's own certificate.
    pub identity: Option<(PathBuf, PathBuf)>,
}

impl ClientTls {
    /// Reads `ca`, `cert` and `key`.
    pub(crate) fn read(section: &Section<'_>) -> ClientTls {
        let ca = files::certificates(section, &CLIENT_TLS.ca);
        let cert = files::certificates(section, &CLIENT_TLS.cert);
        let key = files::private_key(section, &CLIENT_TLS.key);
        let pair = [&CLIENT_TLS.cert, &CLIENT_TLS.key];
        for (one, other) in [(pair[0], pair[1]), (pair[1], pair[0])] {
            if section.has(one) && !section.has(other) {
                let (one_name, other_name) = (one.name, other.name);
                let message = format!("`{one_name}` goes with `{other_name}`, which is missing");
                section.report(one, message);
            }
        }
        ClientTls {
            ca,
            identity: cert.zip(key),
        }
    }

    /// Reports, at the key `otherwise` where it is about none of these, what `objection` has against certificates that
    /// can each be read.
    pub(crate) fn report_unusable(
        &self,
        section: &Section<'_>,
        otherwise: &AnyKey,
        objection: impl FnOnce(&ClientTls) -> Option<String>,
    ) {
        let ca_read = section.has(&CLIENT_TLS.ca) == self.ca.is_some();
        let pair_read = section.has(&CLIENT_TLS.cert) == self.identity.is_some();
        let pair = self.identity.iter().flat_map(|(cert, key)| [cert, key]);
        if !ca_read || !pair_read || section.context.is_held(pair.chain(&self.ca)) {
            return;
        }
        if let Some(why) = objection(self) {
            let keys = [&CLIENT_TLS.cert, &CLIENT_TLS.ca];
            let written = keys.into_iter().find(|key| section.has(key));
            let error = section.error(written.map_or(otherwise, |key| key.any()), why);
            section.context.report_outside(error);
        }
    }

    /// Reports keys that are of no use, because the connection is not encrypted.
    pub(super) fn report_unused(section: &Section<'_>, scheme: &str, encrypted: &str) {
        for key in [&CLIENT_TLS.ca, &CLIENT_TLS.cert, &CLIENT_TLS.key] {
            if section.has(key) {
                let message = format!("`{}` has no use with {scheme}", key.name);
                let error = section.error(key, message);
                section
                    .context
                    .report(error.with_label(format!("write {encrypted} in `url`")));
            }
        }
    }
}
