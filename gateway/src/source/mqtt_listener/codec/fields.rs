//! Reading the fields of MQTT packets: every read is checked, nothing is allocated by what a
//! length field claims. Section numbers are those of MQTT 5.0 (OASIS, 2019).

use bytes::{Buf, Bytes};

/// A packet that is not what the standard says; the connection is closed.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum DecodeError {
    /// It cannot be read.
    Malformed(&'static str),
    /// It can be read, and says what it must not.
    ProtocolError(&'static str),
}

use DecodeError::{Malformed, ProtocolError};

/// The fixed header of a packet (2.1).
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct FixedHeader {
    /// Packet type and flags.
    pub first: u8,
    /// Bytes of the header itself.
    pub len: usize,
    /// Bytes that follow it.
    pub remaining: usize,
}

/// Reads a fixed header; `None` while bytes are missing.
///
/// # Errors
/// [`DecodeError`] for a length of five bytes or more (CVE-2026-21888).
pub fn header(bytes: &[u8]) -> Result<Option<FixedHeader>, DecodeError> {
    let Some((first, rest)) = bytes.split_first() else {
        return Ok(None);
    };
    let mut remaining = 0;
    for at in 0..4 {
        let Some(byte) = rest.get(at) else {
            return Ok(None);
        };
        remaining |= usize::from(byte & 0x7f) << (7 * at);
        if byte & 0x80 == 0 {
            return Ok(Some(FixedHeader {
                first: *first,
                len: at + 2,
                remaining,
            }));
        }
    }
    Err(Malformed("the remaining length has more than four bytes"))
}

/// Reads fields from the body of one packet.
pub struct FieldReader(Bytes);

impl FieldReader {
    /// Over a packet's body.
    pub fn new(body: Bytes) -> FieldReader {
        FieldReader(body)
    }

    /// Whether everything was read.
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// All that is left.
    pub fn rest(self) -> Bytes {
        self.0
    }

    fn take(&mut self, len: usize) -> Result<Bytes, DecodeError> {
        if len > self.0.len() {
            return Err(Malformed("the packet ends within a field"));
        }
        Ok(self.0.split_to(len))
    }

    /// The next bytes as a number; unlike [`FieldReader::take`] it shares nothing.
    fn number<const N: usize>(&mut self) -> Result<[u8; N], DecodeError> {
        let Some(bytes) = self.0.first_chunk::<N>() else {
            return Err(Malformed("the packet ends within a field"));
        };
        let bytes = *bytes;
        self.0.advance(N);
        Ok(bytes)
    }

    /// One byte.
    pub fn u8(&mut self) -> Result<u8, DecodeError> {
        self.number().map(u8::from_be_bytes)
    }

    /// A two byte integer (1.5.2).
    pub fn u16(&mut self) -> Result<u16, DecodeError> {
        self.number().map(u16::from_be_bytes)
    }

    /// A four byte integer (1.5.3).
    pub fn u32(&mut self) -> Result<u32, DecodeError> {
        self.number().map(u32::from_be_bytes)
    }

    /// A packet identifier, which is never zero (2.2.1).
    pub fn packet_id(&mut self) -> Result<u16, DecodeError> {
        match self.u16()? {
            0 => Err(Malformed("the packet identifier is 0")),
            id => Ok(id),
        }
    }

    /// A variable byte integer (1.5.5).
    pub fn varint(&mut self) -> Result<usize, DecodeError> {
        let mut value = 0;
        for at in 0..4 {
            let byte = self.u8()?;
            value |= usize::from(byte & 0x7f) << (7 * at);
            if byte & 0x80 == 0 {
                return Ok(value);
            }
        }
        Err(Malformed("a variable length has more than four bytes"))
    }

    /// Binary data (1.5.6).
    pub fn binary(&mut self) -> Result<Bytes, DecodeError> {
        let len = self.u16()?;
        self.take(usize::from(len))
    }

    /// A UTF-8 string (1.5.4) without U+0000.
    pub fn text(&mut self) -> Result<Utf8String, DecodeError> {
        let bytes = self.binary()?;
        match std::str::from_utf8(&bytes) {
            Err(_) => Err(Malformed("a string is not UTF-8")),
            Ok(text) if text.contains('\0') => Err(Malformed("a string holds U+0000")),
            Ok(_) => Ok(Utf8String(bytes)),
        }
    }

    /// The properties of an MQTT 5 packet (2.2.2), as fields of their own.
    pub fn properties(&mut self) -> Result<FieldReader, DecodeError> {
        let len = self.varint()?;
        self.take(len).map(FieldReader)
    }
}

/// Checked UTF-8 within a packet, without a copy.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub struct Utf8String(Bytes);

impl Utf8String {
    /// Its bytes.
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// The string.
    pub fn as_str(&self) -> &str {
        // Checked where it was read; the empty string cannot occur by error.
        std::str::from_utf8(&self.0).unwrap_or_default()
    }
}

/// One property of an MQTT 5 packet, by the shape of its value.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Property {
    /// One, two or four bytes, or a variable integer.
    Number(u8, u32),
    /// A string.
    String(u8, Utf8String),
    /// Binary data.
    Binary(u8, Bytes),
    /// A user property: name and value.
    User(Utf8String, Utf8String),
}

