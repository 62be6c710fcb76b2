//! Filters that overlap: a broker may send a message once for each of them.

use tidegate_rules::topic::{covers, overlap};

/// The filters to subscribe to: those that no other of them covers.
pub(super) fn uncovered(filters: &[String]) -> Vec<String> {
    let mut kept: Vec<String> = Vec::new();
    for filter in filters {
        if kept.iter().any(|other| covers(other, filter)) {
            continue;
        }
        kept.retain(|other| !covers(filter, other));
        kept.push(filter.clone());
    }
    kept
}

/// Two filters that match some topic both, though neither covers the other.
pub(super) fn overlapping(filters: &[String]) -> Option<(&str, &str)> {
    let mut pairs = filters.iter().enumerate().flat_map(|(place, one)| {
        let others = filters.iter().skip(place + 1);
        others.map(move |other| (one.as_str(), other.as_str()))
    });
    pairs.find(|(one, other)| overlap(one, other))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_filter_that_another_covers_is_not_asked_for_and_what_overlaps_is_found() {
        for (given, asked, pair) in [
            (&["a/#", "a/b", "a/+", "c"][..], &["a/#", "c"][..], None),
            (&["a/b", "a/+", "#"], &["#"], None),
            (&["a", "a"], &["a"], None),
            (&["a/#", "a"], &["a/#"], None),
            (&["#", "$SYS/x", "$SYS/#"], &["#", "$SYS/#"], None),
            (&["+/b", "a/+"], &["+/b", "a/+"], Some(("+/b", "a/+"))),
            (&["+/b/c", "a/#"], &["+/b/c", "a/#"], Some(("+/b/c", "a/#"))),
            (&["a/+", "a/+/c"], &["a/+", "a/+/c"], None),
            (&["+/x", "$SYS/x"], &["+/x", "$SYS/x"], None),
        ] {
            let given: Vec<String> = given.iter().map(|&filter| filter.into()).collect();
            let kept = uncovered(&given);
            assert_eq!(kept, asked, "{given:?}");
            assert_eq!(overlapping(&kept), pair, "{given:?}");
        }
    }
}
