//! The topic index finds what comparing with every filter would find.

use proptest::prelude::*;
use tidegate_rules::topic::index::TopicIndex;
use tidegate_rules::topic::{TopicFilter, TopicPattern, is_valid_topic_name};

#[test]
fn filters_accept_what_the_mqtt_standard_says() {
    let cases = [
        ("sport/tennis/+", "sport/tennis/player1", true),
        ("sport/tennis/+", "sport/tennis/player1/ranking", false),
        ("sport/+", "sport", false),
        ("sport/+", "sport/", true),
        ("sport/#", "sport", true),
        ("sport/#", "sport/tennis/player1", true),
        ("sport/#", "sports", false),
        ("+/+", "/finance", true),
        ("/+", "/finance", true),
        ("+", "/finance", false),
        ("#", "any/thing", true),
        ("#", "$SYS/broker", false),
        ("+/broker", "$SYS/broker", false),
        ("$SYS/#", "$SYS/broker", true),
        ("a//b", "a//b", true),
        ("a/+/b", "a//b", true),
        ("Temp", "temp", false),
    ];
    for (filter, topic, expected) in cases {
        let filter = TopicFilter::parse(filter).expect("valid");
        assert_eq!(filter.matches(topic), expected, "{filter} {topic}");
    }
}

#[test]
fn what_is_no_filter_is_refused() {
    let long = "a".repeat(65_536);
    let deep = "a/".repeat(300);
    for text in ["", "a#", "#/a", "a/#/b", "a+", "+a/b", "a\0b", &long, &deep] {
        assert!(TopicFilter::parse(text).is_err(), "{text:.20}");
    }
    for text in ["", "a/+", "#", "a\0", &long] {
        assert!(!is_valid_topic_name(text), "{text:.20}");
    }
    assert!(is_valid_topic_name("/a//b/$x"));
}

#[test]
fn captures_name_parts_of_the_topic() {
    let pattern = TopicPattern::parse("plant/{line}/+/{rest...}").expect("valid");
    assert_eq!(pattern.filter.as_str(), "plant/+/+/#");
    let topic = "plant/A/x/press/7";
    let found: Vec<(&str, &str)> = pattern
        .captures
        .iter()
        .map(|capture| (capture.name.as_str(), &topic[capture.find(topic)]))
        .collect();
    assert_eq!(found, [("line", "A"), ("rest", "press/7")]);
    assert_eq!(pattern.captures[1].find("plant/A/x"), 9..9);
    for wrong in ["{}", "{a}b", "{a...}/b", "{a}/{a}", "{a", "{1}", "{a.b}"] {
        assert!(TopicPattern::parse(wrong).is_err(), "{wrong}");
    }
}

#[test]
fn what_was_removed_is_not_found_and_leaves_nothing_behind() {
    let mut index = TopicIndex::new();
    let filters = ["a/+/c", "a/b/#", "#", "a/b/c"].map(|f| TopicFilter::parse(f).expect("valid"));
    for (at, filter) in filters.iter().enumerate() {
        index.insert(filter, at);
        index.insert(filter, at + 10);
    }
    assert_eq!(index.len(), 8);
    assert_eq!(index.remove(&filters[0], |value| *value == 0), 1);
    assert_eq!(index.remove(&filters[0], |value| *value == 0), 0);
    let mut found = Vec::new();
    index.matching("a/b/c", |value| found.push(*value));
    found.sort_unstable();
    assert_eq!(found, [1, 2, 3, 10, 11, 12, 13]);
    for filter in &filters {
        index.remove(filter, |_| true);
    }
    assert!(index.is_empty());
    index.matching("a/b/c", |value| panic!("found {value}"));
}

fn levels(names: &'static [&'static str]) -> impl Strategy<Value = String> {
    prop::collection::vec(prop::sample::select(names), 1..5).prop_map(|levels| levels.join("/"))
}

proptest! {
    #![proptest_config(ProptestConfig { failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn the_index_finds_what_a_linear_search_finds(
        filters in prop::collection::vec(levels(&["a", "b", "", "$s", "+", "#"]), 0..30),
        removed in prop::collection::vec(any::<bool>(), 30),
        topics in prop::collection::vec(levels(&["a", "b", "", "$s"]), 1..10),
    ) {
        let filters: Vec<TopicFilter> =
            filters.iter().filter_map(|text| TopicFilter::parse(text).ok()).collect();
        let mut index = TopicIndex::new();
        for (at, filter) in filters.iter().enumerate() {
            index.insert(filter, at);
        }
        for (at, filter) in filters.iter().enumerate().filter(|(at, _)| removed[*at]) {
            index.remove(filter, |value| *value == at);
        }
        for topic in &topics {
            let mut found = Vec::new();
            index.matching(topic, |value| found.push(*value));
            found.sort_unstable();
            let expected: Vec<usize> = (0..filters.len())
                .filter(|at| !removed[*at] && filters[*at].matches(topic))
                .collect();
            prop_assert_eq!(found, expected, "{}", topic);
        }
    }
}
