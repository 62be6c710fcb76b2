//! Frames from a hostile line: whatever the bytes are, two decoders written apart say the same, and neither panics.

use proptest::prelude::*;
use tidegate_link::frame::{
    BODY_SIZE_MAX, Decoder, FRAME_SIZE_MAX, FrameError, PROTOCOL, decode, encode,
};
use tidegate_link::message::ToDevice;
use tidegate_link::{DeviceLink, HostLink, Identity, RamRing, Schema};

/// COBS as its definition reads, to compare with.
fn unstuff(encoded: &[u8]) -> Option<Vec<u8>> {
    let (mut out, mut rest) = (Vec::new(), encoded);
    while let Some((&code, after)) = rest.split_first() {
        let run = usize::from(code).checked_sub(1)?;
        out.extend_from_slice(after.get(..run)?);
        rest = &after[run..];
        if code != 0xff && !rest.is_empty() {
            out.push(0);
        }
    }
    Some(out)
}

/// CRC-32/ISO-HDLC bit by bit.
fn checksum(bytes: &[u8]) -> u32 {
    !bytes.iter().fold(u32::MAX, |crc, &byte| {
        (0..8).fold(crc ^ u32::from(byte), |crc, _| {
            (crc >> 1) ^ (0xEDB8_8320 & (crc & 1).wrapping_neg())
        })
    })
}

fn reference(encoded: &[u8]) -> Result<Vec<u8>, FrameError> {
    if encoded.len() > BODY_SIZE_MAX + 1 {
        return Err(FrameError::Oversize);
    }
    let body = unstuff(encoded).ok_or(FrameError::Damaged)?;
    let (covered, sum) = body.split_last_chunk::<4>().ok_or(FrameError::Damaged)?;
    if covered.is_empty() || checksum(covered).to_le_bytes() != *sum {
        return Err(FrameError::Damaged);
    }
    if covered[0] == PROTOCOL {
        Ok(covered[1..].to_vec())
    } else {
        Err(FrameError::ForeignVersion)
    }
}

fn streamed(line: &[u8]) -> Vec<Result<Vec<u8>, FrameError>> {
    let (mut decoder, mut bytes, mut found) = (Decoder::default(), line, Vec::new());
    while let Some(verdict) = decoder.advance(&mut bytes) {
        found.push(verdict.map(|()| decoder.message().to_vec()));
    }
    found
}

/// Bytes as they come: noise, true frames, and true frames with one byte changed.
fn line() -> impl Strategy<Value = Vec<u8>> {
    let frame = any::<u16>().prop_map(|token| {
        let mut buffer = [0; FRAME_SIZE_MAX];
        encode(&ToDevice::TimeRequest { token }, &mut buffer)
            .map(<[u8]>::to_vec)
            .unwrap_or_default()
    });
    let harmed = (frame.clone(), any::<prop::sample::Index>(), any::<u8>()).prop_map(
        |(mut frame, index, byte)| {
            let at = index.index(frame.len());
            frame[at] = byte;
            frame
        },
    );
    let noise = prop::collection::vec(any::<u8>(), 0..600);
    let long = prop::collection::vec(1..=u8::MAX, 240..300);
    prop::collection::vec(prop_oneof![frame, harmed, noise, long], 0..6).prop_map(|parts| {
        let mut line = parts.join(&0);
        line.push(0);
        line
    })
}

proptest! {
    #[test]
    fn decoders_written_apart_agree_on_every_line(line in line()) {
        let runs = line.split(|byte| *byte == 0).filter(|run| !run.is_empty());
        let expected: Vec<_> = runs.clone().map(reference).collect();
        let at_once: Vec<_> = runs
            .map(|run| decode(&mut run.to_vec()).map(<[u8]>::to_vec))
            .collect();
        prop_assert_eq!(&streamed(&line), &expected);
        prop_assert_eq!(&at_once, &expected);
    }

    #[test]
    fn neither_half_panics_or_hands_on_anything_from_noise(line in line()) {
        let mut host = HostLink::new(1);
        prop_assert_eq!(host.receive(&mut &line[..], 5), None);
        let identity = Identity { device: *b"node-001", firmware: "1", slot: 0, schema: Schema { fields: &[] } };
        let mut device = DeviceLink::new(identity, RamRing::<64>::new(1));
        device.receive(&line, 5);
        prop_assert!(!device.is_welcome());
    }
}

#[test]
fn the_decoder_is_in_step_again_at_the_delimiter_after_noise() {
    let mut buffer = [0; FRAME_SIZE_MAX];
    let frame = encode(&ToDevice::Discover, &mut buffer).expect("fits");
    let mut line = vec![0x55; 10_000];
    line.push(0);
    line.extend(frame);
    let verdicts = streamed(&line);
    assert_eq!(verdicts[0], Err(FrameError::Oversize));
    assert_eq!(verdicts[1], Ok(vec![0]));
}
