//! Frames: what lies between two zero bytes, checked before anybody reads it.
//!
//! ```text
//!   version  message (postcard)   CRC-32, little endian          the body
//!      1          0 … 247              4               bytes
//!   └──────────────── COBS ────────────────┘  00                 the line
//! ```
//!
//! The checksum (CRC-32/ISO-HDLC) covers version and message. COBS takes every zero out of the body, so a zero on the
//! line always ends a frame: after noise, both sides are in step again at the next one.

use crate::counters::{Counters, count};
use serde::Serialize;

/// Version of the protocol: first byte of every body.
pub const PROTOCOL: u8 = 1;
/// Longest body in bytes, version and checksum included. Up to 254 bytes COBS costs exactly one more.
pub const BODY_SIZE_MAX: usize = 252;
/// Longest frame on the line in bytes, delimiter included.
pub const FRAME_SIZE_MAX: usize = BODY_SIZE_MAX + 2;
/// Room for one frame.
pub type FrameBuffer = [u8; FRAME_SIZE_MAX];

const CHECKSUM_SIZE: usize = 4;
const CRC: crc::Crc<u32, crc::Table<1>> =
    crc::Crc::<u32, crc::Table<1>>::new(&crc::CRC_32_ISO_HDLC);

/// Why a run of bytes between two delimiters is not a frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum FrameError {
    /// Not COBS, too short, or the checksum differs.
    Damaged,
    /// Longer than a frame may be.
    Oversize,
    /// The first byte is not [`PROTOCOL`].
    ForeignVersion,
}

impl FrameError {
    pub(crate) fn count_in(self, counters: &mut Counters) {
        count(match self {
            Self::Damaged => &mut counters.crc_errors,
            Self::Oversize => &mut counters.oversize,
            Self::ForeignVersion => &mut counters.foreign_version,
        });
    }
}

/// Encodes `message` as one frame with its delimiter. `None` if it is longer than a frame may be.
pub fn encode<'a>(message: &impl Serialize, out: &'a mut FrameBuffer) -> Option<&'a [u8]> {
    let mut body = [0; BODY_SIZE_MAX];
    body[0] = PROTOCOL;
    let size = 1 + postcard::to_slice(message, &mut body[1..BODY_SIZE_MAX - CHECKSUM_SIZE])
        .ok()?
        .len();
    let checksum = CRC.checksum(&body[..size]).to_le_bytes();
    body[size..size + CHECKSUM_SIZE].copy_from_slice(&checksum);
    let encoded = cobs::encode(&body[..size + CHECKSUM_SIZE], out);
    out[encoded] = 0;
    Some(&out[..=encoded])
}

/// Decodes, in place, the bytes before a delimiter, and returns the message in them.
pub fn decode(encoded: &mut [u8]) -> Result<&[u8], FrameError> {
    let end = decode_in_place(encoded)?;
    encoded.get(1..end).ok_or(FrameError::Damaged)
}

/// Decodes in place; the message then lies between the first byte and the returned end.
fn decode_in_place(encoded: &mut [u8]) -> Result<usize, FrameError> {
    if encoded.len() >= FRAME_SIZE_MAX {
        return Err(FrameError::Oversize);
    }
    let size = cobs::decode_in_place(encoded).map_err(|_| FrameError::Damaged)?;
    let body = encoded.get(..size).ok_or(FrameError::Damaged)?;
    let (covered, checksum) = body
        .split_last_chunk::<CHECKSUM_SIZE>()
        .ok_or(FrameError::Damaged)?;
    if CRC.checksum(covered).to_le_bytes() != *checksum {
        return Err(FrameError::Damaged);
    }
    match covered.first() {
        Some(&PROTOCOL) => Ok(covered.len()),
        Some(_) => Err(FrameError::ForeignVersion),
        None => Err(FrameError::Damaged),
    }
}

/// Collects bytes from a line until a delimiter.
#[derive(Debug)]
pub struct Decoder {
    buffer: FrameBuffer,
    size: usize,
    oversize: bool,
    /// Where the last good message ends in the buffer; the next byte starts anew.
    end: Option<usize>,
}

impl Default for Decoder {
    fn default() -> Self {
        Self {
            buffer: [0; FRAME_SIZE_MAX],
            size: 0,
            oversize: false,
            end: None,
        }
    }
}

impl Decoder {
    /// Takes bytes from the front of `bytes` up to and including a delimiter that ends something. `None` when they are
    /// used up before. After `Ok`, the message is in [`message`](Self::message) until the next call.
    pub fn advance(&mut self, bytes: &mut &[u8]) -> Option<Result<(), FrameError>> {
        self.end = None;
        while let Some((&byte, rest)) = bytes.split_first() {
            *bytes = rest;
            if byte != 0 {
                self.keep(byte);
            } else if self.size > 0 {
                return Some(self.finish());
            }
        }
        None
    }

    /// The message that [`advance`](Self::advance) found; empty if it found none.
    pub fn message(&self) -> &[u8] {
        self.end
            .and_then(|end| self.buffer.get(1..end))
            .unwrap_or_default()
    }

    fn keep(&mut self, byte: u8) {
        match self.buffer.get_mut(self.size) {
            Some(free) => {
                *free = byte;
                self.size += 1;
            }
            None => self.oversize = true,
        }
    }

    fn finish(&mut self) -> Result<(), FrameError> {
        let size = core::mem::take(&mut self.size);
        if core::mem::take(&mut self.oversize) {
            return Err(FrameError::Oversize);
        }
        self.end = Some(decode_in_place(&mut self.buffer[..size])?);
        Ok(())
    }
}
