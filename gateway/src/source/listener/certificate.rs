//! What is wrong with a client's certificate, or the name in it. Only certificates that the TLS layer has verified come
//! here; all that is read is where the subject's common name stands (RFC 5280, 4.1).

use rustls::Error;

use crate::config::connection::tls::objection;

/// What came in place of a handshake that was none of a login; for the log.
pub(in crate::source) fn noise(error: &std::io::Error) -> String {
    match objection::of_rustls(error) {
        Some(Error::InvalidMessage(_)) => {
            "it does not speak TLS, which this listener does: connect with TLS".to_owned()
        }
        _ => error.to_string(),
    }
}

/// Why a handshake failed, where it is about a certificate; for the log.
pub(in crate::source) fn objection(error: &std::io::Error) -> Option<String> {
    Some(match objection::of_rustls(error)? {
        Error::NoCertificatesPresented => {
            "it shows no certificate, which `client_ca` asks for".to_owned()
        }
        Error::InvalidCertificate(why) => {
            let signers = "no CA in `client_ca` signed it";
            format!("it {}", objection::of_certificate(why, signers))
        }
        Error::AlertReceived(why) => {
            format!("it does not accept this gateway's certificate: {why:?}")
        }
        _ => return None,
    })
}

/// The common name of the subject, if there is exactly one.
pub(in crate::source) fn common_name(certificate: &[u8]) -> Option<String> {
    let mut names = names(certificate)?.into_iter();
    match (names.next(), names.next()) {
        (Some(name), None) => Some(name),
        _ => None,
    }
}

const SEQUENCE: u8 = 0x30;
const SET: u8 = 0x31;
const OBJECT_ID: u8 = 0x06;
const VERSION: u8 = 0xa0;
/// UTF8String, PrintableString, IA5String.
const STRINGS: [u8; 3] = [0x0c, 0x13, 0x16];
/// id-at-commonName, 2.5.4.3.
const COMMON_NAME: &[u8] = &[0x55, 0x04, 0x03];

fn names(certificate: &[u8]) -> Option<Vec<String>> {
    let mut outer = certificate;
    let mut whole = expect(&mut outer, SEQUENCE)?;
    let mut signed = expect(&mut whole, SEQUENCE)?;
    if signed.first() == Some(&VERSION) {
        element(&mut signed)?;
    }
    // Serial number, signature algorithm, issuer, validity.
    for _ in 0..4 {
        element(&mut signed)?;
    }
    let mut subject = expect(&mut signed, SEQUENCE)?;
    let mut names = Vec::new();
    while !subject.is_empty() {
        let mut set = expect(&mut subject, SET)?;
        while !set.is_empty() {
            let mut attribute = expect(&mut set, SEQUENCE)?;
            let is_name = expect(&mut attribute, OBJECT_ID)? == COMMON_NAME;
            let (tag, value) = element(&mut attribute)?;
            if is_name && STRINGS.contains(&tag) {
                names.push(std::str::from_utf8(value).ok()?.to_owned());
            }
        }
    }
    Some(names)
}

/// The content of the next element, which must have this tag.
fn expect<'a>(bytes: &mut &'a [u8], expected: u8) -> Option<&'a [u8]> {
    let (tag, content) = element(bytes)?;
    (tag == expected).then_some(content)
}

/// Tag and content of the next element; lengths of up to two bytes (X.690, 8.1).
fn element<'a>(bytes: &mut &'a [u8]) -> Option<(u8, &'a [u8])> {
    let (&tag, rest) = bytes.split_first()?;
    let (&first, rest) = rest.split_first()?;
    let (len, rest) = match first {
        0..=0x7f => (usize::from(first), rest),
        0x81 => (usize::from(*rest.first()?), rest.get(1..)?),
        0x82 => (
            usize::from(u16::from_be_bytes([*rest.first()?, *rest.get(1)?])),
            rest.get(2..)?,
        ),
        _ => return None,
    };
    let (content, rest) = rest.split_at_checked(len)?;
    *bytes = rest;
    Some((tag, content))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn named(names: &[&str]) -> Vec<u8> {
        let mut params = rcgen::CertificateParams::default();
        params.distinguished_name = rcgen::DistinguishedName::new();
        let kinds = [rcgen::DnType::CommonName, rcgen::DnType::OrganizationName];
        for (kind, name) in kinds.into_iter().zip(names) {
            params.distinguished_name.push(kind, *name);
        }
        let key = rcgen::KeyPair::generate().expect("a key");
        params
            .self_signed(&key)
            .expect("a certificate")
            .der()
            .to_vec()
    }

    #[test]
    fn the_common_name_is_read_whatever_else_the_subject_says() {
        assert_eq!(
            common_name(&named(&["press-7"])).as_deref(),
            Some("press-7")
        );
        assert_eq!(
            common_name(&named(&["Müller", "o"])).as_deref(),
            Some("Müller")
        );
        assert_eq!(common_name(&named(&[])), None);
    }

    #[test]
    fn a_certificate_cut_short_anywhere_has_no_name_or_its_own() {
        let whole = named(&["press-7"]);
        for len in 0..whole.len() {
            let name = common_name(&whole[..len]);
            assert!(name.is_none(), "{len}: {name:?}");
        }
    }
}
