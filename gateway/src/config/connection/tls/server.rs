//! TLS for listeners: a certificate of their own, and client certificates where asked for.

use std::sync::Arc;

use rustls::RootCertStore;
use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::{certificates, objection};
use crate::config::ServerTls;

/// Why these certificates cannot be used, where they cannot.
pub(crate) fn objection(tls: &ServerTls) -> Option<String> {
    acceptor(tls).err()
}

/// An acceptor for the files that the configuration names.
///
/// # Errors
/// Which file cannot be used, and why.
pub(crate) fn acceptor(tls: &ServerTls) -> Result<TlsAcceptor, String> {
    let chain = certificates(&tls.cert)?;
    let key = PrivateKeyDer::from_pem_file(&tls.key)
        .map_err(|error| format!("{}: no private key: {error}", tls.key.display()))?;
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let builder = rustls::ServerConfig::builder_with_provider(Arc::clone(&provider))
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())?;
    let builder = match &tls.client_ca {
        None => builder.with_no_client_auth(),
        Some(ca) => {
            let mut roots = RootCertStore::empty();
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(|error| {
                    format!("{}: {}", ca.display(), objection::of_files(&error))
                })?;
            }
            let verifier = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider)
                .build()
                .map_err(|error| format!("{}: {error}", ca.display()))?;
            builder.with_client_cert_verifier(verifier)
        }
    };
    let config = builder
        .with_single_cert(chain.clone(), key.clone_key())
        .map_err(|error| {
            let why = objection::of_pair(&error, &chain, &key);
            format!("{}: {why}", tls.cert.display())
        })?;
    Ok(TlsAcceptor::from(Arc::new(config)))
}
