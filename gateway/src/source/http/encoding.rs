//! Bodies that come compressed: gzip and deflate, by `Content-Encoding` or `Transfer-Encoding`
//! (RFC 9110, section 8.4.1; RFC 9112, section 7). A bomb is bounded by the limit of the body.

use std::io::Read;

use flate2::bufread::MultiGzDecoder;
use flate2::{Decompress, FlushDecompress, Status};
use hyper::StatusCode;
use hyper::header::{self, HeaderMap, HeaderName};

use super::rejection::Rejection;

/// Encodings on top of each other.
const CODINGS_MAX: usize = 4;
/// Room that is made first for what is decoded.
const ROOM_BYTES: usize = 4096;

/// How a body is encoded.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Coding {
    Gzip,
    /// In a zlib frame, or bare as some senders have it.
    Deflate,
}

/// What is to be undone, in this order.
pub(super) fn of_headers(headers: &HeaderMap) -> Result<Vec<Coding>, Rejection> {
    let mut codings = Vec::new();
    for name in [header::CONTENT_ENCODING, header::TRANSFER_ENCODING] {
        for coding in listed(headers, &name) {
            match coding.to_ascii_lowercase().as_str() {
                "" | "identity" => {}
                // Undone already; one that does not come last is refused with the head.
                "chunked" if name == header::TRANSFER_ENCODING => {}
                "gzip" | "x-gzip" => codings.push(Coding::Gzip),
                "deflate" => codings.push(Coding::Deflate),
                _ => return Err(unknown(&name, &coding)),
            }
        }
    }
    if codings.len() > CODINGS_MAX {
        let what = format!("the body is encoded more than {CODINGS_MAX} times");
        return Err(Rejection::new(StatusCode::BAD_REQUEST, what));
    }
    codings.reverse();
    Ok(codings)
}

fn listed(headers: &HeaderMap, name: &HeaderName) -> Vec<String> {
    let values = headers.get_all(name).into_iter();
    let texts = values.map(|value| String::from_utf8_lossy(value.as_bytes()).into_owned());
    let parts = |text: String| text.split(',').map(|part| part.trim().to_owned()).collect();
    texts
        .flat_map(|text| -> Vec<String> { parts(text) })
        .collect()
}

fn unknown(name: &HeaderName, coding: &str) -> Rejection {
    let (status, shown) = match *name == header::TRANSFER_ENCODING {
        true => (StatusCode::NOT_IMPLEMENTED, "Transfer-Encoding"),
        false => (StatusCode::UNSUPPORTED_MEDIA_TYPE, "Content-Encoding"),
    };
    let coding: String = coding.chars().take(40).collect();
    let what = format!(
        "{shown}: {} is not understood; send gzip, deflate or the body as it is",
        coding.escape_debug()
    );
    Rejection::new(status, what).with(header::ACCEPT_ENCODING, "gzip, deflate, identity")
}

/// How large an encoded body may be: what does not shrink grows by its frame.
pub(super) fn encoded_bytes_max(bytes_max: usize) -> usize {
    bytes_max + bytes_max / 256 + 1024
}

impl Coding {
    /// The bytes before they were encoded; none when they are more than `bytes_max`.
    ///
    /// # Errors
    /// That the body is torn, damaged, or something else.
    pub(super) fn undo(self, body: &[u8], bytes_max: usize) -> Result<Option<Vec<u8>>, String> {
        match self {
            Coding::Gzip => gunzip(body, bytes_max)
                .map_err(|error| format!("the body is no gzip from end to end: {error}")),
            Coding::Deflate => inflate(body, bytes_max)
                .map_err(|what| format!("the body is no deflate from end to end: {what}")),
        }
    }
}

fn gunzip(body: &[u8], bytes_max: usize) -> std::io::Result<Option<Vec<u8>>> {
    let mut bytes = Vec::new();
    let mut within = MultiGzDecoder::new(body).take(bytes_max as u64 + 1);
    within.read_to_end(&mut bytes)?;
    Ok((bytes.len() <= bytes_max).then_some(bytes))
}

/// Unlike a reader, this tells a torn stream from one that has ended.
fn inflate(body: &[u8], bytes_max: usize) -> Result<Option<Vec<u8>>, String> {
    let mut state = Decompress::new(is_zlib(body));
    let mut bytes = Vec::with_capacity(ROOM_BYTES.min(bytes_max + 1));
    let mut rest = body;
    loop {
        let (taken, given) = (state.total_in(), bytes.len());
        let status = state.decompress_vec(rest, &mut bytes, FlushDecompress::None);
        let status = status.map_err(|error| error.to_string())?;
        let taken = usize::try_from(state.total_in() - taken).unwrap_or(usize::MAX);
        rest = rest.get(taken..).unwrap_or_default();
        if bytes.len() > bytes_max {
            return Ok(None);
        }
        match status {
            Status::StreamEnd if rest.is_empty() => return Ok(Some(bytes)),
            Status::StreamEnd => return Err("something follows its end".into()),
            _ if bytes.len() == bytes.capacity() => {
                bytes.reserve_exact(bytes.len().min(bytes_max + 1 - bytes.len()).max(1));
            }
            _ if taken == 0 && bytes.len() == given => return Err("it is torn".into()),
            _ => {}
        }
    }
}

/// Whether it begins as a zlib frame does (RFC 1950, section 2.2).
fn is_zlib(body: &[u8]) -> bool {
    match body {
        [method, flags, ..] => {
            method & 0x0f == 8 && u16::from_be_bytes([*method, *flags]).is_multiple_of(31)
        }
        _ => false,
    }
}
