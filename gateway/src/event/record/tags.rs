//! What a stored event can be found by without reading it: hashes of the levels of its topic, its source and its type.
//! The store keeps a small filter over them with each block and each generation.
//!
//! They are on disk, so they must never change: FNV-1a with 64 bits over a letter, for levels their number, and the
//! text; then mixed, for short texts leave the upper bits of FNV nearly alone.

use tidegate_rules::event::Event;
use tidegate_rules::topic::TopicFilter;

/// Levels of a topic that are hashed; the rest cannot be searched for without reading.
const LEVELS_MAX: usize = 16;

/// The tags of an event.
pub fn of_event(event: &Event, tags: &mut Vec<u64>) {
    let levels = event.topic.split('/').take(LEVELS_MAX).zip(0..);
    tags.extend(levels.map(|(level, number)| of_level(number, level)));
    tags.push(of_source(&event.source));
    tags.push(of_kind(&event.kind));
}

/// The tags that every event has which a filter accepts.
pub fn of_filter(filter: &TopicFilter, tags: &mut Vec<u64>) {
    let levels = filter.levels().take(LEVELS_MAX).zip(0..);
    let named = levels.filter(|(level, _)| !matches!(*level, "+" | "#"));
    tags.extend(named.map(|(level, number)| of_level(number, level)));
}

/// The tag of a source: its name, the last part of the CloudEvents `source`.
pub fn of_source(source: &str) -> u64 {
    hash(b's', 0, source.rsplit('/').next().unwrap_or_default())
}

/// The tag of a CloudEvents `type`.
pub fn of_kind(kind: &str) -> u64 {
    hash(b'k', 0, kind)
}

fn of_level(number: u8, level: &str) -> u64 {
    hash(b't', number, level)
}

fn hash(letter: u8, number: u8, text: &str) -> u64 {
    let start = 0xcbf2_9ce4_8422_2325_u64;
    let fnv = [letter, number]
        .iter()
        .chain(text.as_bytes())
        .fold(start, |hash, byte| {
            (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3)
        });
    let mixed = (fnv ^ fnv >> 32).wrapping_mul(0x9e37_79b9_7f4a_7c15);
    mixed ^ mixed >> 32
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tags_on_disk_are_found_by_every_later_release() {
        assert_eq!(of_level(0, "plant"), 4_536_695_240_271_634_077);
        assert_eq!(of_level(1, "plant"), 11_480_791_436_715_618_289);
        assert_eq!(of_source("gateway-7/floor"), of_source("floor"));
    }

    #[test]
    fn a_filter_has_only_tags_that_matching_events_have() {
        let levels = |topic: &str| -> Vec<u64> {
            let levels = topic.split('/').zip(0..);
            levels
                .map(|(level, number)| of_level(number, level))
                .collect()
        };
        for (filter, topic) in [
            ("plant/+/celsius", "plant/line3/celsius"),
            ("plant/#", "plant"),
            ("+/line3/#", "plant/line3/celsius"),
            ("#", "a/b"),
        ] {
            let filter = TopicFilter::parse(filter).unwrap();
            assert!(filter.matches(topic));
            let mut wanted = Vec::new();
            of_filter(&filter, &mut wanted);
            let has = levels(topic);
            assert!(wanted.iter().all(|tag| has.contains(tag)), "{filter}");
        }
    }
}
