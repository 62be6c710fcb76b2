//! The wire format of Protocol Buffers (<https://protobuf.dev/programming-guides/encoding/>), as far as records need it:
//! fields by their number, in any order, of which those that are not known can be passed by and kept.
//!
//! `protoc --decode_raw` shows what a record holds, behind its first byte.

use bytes::Bytes;

use super::RecordError;

/// Fields that are not known, kept in one message: what comes from outside has bounds.
const UNKNOWN_BYTES_MAX: usize = 64 * 1024;

/// The value of a field.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Value<'a> {
    /// A number, written by sevens of bits.
    Varint(u64),
    /// A number of eight bytes.
    Fixed64(u64),
    /// A number of four bytes.
    Fixed32,
    /// Text, bytes, or a message.
    Bytes(&'a [u8]),
}

impl<'a> Value<'a> {
    /// The number.
    pub fn number(self) -> Result<u64, RecordError> {
        match self {
            Value::Varint(number) | Value::Fixed64(number) => Ok(number),
            _ => Err(RecordError::Malformed),
        }
    }

    /// The number, where it is within the type.
    pub fn within<T: TryFrom<u64>>(self) -> Result<T, RecordError> {
        T::try_from(self.number()?).map_err(|_| RecordError::Malformed)
    }

    /// The number with a sign, as `sint64` has it.
    pub fn signed(self) -> Result<i64, RecordError> {
        let number = self.number()?;
        Ok((number >> 1) as i64 ^ -((number & 1) as i64))
    }

    /// The bytes.
    pub fn bytes(self) -> Result<&'a [u8], RecordError> {
        match self {
            Value::Bytes(bytes) => Ok(bytes),
            _ => Err(RecordError::Malformed),
        }
    }

    /// The text.
    pub fn text(self) -> Result<&'a str, RecordError> {
        std::str::from_utf8(self.bytes()?).map_err(|_| RecordError::Malformed)
    }
}

/// A message that is read field by field.
pub struct Fields<'a> {
    rest: &'a [u8],
    /// Where the field begins that was read last.
    last: &'a [u8],
}

impl<'a> Fields<'a> {
    /// Those of a message.
    pub fn of(message: &'a [u8]) -> Fields<'a> {
        Fields {
            rest: message,
            last: message,
        }
    }

    /// The next one and its number.
    ///
    /// # Errors
    /// The message ends within it, or it is none.
    pub fn next_field(&mut self) -> Result<Option<(u64, Value<'a>)>, RecordError> {
        self.last = self.rest;
        if self.rest.is_empty() {
            return Ok(None);
        }
        let key = self.varint()?;
        let value = match key & 7 {
            0 => Value::Varint(self.varint()?),
            1 => {
                let bytes = self.take(8)?;
                let bytes = bytes.try_into().map_err(|_| RecordError::Malformed)?;
                Value::Fixed64(u64::from_le_bytes(bytes))
            }
            2 => {
                let len = usize::try_from(self.varint()?).map_err(|_| RecordError::Malformed)?;
                Value::Bytes(self.take(len)?)
            }
            5 => {
                self.take(4)?;
                Value::Fixed32
            }
            _ => return Err(RecordError::Malformed),
        };
        Ok(Some((key >> 3, value)))
    }

    /// Keeps the field that was read last, as it is.
    ///
    /// # Errors
    /// There are too many of them.
    pub fn keep(&self, unknown: &mut Vec<u8>) -> Result<(), RecordError> {
        let len = self.last.len() - self.rest.len();
        if unknown.len() + len > UNKNOWN_BYTES_MAX {
            return Err(RecordError::Malformed);
        }
        unknown.extend_from_slice(&self.last[..len]);
        Ok(())
    }

    /// The key of the next field, where the message is long enough for one.
    pub fn peek(&self) -> Option<u64> {
        let mut ahead = Fields::of(self.rest);
        Some(ahead.varint().ok()? >> 3)
    }

    fn take(&mut self, len: usize) -> Result<&'a [u8], RecordError> {
        let (taken, rest) = self
            .rest
            .split_at_checked(len)
            .ok_or(RecordError::Malformed)?;
        self.rest = rest;
        Ok(taken)
    }

    fn varint(&mut self) -> Result<u64, RecordError> {
        let mut number = 0;
        for (place, byte) in self.rest.iter().enumerate().take(10) {
            number |= u64::from(byte & 0x7f) << (7 * place);
            if byte & 0x80 == 0 {
                // The tenth byte has room for one bit.
                if place == 9 && *byte > 1 {
                    break;
                }
                self.rest = &self.rest[place + 1..];
                return Ok(number);
            }
        }
        Err(RecordError::Malformed)
    }
}

/// A view of bytes that are part of `whole`.
pub fn shared(whole: &Bytes, part: &[u8]) -> Bytes {
    match part.is_empty() {
        true => Bytes::new(),
        false => whole.slice_ref(part),
    }
}

