//! Certificates of a listener.

use std::path::PathBuf;

use crate::config::key::{Key, Table, keys, path};
use crate::config::kinds::KeyGroup;
use crate::config::section::Section;
use crate::config::value::files;

keys! {
    /// Keys of `tls` of a listener.
    pub(crate) SERVER_TLS: ServerTlsKeys {
        cert: Option<PathBuf> = path().required("PEM certificate chain"),
        key: Option<PathBuf> = path().required("PEM private key; must not be readable by everyone"),
        client_ca: Option<PathBuf> = path().optional("no client certificates", "PEM roots that every client's certificate must come from"),
    }
}

/// For the kinds that listen.
pub(crate) const GROUP: KeyGroup = KeyGroup {
    heading: "tls of a listener",
    keys: ServerTlsKeys::ROWS,
};

/// Certificates of a listener.
#[derive(Debug, Clone, PartialEq)]
pub struct ServerTls {
    /// PEM certificate chain.
    pub cert: PathBuf,
    /// PEM private key; a world-readable file is refused.
    pub key: PathBuf,
    /// PEM roots that client certificates must come from; `None` asks for none.
    pub client_ca: Option<PathBuf>,
}

impl ServerTls {
    /// The files that it names.
    pub(super) fn files(&self) -> impl Iterator<Item = &PathBuf> {
        [&self.cert, &self.key].into_iter().chain(&self.client_ca)
    }

    /// Reads `tls = { cert, key, client_ca }`, which stands under `tls`.
    pub(super) fn read(section: &Section<'_>, tls: &Key<Option<Table>>) -> Option<ServerTls> {
        let tls = section.table(tls)?;
        let cert = files::certificates(&tls, &SERVER_TLS.cert);
        let key = files::private_key(&tls, &SERVER_TLS.key);
        let client_ca = files::certificates(&tls, &SERVER_TLS.client_ca);
        Some(ServerTls {
            cert: cert?,
            key: key?,
            client_ca,
        })
    }
}
