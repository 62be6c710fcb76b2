//! Filters that overlap: a broker may send a message once for each of them.

use tidegate_rules::topic::{covers, overlap};

use super::client::Granted;

/// The filters to subscribe to: those that no other of them covers. One that the broker refused covers no other.
pub(super) fn uncovered(filters: &[String], refused: &[String]) -> Vec<String> {
    let covers = |one: &String, other: &String| {
        one == other || (!refused.contains(one) && covers(one, other))
    };
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

/// That each filter has its answer.
///
/// # Errors
/// What the broker answers otherwise.
pub(super) fn check_answers(filters: &[String], granted: &[Granted]) -> Result<(), String> {
    let (answers, filters) = (granted.len(), filters.len());
    match answers == filters {
        true => Ok(()),
        false => Err(format!(
            "the broker answers {answers} of the {filters} filters of a SUBSCRIBE: nobody knows which it grants"
        )),
    }
}

/// The filters that the broker answered so.
pub(super) fn answered(
    filters: &[String],
    granted: &[Granted],
    is_so: impl Fn(Granted) -> bool,
) -> Vec<String> {
    let answers = filters.iter().zip(granted);
    let of = answers.filter(|(_, granted)| is_so(**granted));
    of.map(|(filter, _)| filter.clone()).collect()
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
            let kept = uncovered(&given, &[]);
            assert_eq!(kept, asked, "{given:?}");
            assert_eq!(overlapping(&kept), pair, "{given:?}");
        }
    }

    #[test]
    fn what_is_refused_covers_nothing_that_may_be_granted() {
        for (given, refused, asked) in [
            (&["#", "a/b"][..], &["#"][..], &["#", "a/b"][..]),
            (&["a/b", "#"], &["#"], &["a/b", "#"]),
            (&["#", "a/#", "a/b"], &["#"], &["#", "a/#"]),
            (&["#", "a/#", "a/b"], &["#", "a/#"], &["#", "a/#", "a/b"]),
            (&["#", "a/b"], &["a/b"], &["#"]),
            (&["a", "a"], &["a"], &["a"]),
            (&["a/#", "b"], &["b"], &["a/#", "b"]),
        ] {
            let texts = |given: &[&str]| given.iter().map(|&text| text.to_owned()).collect();
            let (given, refused): (Vec<String>, Vec<String>) = (texts(given), texts(refused));
            assert_eq!(uncovered(&given, &refused), asked, "{given:?} {refused:?}");
        }
    }
}
