//! "Did you mean": the known word nearest to a mistyped one.

/// The candidate nearest to `word`, if one is near enough to be what was meant.
///
/// Near enough is one slip per three characters: a letter too many, too few, wrong, or two swapped.
pub fn did_you_mean<'a>(
    word: &str,
    candidates: impl IntoIterator<Item = &'a str>,
) -> Option<&'a str> {
    let slips_max = word.chars().count().div_ceil(3).min(4);
    let mut best: Option<(usize, &str)> = None;
    for candidate in candidates {
        let slips = distance(&word.to_lowercase(), &candidate.to_lowercase());
        let nearer = best.is_none_or(|(least, _)| slips < least);
        if candidate != word && slips <= slips_max && nearer {
            best = Some((slips, candidate));
        }
    }
    best.map(|(_, candidate)| candidate)
}

/// Slips between two words (optimal string alignment distance).
fn distance(left: &str, right: &str) -> usize {
    let left: Vec<char> = left.chars().collect();
    let right: Vec<char> = right.chars().collect();
    let mut before: Vec<usize> = Vec::new();
    let mut above: Vec<usize> = (0..=right.len()).collect();
    for (row, a) in left.iter().enumerate() {
        let mut line = vec![row + 1];
        for (column, b) in right.iter().enumerate() {
            let replaced = above[column] + usize::from(a != b);
            let mut slips = replaced.min(above[column + 1] + 1).min(line[column] + 1);
            let swapped = row > 0 && column > 0 && *a == right[column - 1] && left[row - 1] == *b;
            if swapped {
                slips = slips.min(before[column - 1] + 1);
            }
            line.push(slips);
        }
        before = std::mem::replace(&mut above, line);
    }
    above[right.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_slip_of_the_finger_finds_the_word_that_was_meant() {
        let fields = ["temperature", "unit", "seq", "pressure"];
        let cases = [
            ("temprature", Some("temperature")),
            ("tempreature", Some("temperature")),
            ("Unit", Some("unit")),
            ("sqe", Some("seq")),
            ("unti", Some("unit")),
            ("humidity", None),
            ("x", None),
            ("", None),
        ];
        for (word, expected) in cases {
            assert_eq!(did_you_mean(word, fields), expected, "{word}");
        }
    }
}
