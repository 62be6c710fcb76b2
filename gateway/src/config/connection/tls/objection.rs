//! What is wrong between the two ends of a TLS connection, in words that say what to do about it.

use std::error::Error;
use std::io;

use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::sign::CertifiedKey;
use rustls::{AlertDescription, CertificateError, InconsistentKeys};

use crate::config::ClientTls;

/// Why a server that the gateway connects to was not taken, or did not take the gateway. `plain` is the scheme for a
/// server without TLS. `None` where it is about something else.
pub(crate) fn of_server(
    error: &(dyn Error + 'static),
    tls: &ClientTls,
    plain: &str,
) -> Option<String> {
    Some(match of_rustls(error)? {
        rustls::Error::InvalidCertificate(why) => {
            let signers = match tls.ca.is_some() {
                true => {
                    "no CA under `ca` signed its certificate: put the one that did into that file"
                }
                false => "no known CA signed its certificate: name the one that did under `ca`",
            };
            format!("the server {}", of_certificate(why, signers))
        }
        rustls::Error::InvalidMessage(_) => {
            format!("the server does not speak TLS; write {plain}, or take the port where it does")
        }
        rustls::Error::AlertReceived(alert) => of_alert(*alert, tls),
        rustls::Error::PeerIncompatible(why) => format!(
            "the server and the gateway have no TLS in common, which takes TLS 1.2 or 1.3: {why:?}"
        ),
        _ => return None,
    })
}

/// What is wrong with the certificate of the other end, after its name; `signers` is said where no known CA signed it.
pub(crate) fn of_certificate(why: &CertificateError, signers: &str) -> String {
    use CertificateError as Why;
    match why {
        // Bad is the signature of a CA of the same name, such as one that was made anew, with a key of another kind too.
        Why::UnknownIssuer
        | Why::BadSignature
        | Why::UnsupportedSignatureAlgorithmContext { .. }
        | Why::UnsupportedSignatureAlgorithmForPublicKeyContext { .. } => {
            format!("shows a certificate that is not trusted: {signers}")
        }
        Why::ExpiredContext { time, not_after } => {
            let (now, end) = dates(*time, *not_after);
            format!(
                "shows a certificate that expired on {end}; this machine's clock says {now}: renew it, or set the clock"
            )
        }
        Why::Expired => "shows a certificate that has expired, or this machine's clock is wrong".to_owned(),
        Why::NotValidYetContext { time, not_before } => {
            let (now, begin) = dates(*time, *not_before);
            format!(
                "shows a certificate that is not valid before {begin}; this machine's clock says {now}: set the clock"
            )
        }
        Why::NotValidYet => {
            "shows a certificate that is not valid yet, or this machine's clock is behind".to_owned()
        }
        Why::NotValidForNameContext {
            expected,
            presented,
        } => {
            let named = match presented.as_slice() {
                [] => "no name at all".to_owned(),
                names => names.iter().map(|name| bare(name)).collect::<Vec<_>>().join(", "),
            };
            format!(
                "shows a certificate for {named}, not for {}: connect to it by a name of the certificate, or issue one for this name",
                expected.to_str()
            )
        }
        Why::NotValidForName => "shows a certificate for another name".to_owned(),
        Why::InvalidPurpose | Why::InvalidPurposeContext { .. } => {
            "shows a certificate that is meant for something else: issue one with serverAuth for a server, clientAuth for a client"
                .to_owned()
        }
        Why::Revoked => "shows a certificate that was revoked".to_owned(),
        Why::BadEncoding => "shows a certificate that cannot be read".to_owned(),
        Why::Other(other) if format!("{other:?}").contains("CaUsedAsEndEntity") => {
            "shows a CA certificate (CA:TRUE) as its own; issue one with CA:FALSE".to_owned()
        }
        other => format!("shows a certificate that is refused: {other:?}"),
    }
}

/// `DnsName("a")` → `a`
fn bare(name: &str) -> &str {
    name.split('"').nth(1).unwrap_or(name)
}

/// What a server says of the gateway.
fn of_alert(alert: AlertDescription, tls: &ClientTls) -> String {
    use AlertDescription as Alert;
    let own = match tls.identity.is_some() {
        true => "the certificate under `cert`",
        false => "this gateway, which shows no certificate: name one with `cert` and `key`",
    };
    match alert {
        Alert::CertificateRequired | Alert::NoCertificate => {
            "the server asks for a client certificate; name one with `cert` and `key`".to_owned()
        }
        Alert::UnknownCA => format!("the server does not know the CA of {own}"),
        Alert::CertificateExpired => {
            format!("the server says that {own} has expired: renew it, or set the clocks")
        }
        Alert::BadCertificate | Alert::UnsupportedCertificate | Alert::CertificateUnknown => {
            format!("the server refuses {own} ({alert:?})")
        }
        Alert::HandshakeFailure | Alert::AccessDenied => {
            format!(
                "the server refuses {own} ({alert:?}); or it has no TLS in common with the gateway"
            )
        }
        Alert::ProtocolVersion => "the server speaks neither TLS 1.2 nor TLS 1.3".to_owned(),
        Alert::UnrecognisedName => "the server does not know this host name; see `url`".to_owned(),
        other => format!("the server ends the TLS connection: {other:?}"),
    }
}

/// Why the certificates of `chain` and the private key `key` cannot be used together.
pub(super) fn of_pair(
    error: &rustls::Error,
    chain: &[CertificateDer<'static>],
    key: &PrivateKeyDer<'static>,
) -> String {
    let is_other = matches!(
        error,
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch)
    );
    if !is_other {
        return of_files(error);
    }
    match chain.iter().position(|one| belongs(one, key)) {
        Some(at) => format!(
            "the private key is the one of certificate {} of {}: put that first, and behind it the CA that signed it, and so on",
            at + 1,
            chain.len()
        ),
        None => of_files(error),
    }
}

fn belongs(certificate: &CertificateDer<'static>, key: &PrivateKeyDer<'static>) -> bool {
    let provider = rustls::crypto::ring::default_provider();
    let key = provider.key_provider.load_private_key(key.clone_key());
    key.is_ok_and(|key| {
        let pair = CertifiedKey::new(vec![certificate.clone()], key);
        pair.keys_match().is_ok()
    })
}

/// Why what was read of certificates and private keys cannot be used.
pub(super) fn of_files(error: &rustls::Error) -> String {
    match error {
        rustls::Error::InconsistentKeys(InconsistentKeys::KeyMismatch) => {
            "the private key is not the one of this certificate; name the two that were made together".to_owned()
        }
        rustls::Error::General(why) if why.contains("parse private key") => {
            "the private key is damaged or of a kind that is not served; RSA of 2048 to 8192 bits, ECDSA with P-256 or P-384 \
             and Ed25519 are"
                .to_owned()
        }
        rustls::Error::InvalidCertificate(CertificateError::BadEncoding) => {
            "it holds something else than a certificate".to_owned()
        }
        other => other.to_string(),
    }
}

/// The error of the TLS layer somewhere below.
pub(crate) fn of_rustls<'e>(error: &'e (dyn Error + 'static)) -> Option<&'e rustls::Error> {
    let mut cause = Some(error);
    while let Some(error) = cause {
        if let Some(found) = error.downcast_ref::<rustls::Error>() {
            return Some(found);
        }
        // What an I/O error wraps is not among its sources.
        let wrapped = error
            .downcast_ref::<io::Error>()
            .and_then(io::Error::get_ref);
        cause = match wrapped {
            Some(wrapped) => Some(wrapped),
            None => error.source(),
        };
    }
    None
}

/// Two moments as dates; of the same day, with the time.
fn dates(one: UnixTime, other: UnixTime) -> (String, String) {
    let written = |time: UnixTime, format: &str| {
        let seconds = i64::try_from(time.as_secs()).unwrap_or(i64::MAX);
        match jiff::Timestamp::from_second(seconds) {
            Ok(time) => time.strftime(format).to_string(),
            Err(_) => format!("{seconds} s after 1970"),
        }
    };
    let both = |format| (written(one, format), written(other, format));
    match both("%Y-%m-%d") {
        (one, other) if one == other => both("%Y-%m-%d %H:%M:%S UTC"),
        days => days,
    }
}