/// Property identifiers (2.2.2.2) that this listener reads or writes.
pub mod property_id {
    #![allow(missing_docs)]
    pub const PAYLOAD_FORMAT: u8 = 0x01;
    pub const MESSAGE_EXPIRY: u8 = 0x02;
    pub const CONTENT_TYPE: u8 = 0x03;
    pub const RESPONSE_TOPIC: u8 = 0x08;
    pub const CORRELATION_DATA: u8 = 0x09;
    pub const SUBSCRIPTION_ID: u8 = 0x0b;
    pub const SESSION_EXPIRY: u8 = 0x11;
    pub const ASSIGNED_CLIENT_ID: u8 = 0x12;
    pub const SERVER_KEEP_ALIVE: u8 = 0x13;
    pub const AUTHENTICATION_METHOD: u8 = 0x15;
    pub const REQUEST_PROBLEM_INFORMATION: u8 = 0x17;
    pub const REASON_STRING: u8 = 0x1f;
    pub const RECEIVE_MAXIMUM: u8 = 0x21;
    pub const TOPIC_ALIAS: u8 = 0x23;
    pub const RETAIN_AVAILABLE: u8 = 0x25;
    pub const USER: u8 = 0x26;
    pub const MAXIMUM_PACKET_SIZE: u8 = 0x27;
    pub const SHARED_AVAILABLE: u8 = 0x2a;
    pub const SUBSCRIPTION_ID_AVAILABLE: u8 = 0x29;
}

/// Properties as a set, to say which a packet may have and which it had.
#[derive(Debug, Clone, Copy, Default)]
pub struct PropertySet(u64);

impl PropertySet {
    /// The identifiers of a packet type.
    pub const fn of(ids: &[u8]) -> PropertySet {
        let (mut set, mut at) = (0, 0);
        while at < ids.len() {
            set |= 1 << ids[at];
            at += 1;
        }
        PropertySet(set)
    }

    fn has(self, id: u8) -> bool {
        id < 64 && self.0 & (1 << id) != 0
    }
}

/// The properties of one packet, each once at most (2.2.2.2).
pub struct Properties {
    fields: FieldReader,
    allowed: PropertySet,
    had: PropertySet,
}

impl Properties {
    /// Reads from `fields` what a packet with the properties `allowed` may have.
    pub fn new(fields: FieldReader, allowed: PropertySet) -> Properties {
        Properties {
            fields,
            allowed,
            had: PropertySet::default(),
        }
    }
}

impl Iterator for Properties {
    type Item = Result<Property, DecodeError>;

    fn next(&mut self) -> Option<Self::Item> {
        let id = *self.fields.0.first()?;
        if !self.allowed.has(id) {
            return Some(Err(Malformed("a property is not one of this packet's")));
        }
        if id != property_id::USER && self.had.has(id) {
            return Some(Err(ProtocolError("a property is there twice")));
        }
        self.had.0 |= 1 << id;
        Some(property(&mut self.fields))
    }
}

/// The next property.
///
/// # Errors
/// [`DecodeError`] for an identifier the standard does not know, and for a value cut short.
fn property(fields: &mut FieldReader) -> Result<Property, DecodeError> {
    let id = fields.u8()?;
    Ok(match id {
        0x01 | 0x17 | 0x19 | 0x24 | 0x25 | 0x28 | 0x29 | 0x2a => {
            Property::Number(id, u32::from(fields.u8()?))
        }
        0x13 | 0x21 | 0x22 | 0x23 => Property::Number(id, u32::from(fields.u16()?)),
        0x02 | 0x11 | 0x18 | 0x27 => Property::Number(id, fields.u32()?),
        0x0b => Property::Number(id, fields.varint()? as u32),
        0x03 | 0x08 | 0x12 | 0x15 | 0x1a | 0x1c | 0x1f => Property::String(id, fields.text()?),
        0x09 | 0x16 => Property::Binary(id, fields.binary()?),
        0x26 => Property::User(fields.text()?, fields.text()?),
        _ => return Err(Malformed("a property is unknown to MQTT 5")),
    })
}