/// Writes fields behind what is there.
pub trait PutFields {
    /// A number.
    fn put_varint(&mut self, field: u64, number: u64);
    /// A number of eight bytes.
    fn put_fixed64(&mut self, field: u64, number: u64);
    /// A number with a sign, as `sint64`.
    fn put_signed(&mut self, field: u64, number: i64);
    /// Text or bytes.
    fn put_bytes(&mut self, field: u64, bytes: &[u8]);
    /// Text, where there is some.
    fn put_text(&mut self, field: u64, text: Option<&str>);
    /// A message.
    fn put_message(&mut self, field: u64, write: impl FnOnce(&mut Vec<u8>));
}

impl PutFields for Vec<u8> {
    fn put_varint(&mut self, field: u64, number: u64) {
        varint(self, field << 3);
        varint(self, number);
    }

    fn put_fixed64(&mut self, field: u64, number: u64) {
        varint(self, field << 3 | 1);
        self.extend_from_slice(&number.to_le_bytes());
    }

    fn put_signed(&mut self, field: u64, number: i64) {
        self.put_varint(field, (number << 1 ^ number >> 63) as u64);
    }

    fn put_bytes(&mut self, field: u64, bytes: &[u8]) {
        varint(self, field << 3 | 2);
        varint(self, bytes.len() as u64);
        self.extend_from_slice(bytes);
    }

    fn put_text(&mut self, field: u64, text: Option<&str>) {
        if let Some(text) = text {
            self.put_bytes(field, text.as_bytes());
        }
    }

    fn put_message(&mut self, field: u64, write: impl FnOnce(&mut Vec<u8>)) {
        varint(self, field << 3 | 2);
        // Most are short: their length has one byte.
        let at = self.len();
        self.push(0);
        write(self);
        let len = self.len() - at - 1;
        if len < 0x80 {
            self[at] = len as u8;
            return;
        }
        let mut length = Vec::with_capacity(10);
        varint(&mut length, len as u64);
        self.splice(at..=at, length);
    }
}

fn varint(buffer: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        buffer.push(number as u8 | 0x80);
        number >>= 7;
    }
    buffer.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written() -> Vec<u8> {
        let mut message = Vec::new();
        message.put_varint(1, 300);
        message.put_signed(2, -2);
        message.put_bytes(3, b"testing");
        message.put_fixed64(4, 1);
        message.put_message(16, |inner| inner.put_bytes(1, &[7; 200]));
        message
    }

    #[test]
    fn fields_are_written_as_protocol_buffers_has_them() {
        // The examples of its page on encoding.
        assert!(written().starts_with(b"\x08\xac\x02\x10\x03\x1a\x07testing\x21\x01"));
        let message = written();
        let mut fields = Fields::of(&message);
        let mut next = || fields.next_field().expect("a field");
        assert_eq!(next(), Some((1, Value::Varint(300))));
        assert_eq!(next().map(|(_, value)| value.signed()), Some(Ok(-2)));
        assert_eq!(next(), Some((3, Value::Bytes(b"testing"))));
        assert_eq!(next(), Some((4, Value::Fixed64(1))));
        let (16, Value::Bytes(inner)) = next().expect("one more") else {
            panic!("no message");
        };
        let mut inner = Fields::of(inner);
        assert_eq!(inner.next_field(), Ok(Some((1, Value::Bytes(&[7; 200])))));
        assert_eq!(next(), None);
    }

    #[test]
    fn every_number_is_read_as_it_was_written() {
        for number in (0..64).flat_map(|bit| [1 << bit, (1 << bit) - 1, u64::MAX - bit]) {
            let mut message = Vec::new();
            message.put_varint(1, number);
            message.put_signed(2, number as i64);
            let mut fields = Fields::of(&message);
            assert_eq!(fields.next_field(), Ok(Some((1, Value::Varint(number)))));
            let signed = fields
                .next_field()
                .expect("a field")
                .map(|(_, value)| value);
            assert_eq!(
                signed.map(|value| value.signed()),
                Some(Ok(number as i64)),
                "{number}"
            );
        }
    }

    #[test]
    fn what_is_not_known_is_kept_as_it_is() {
        let (message, mut kept) = (written(), Vec::new());
        let mut fields = Fields::of(&message);
        while let Ok(Some((field, _))) = fields.next_field() {
            if field != 3 {
                fields.keep(&mut kept).expect("little");
            }
        }
        let without = message.len() - b"\x1a\x07testing".len();
        assert_eq!(kept.len(), without);
    }

    #[test]
    fn what_is_no_field_is_refused() {
        let over: &[u8] = &[
            0x08, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 2,
        ];
        let cases = [
            over,
            b"\x08",
            b"\x1a\x02a",
            b"\x21\x01",
            b"\x0b",
            b"\x0f",
            b"\x0d\x01",
        ];
        for message in cases {
            let read = Fields::of(message).next_field();
            assert_eq!(read, Err(RecordError::Malformed), "{message:?}");
        }
    }
}
