//! What a block promises: records come back as they went in, and no damaged byte goes unnoticed.

use super::*;
use crate::Sequence;
use crate::format::block::{
    BLOCK_BYTES, BadBlock, BlockKind, BlockPlace, PART_BYTES, RAW_BYTES_MAX, VERSION, read_header,
    read_part, records,
};
use crate::format::bloom::may_have;
use crate::format::compression::{Codec, Compressor};
use crate::format::frame::{FRAME_HEADER_BYTES, frame, unframed};
use crate::format::large::{Place, read_large};
use crate::format::route::{route_byte, route_parts};
use proptest::prelude::*;

fn place(first: Sequence) -> BlockPlace {
    BlockPlace {
        first,
        commit_offset: 3,
        with_small_keys: true,
    }
}

fn sample(compress: bool) -> Vec<u8> {
    let routes = [route_byte(5, 3), route_byte(63, 0)];
    let one = RecordIn {
        time_ms: 1_700_000_000_000,
        routes: &routes,
        tags: &[1, 2],
        bytes: &b"the same again and again, "[..].repeat(9),
    };
    let two = RecordIn {
        time_ms: 1_699_999_999_000,
        routes: &[],
        tags: &[],
        bytes: b"",
    };
    packed_block(place(42), &[one, two], &mut Compressor::new(!compress)).value
}

/// Bytes that compress, more or less.
fn bytes() -> impl Strategy<Value = Vec<u8>> {
    let words = prop::collection::vec(
        prop::sample::select(vec!["\"celsius\":", "21.5", "{", "floor/"]),
        0..30,
    );
    prop_oneof![
        words.prop_map(|words| words.concat().into_bytes()),
        prop::collection::vec(any::<u8>(), 0..300),
    ]
}

type Given = (u64, Vec<u8>, Vec<u64>, Vec<u8>);

fn given() -> impl Strategy<Value = Vec<Given>> {
    let routes = prop::collection::vec(any::<u8>(), 0..4);
    let tags = prop::collection::vec(any::<u64>(), 0..4);
    prop::collection::vec((any::<u64>(), routes, tags, bytes()), 1..300)
}

proptest! {
    #[test]
    fn records_come_back_as_they_went_in(given in given(), off in any::<bool>()) {
        let records_in: Vec<_> = given
            .iter()
            .map(|(time_ms, routes, tags, bytes)| RecordIn { time_ms: *time_ms, routes, tags, bytes })
            .collect();
        let mut compressor = Compressor::new(off);
        let mut rest = &records_in[..];
        let mut first = 7;
        while !rest.is_empty() {
            let block = packed_block(place(first), rest, &mut compressor);
            prop_assert!(block.count >= 1 && block.value.len() <= BLOCK_BYTES);
            let header = read_header(first, &block.value).unwrap();
            prop_assert_eq!(header, block.header);
            let body = header.body(&block.value).unwrap();
            prop_assert_eq!(&*body, &block.body[..]);
            prop_assert!(body.len() <= RAW_BYTES_MAX);
            let found: Vec<_> = records(&header, &body).map(Result::unwrap).collect();
            prop_assert_eq!(found.len(), block.count);
            for (at, (found, given)) in found.iter().zip(rest).enumerate() {
                prop_assert_eq!(found.sequence, first + at as u64);
                prop_assert_eq!((found.time_ms, found.routes), (given.time_ms, given.routes));
                prop_assert_eq!(&body[found.start..found.end], given.bytes);
                let filter = header.filter(&block.value);
                prop_assert!(given.tags.iter().all(|tag| may_have(filter, *tag)));
                for route in given.routes {
                    let (lane, class) = route_parts(*route);
                    prop_assert!(header.masks.contains(lane, class) && found.is_for(lane, class));
                }
            }
            let (at, count) = (first, block.count);
            first += count as u64;
            rest = &rest[count..];
            let mut moved = block;
            let frame = move_beside(&mut moved, 70_000);
            let header = read_header(at, &moved.value).unwrap();
            prop_assert_eq!(header, moved.header);
            prop_assert!(header.body(&moved.value).is_err(), "they are elsewhere");
            let named = header.packed_frame(&moved.value).unwrap();
            prop_assert_eq!(named, (70_000, (frame.len() - FRAME_HEADER_BYTES) as u64));
            let stored = unframed(at, frame).unwrap();
            prop_assert_eq!(&*header.unpacked(&stored).unwrap(), &moved.body[..]);
            moved.value[0] = 3;
            put_checksum(&at.to_be_bytes(), &mut moved.value);
            prop_assert_eq!(read_header(at, &moved.value), Err(BadBlock::Malformed));
        }
    }

    #[test]
    fn noise_is_refused_without_a_panic(noise in prop::collection::vec(any::<u8>(), 0..200), first in any::<u64>()) {
        prop_assert!(read_header(first, &noise).is_err());
        prop_assert!(read_part(first, 0, &noise).is_err());
        for version in 1..=VERSION {
            let _ = read_large(version, BlockKind::LargeHead, &noise);
            let _ = read_large(version, BlockKind::ValueHead, &noise);
        }
    }

    #[test]
    fn a_sealed_block_of_nonsense_makes_no_panic(noise in prop::collection::vec(any::<u8>(), 0..200), codec in 0u8..3, kind in 0u8..6) {
        let mut value = vec![VERSION, codec, kind, 0, 0, 0, 0, 0];
        value.extend_from_slice(&noise);
        put_checksum(&7u64.to_be_bytes(), &mut value);
        if let Ok(header) = read_header(7, &value)
            && let Ok(body) = header.packed_frame(&value).map_or_else(|| header.body(&value), |_| header.unpacked(&noise))
        {
            prop_assert!(body.len() <= RAW_BYTES_MAX);
            records(&header, &body).for_each(drop);
        }
    }
}

