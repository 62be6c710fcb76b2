//! Small documents with a checksum behind them.

/// Appends the CRC-32C of all bytes so far.
pub(crate) fn with_checksum(mut bytes: Vec<u8>) -> Vec<u8> {
    let crc = crc32c::crc32c(&bytes);
    bytes.extend_from_slice(&crc.to_le_bytes());
    bytes
}

/// What [`with_checksum`] was given; `None` if the bytes were damaged.
pub(crate) fn verified(bytes: &[u8]) -> Option<&[u8]> {
    let (body, crc) = bytes.split_last_chunk::<4>()?;
    (crc32c::crc32c(body) == u32::from_le_bytes(*crc)).then_some(body)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_sealed_document_with_one_bit_flipped_is_refused() {
        let sealed = with_checksum(b"cursor".to_vec());
        assert_eq!(verified(&sealed), Some(&b"cursor"[..]));
        for bit in 0..sealed.len() * 8 {
            let mut damaged = sealed.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert_eq!(verified(&damaged), None, "bit {bit}");
        }
    }
}
