//! TLS towards brokers and webhooks: always verified, with the system's roots or given ones.

use std::sync::Arc;

use rustls::pki_types::PrivateKeyDer;
use rustls::pki_types::pem::PemObject;
use rustls::{ClientConfig, ConfigBuilder, RootCertStore, WantsVerifier};

use super::{certificates, objection};
use crate::config::ClientTls;

/// The client side's configuration.
///
/// # Errors
/// Which file cannot be used, and why.
pub(crate) fn config(tls: &ClientTls) -> Result<ClientConfig, String> {
    let mut roots = RootCertStore::empty();
    match &tls.ca {
        Some(ca) => {
            for certificate in certificates(ca)? {
                roots.add(certificate).map_err(|error| {
                    format!("{}: {}", ca.display(), objection::of_files(&error))
                })?;
            }
        }
        None => {
            let found = rustls_native_certs::load_native_certs();
            roots.add_parsable_certificates(found.certs);
        }
    }
    if roots.is_empty() {
        return Err(
            "no root certificates: install ca-certificates, or name a file with `ca`".into(),
        );
    }
    let builder = builder()?.with_root_certificates(roots);
    match &tls.identity {
        None => Ok(builder.with_no_client_auth()),
        Some((cert, key)) => {
            let chain = certificates(cert)?;
            let secret = PrivateKeyDer::from_pem_file(key)
                .map_err(|error| format!("{}: no private key: {error}", key.display()))?;
            builder
                .with_client_auth_cert(chain.clone(), secret.clone_key())
                .map_err(|error| {
                    let why = objection::of_pair(&error, &chain, &secret);
                    format!("{}: {why}", cert.display())
                })
        }
    }
}

/// Why these certificates cannot be used, where they cannot.
pub(crate) fn objection(tls: &ClientTls) -> Option<String> {
    config(tls).err()
}

/// A configuration that trusts nobody, for clients that want one and never use it.
///
/// # Errors
/// None with the protocol versions as they are.
#[cfg(feature = "http")]
pub(crate) fn without_roots() -> Result<ClientConfig, String> {
    Ok(builder()?
        .with_root_certificates(RootCertStore::empty())
        .with_no_client_auth())
}

fn builder() -> Result<ConfigBuilder<ClientConfig, WantsVerifier>, String> {
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    ClientConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .map_err(|error| error.to_string())
}
