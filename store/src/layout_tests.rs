//! What a block promises: records come back as they went in, and no damaged byte goes unnoticed.

use super::*;
use proptest::prelude::*;

fn place(first: Sequence) -> Place {
    Place {
        first,
        commit_offset: 3,
        with_meta: true,
    }
}

fn sample() -> Vec<u8> {
    let routes = [route_byte(5, 3), route_byte(63, 0)];
    let one = RecordIn {
        time_ms: 1_700_000_000_000,
        routes: &routes,
        bytes: b"first",
    };
    let two = RecordIn {
        time_ms: 1_699_999_999_000,
        routes: &[],
        bytes: b"",
    };
    packed_block(place(42), &[one, two])
}

proptest! {
    #[test]
    fn records_come_back_as_they_went_in(
        given in prop::collection::vec((any::<u64>(), prop::collection::vec(any::<u8>(), 0..4), prop::collection::vec(any::<u8>(), 0..300)), 1..40),
    ) {
        let given: Vec<_> = given.iter().map(|(time_ms, routes, bytes)| RecordIn { time_ms: *time_ms, routes, bytes }).collect();
        let count = fitting(given.iter().copied());
        prop_assert!(count >= 1);
        let value = packed_block(place(7), &given[..count]);
        prop_assert!(value.len() <= BLOCK_BYTES);
        let header = read_header(7, &value).unwrap();
        prop_assert_eq!((header.place, usize::from(header.count)), (place(7), count));
        for (at, found) in records(&header, &value).enumerate() {
            let found = found.unwrap();
            prop_assert_eq!(found.sequence, 7 + at as u64);
            prop_assert_eq!(found.time_ms, given[at].time_ms);
            prop_assert_eq!(found.routes, given[at].routes);
            prop_assert_eq!(&value[found.start..found.end], given[at].bytes);
            for route in given[at].routes {
                let (lane, class) = route_parts(*route);
                prop_assert!(header.masks.contains(lane, class) && found.is_for(lane, class));
            }
        }
    }

    #[test]
    fn noise_is_refused_without_a_panic(noise in prop::collection::vec(any::<u8>(), 0..200), first in any::<u64>()) {
        prop_assert!(read_header(first, &noise).is_err());
        prop_assert!(read_part(first, 0, &noise).is_err());
        let _ = read_large(&noise);
    }
}

#[test]
fn a_block_with_one_bit_flipped_is_refused() {
    let value = sample();
    assert!(read_header(42, &value).is_ok());
    for bit in 0..value.len() * 8 {
        let mut damaged = value.clone();
        damaged[bit / 8] ^= 1 << (bit % 8);
        assert!(read_header(42, &damaged).is_err(), "bit {bit}");
    }
}

#[test]
fn a_block_under_another_blocks_key_is_refused() {
    assert_eq!(read_header(43, &sample()), Err(Damage::Checksum));
}

#[test]
fn a_block_cut_at_any_byte_is_refused() {
    let value = sample();
    for end in 0..value.len() {
        assert!(read_header(42, &value[..end]).is_err(), "cut at {end}");
    }
}

#[test]
fn a_block_of_a_later_version_is_named_as_such() {
    let mut value = sample();
    value[0] = VERSION + 1;
    let value = close(&42u64.to_be_bytes(), value);
    assert_eq!(read_header(42, &value), Err(Damage::Version(VERSION + 1)));
}

#[test]
fn a_large_record_is_described_by_its_head_and_carried_by_its_parts() {
    let bytes: Vec<u8> = (0..100_000u32).map(|n| n as u8).collect();
    let record = RecordIn {
        time_ms: 9,
        routes: &[route_byte(1, 2)],
        bytes: &bytes,
    };
    assert!(is_large(&record));
    let head = large_head(place(8), &record);
    let header = read_header(8, &head).unwrap();
    let found = records(&header, &head).next().unwrap().unwrap();
    let large = read_large(&head[found.start..found.end]).unwrap();
    assert_eq!((large.bytes, found.time_ms), (100_000, 9));
    let mut joined = Vec::new();
    for (part, chunk) in bytes.chunks(PART_BYTES).enumerate() {
        let value = part_block(8, part as u32, chunk);
        assert!(value.len() <= BLOCK_BYTES);
        joined.extend_from_slice(read_part(8, part as u32, &value).unwrap());
        assert_eq!(read_part(8, part as u32 + 1, &value), Err(Damage::Checksum));
    }
    assert_eq!(joined, bytes);
    assert_eq!(crc32c::crc32c(&joined), large.crc);
}

#[test]
fn a_block_of_version_1_reads_the_same_for_ever() {
    let frozen = "01000001";
    let value = sample();
    assert_eq!(
        value[..4]
            .iter()
            .map(|b| format!("{b:02x}"))
            .collect::<String>(),
        frozen
    );
}
