//! What a block or a generation may hold, in a few bytes: a Bloom filter (Bloom 1970, "Space/time trade-offs in hash
//! coding with allowable errors") over tags. A tag is a 64-bit hash that the caller gives with a record, such as of one
//! level of its topic; the store knows no more of it. A filter never hides what is there, and lets some through that is
//! not: about one in forty with eight bits for each tag and four probes.

/// Probes per tag.
const PROBES: u32 = 4;
/// Bits for each different tag of a block.
const BITS_PER_TAG: usize = 8;
/// Smallest and largest filter of a block, bytes.
const BLOCK_FILTER_BYTES: (usize, usize) = (4, 64);
/// The filter of a generation, bytes: some four thousand different tags.
pub(crate) const GENERATION_FILTER_BYTES: usize = 4096;

/// The filter of a block with these different tags; empty if there are none.
pub(crate) fn of_block(tags: &[u64]) -> Vec<u8> {
    if tags.is_empty() {
        return Vec::new();
    }
    let (least, most) = BLOCK_FILTER_BYTES;
    let bytes = (tags.len() * BITS_PER_TAG / 8).next_power_of_two();
    let mut filter = vec![0; bytes.clamp(least, most)];
    tags.iter().for_each(|tag| add(&mut filter, *tag));
    filter
}

/// Adds a tag.
pub(crate) fn add(filter: &mut [u8], tag: u64) {
    for bit in bits(filter.len(), tag) {
        if let Some(byte) = filter.get_mut(bit / 8) {
            *byte |= 1 << (bit % 8);
        }
    }
}

/// False if no record here has this tag. An empty filter knows nothing, and so lets everything through.
pub(crate) fn may_have(filter: &[u8], tag: u64) -> bool {
    filter.is_empty()
        || bits(filter.len(), tag).all(|bit| {
            filter
                .get(bit / 8)
                .is_some_and(|byte| byte >> (bit % 8) & 1 == 1)
        })
}

/// The bits of a tag, by double hashing (Kirsch and Mitzenmacher 2006, "Less hashing, same performance").
fn bits(bytes: usize, tag: u64) -> impl Iterator<Item = usize> {
    let bits = (bytes as u64 * 8).max(1);
    let (one, other) = (tag & 0xffff_ffff, tag >> 32 | 1);
    (0..u64::from(PROBES)).map(move |probe| ((one + probe * other) % bits) as usize)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Spreads a small number over 64 bits.
    fn tag(n: u64) -> u64 {
        let mixed = (n + 1).wrapping_mul(0x9e37_79b9_7f4a_7c15);
        (mixed ^ mixed >> 29).wrapping_mul(0xbf58_476d_1ce4_e5b9)
    }

    proptest! {
        #[test]
        fn nothing_that_is_there_is_hidden(tags in prop::collection::vec(any::<u64>(), 1..100)) {
            let filter = of_block(&tags);
            prop_assert!(filter.len() <= 64);
            prop_assert!(tags.iter().all(|tag| may_have(&filter, *tag)));
        }
    }

    #[test]
    fn most_that_is_not_there_is_kept_out() {
        for (count, most) in [(4, 60), (30, 60), (60, 60)] {
            let tags: Vec<_> = (0..count).map(tag).collect();
            let filter = of_block(&tags);
            let through = (1000..2000).filter(|n| may_have(&filter, tag(*n))).count();
            assert!(through <= most, "{through} of 1000 with {count} tags");
        }
    }

    #[test]
    fn a_block_without_tags_is_never_passed_over() {
        assert!(may_have(&of_block(&[]), 7));
    }
}