#[test]
fn a_block_with_one_bit_flipped_is_refused() {
    for compress in [false, true] {
        let value = sample(compress);
        assert!(read_header(42, &value).is_ok());
        for bit in 0..value.len() * 8 {
            let mut damaged = value.clone();
            damaged[bit / 8] ^= 1 << (bit % 8);
            assert!(read_header(42, &damaged).is_err(), "bit {bit}");
        }
    }
}

#[test]
fn a_block_under_another_blocks_key_is_refused() {
    assert_eq!(read_header(43, &sample(true)), Err(BadBlock::Checksum));
}

#[test]
fn a_block_cut_at_any_byte_is_refused() {
    let value = sample(true);
    for end in 0..value.len() {
        assert!(read_header(42, &value[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_block_of_a_later_version_is_named_as_such() {
    let mut value = sample(true);
    value[0] = VERSION + 1;
    put_checksum(&42u64.to_be_bytes(), &mut value);
    assert_eq!(read_header(42, &value), Err(BadBlock::Version(VERSION + 1)));
}

#[test]
fn readings_of_sensors_shrink_to_less_than_half() {
    let readings: Vec<_> = (0..400)
        .map(|n| {
            format!(
                "{{\"sensor\":\"floor/{}\",\"celsius\":2{}.{}}}",
                n % 20,
                n % 7,
                n % 10
            )
        })
        .collect();
    let readings: Vec<_> = readings
        .iter()
        .map(|bytes| RecordIn {
            time_ms: 1,
            routes: &[0],
            tags: &[],
            bytes: bytes.as_bytes(),
        })
        .collect();
    let mut compressor = Compressor::new(false);
    let first = packed_block(place(1), &readings, &mut compressor);
    let second = packed_block(place(1), &readings, &mut compressor);
    assert_eq!(second.header.codec, Codec::Lz4);
    assert!(second.count >= first.count);
    assert!(second.body.len() > 2 * second.value.len());
}

#[test]
fn a_large_record_is_described_by_its_head_and_carried_by_its_parts() {
    let noise: Vec<u8> = (0..100_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for bytes in [noise, b"the same again, ".repeat(5000)] {
        let record = RecordIn {
            time_ms: 9,
            routes: &[route_byte(1, 2)],
            tags: &[],
            bytes: &bytes,
        };
        assert!(record.is_large());
        let block = large_block(place(8), &record, None);
        let header = read_header(8, &block.head.value).unwrap();
        let body = header.body(&block.head.value).unwrap();
        let found = records(&header, &body).next().unwrap().unwrap();
        let tail = &body[found.start..found.end];
        let (large, _) = read_large(header.version, header.kind, tail).unwrap();
        assert_eq!((large.bytes, found.time_ms), (bytes.len() as u64, 9));
        let stored = block.stored.as_deref().unwrap_or(&bytes);
        let mut joined = Vec::new();
        for (part, chunk) in stored.chunks(PART_BYTES).enumerate() {
            let value = part_block(8, part as u32, chunk);
            assert!(value.len() <= BLOCK_BYTES);
            joined.extend_from_slice(read_part(8, part as u32, &value).unwrap());
            assert_eq!(
                read_part(8, part as u32 + 1, &value),
                Err(BadBlock::Checksum)
            );
        }
        assert_eq!(large.record(joined.clone().into()).unwrap(), bytes);
        joined[100] ^= 1;
        assert_eq!(large.record(joined.into()), None);
    }
}

#[test]
fn the_head_of_a_record_in_the_value_log_says_where_and_how_it_begins() {
    let noise: Vec<u8> = (0..100_000u32)
        .map(|n| (n.wrapping_mul(2_654_435_761) >> 13) as u8)
        .collect();
    for bytes in [noise, b"the same again, ".repeat(5000)] {
        let record = RecordIn {
            time_ms: 9,
            routes: &[route_byte(1, 2); 255],
            tags: &[],
            bytes: &bytes,
        };
        let block = large_block(place(8), &record, Some(7_777_777));
        assert!(block.head.value.len() <= BLOCK_BYTES);
        let header = read_header(8, &block.head.value).unwrap();
        let body = header.body(&block.head.value).unwrap();
        let found = records(&header, &body).next().unwrap().unwrap();
        let tail = &body[found.start..found.end];
        let (large, beginning) = read_large(header.version, header.kind, tail).unwrap();
        assert_eq!(beginning, &bytes[..BEGINNING_BYTES]);
        assert_eq!(large.place, Place::Frame(7_777_777));
        let stored = block.stored.as_deref().unwrap_or(&bytes);
        let end = 7_777_777 + frame(8, stored).len() as u64;
        assert_eq!(large.frame_end(), Some(end));
        let stored = unframed(8, frame(8, stored)).unwrap();
        assert_eq!(large.record(stored).unwrap(), bytes);
    }
}
