//! Schemas: names, units and types of a node's readings, so that events carry values only.
//!
//! A schema's key is the checksum of its fields: firmware that measures something else has another key by itself.
//! Values lie one after the other, in the order of the fields: a boolean as one byte, an integer as a zigzag varint, a
//! float as four bytes, little endian.

use serde::{Deserialize, Serialize};

/// Most fields of a schema.
pub const FIELD_COUNT_MAX: usize = 32;
/// Longest name or unit in bytes.
pub const NAME_SIZE_MAX: usize = 32;

/// One reading's name, unit and type.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Field<'a> {
    /// Name, as rules will use it.
    pub name: &'a str,
    /// Unit, for instance `Cel` (UCUM); empty for none.
    pub unit: &'a str,
    /// Type.
    pub kind: Kind,
}

/// Type of a reading.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub enum Kind {
    /// True or false.
    Boolean,
    /// A whole number times ten to the power of `exponent`: 21.5 travels as 215 with exponent −1.
    Integer {
        /// Power of ten.
        exponent: i8,
    },
    /// A binary32 floating-point number.
    Float,
}

/// The readings of one kind of node.
#[derive(Clone, Copy, Debug)]
pub struct Schema {
    /// Its fields, at most [`FIELD_COUNT_MAX`].
    pub fields: &'static [Field<'static>],
}

impl Schema {
    /// The key: a checksum over all fields.
    pub fn key(&self) -> u32 {
        const CRC: crc::Crc<u32, crc::Table<1>> =
            crc::Crc::<u32, crc::Table<1>>::new(&crc::CRC_32_ISO_HDLC);
        let mut digest = CRC.digest();
        for field in self.fields {
            let mut bytes = [0; 2 * NAME_SIZE_MAX + 8];
            // A field too long to be sent has no bytes here either; the node finds out when it is asked for it.
            digest.update(postcard::to_slice(field, &mut bytes).map_or(&[][..], |bytes| bytes));
        }
        digest.finalize()
    }
}

/// One value of a reading.
#[derive(Clone, Copy, Debug, PartialEq)]
pub enum Value {
    /// Of kind boolean.
    Boolean(bool),
    /// Of kind integer, before the exponent.
    Integer(i64),
    /// Of kind float.
    Float(f32),
}

/// Writes values one after the other; returns how many bytes they took, or `None` if `out` is too short.
pub fn write_values(values: &[Value], out: &mut [u8]) -> Option<usize> {
    let mut used = 0;
    for value in values {
        let free = out.get_mut(used..)?;
        used += match value {
            Value::Boolean(value) => postcard::to_slice(value, free),
            Value::Integer(value) => postcard::to_slice(value, free),
            Value::Float(value) => postcard::to_slice(value, free),
        }
        .ok()?
        .len();
    }
    Some(used)
}

/// Reads one value of `kind` from the front of `bytes`; `None` if they do not hold one.
pub fn read_value(kind: Kind, bytes: &mut &[u8]) -> Option<Value> {
    let (value, rest) = match kind {
        Kind::Boolean => {
            postcard::take_from_bytes(bytes).map(|(value, rest)| (Value::Boolean(value), rest))
        }
        Kind::Integer { .. } => {
            postcard::take_from_bytes(bytes).map(|(value, rest)| (Value::Integer(value), rest))
        }
        Kind::Float => {
            postcard::take_from_bytes(bytes).map(|(value, rest)| (Value::Float(value), rest))
        }
    }
    .ok()?;
    *bytes = rest;
    Some(value)
}
