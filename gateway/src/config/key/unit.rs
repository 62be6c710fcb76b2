//! Durations and sizes as people write them: `"5ms"`, `"1h30m"`, `"2GiB"`.
//!
//! A number without a unit is never guessed at; what was probably meant becomes a suggestion.

use std::time::Duration;

/// Units of time, longest name first where one is the end of another.
const TIME_UNITS: [(&str, u64); 5] = [
    ("ms", 1),
    ("s", 1_000),
    ("m", 60_000),
    ("h", 3_600_000),
    ("d", 86_400_000),
];

const SIZE_UNITS: [(&str, u64); 5] = [
    ("B", 1),
    ("KiB", 1 << 10),
    ("MiB", 1 << 20),
    ("GiB", 1 << 30),
    ("TiB", 1 << 40),
];

/// Other spellings and the unit they stand for.
const TIME_WORDS: [(&str, &str); 21] = [
    ("msec", "ms"),
    ("millis", "ms"),
    ("millisecond", "ms"),
    ("milliseconds", "ms"),
    ("sec", "s"),
    ("secs", "s"),
    ("second", "s"),
    ("seconds", "s"),
    ("min", "m"),
    ("mins", "m"),
    ("minute", "m"),
    ("minutes", "m"),
    ("hr", "h"),
    ("hrs", "h"),
    ("hour", "h"),
    ("hours", "h"),
    ("day", "d"),
    ("days", "d"),
    ("week", "7d"),
    ("weeks", "7d"),
    ("w", "7d"),
];

const SIZE_WORDS: [(&str, &str); 16] = [
    ("byte", "B"),
    ("bytes", "B"),
    ("b", "B"),
    ("k", "KiB"),
    ("kb", "KiB"),
    ("kib", "KiB"),
    ("m", "MiB"),
    ("mb", "MiB"),
    ("mib", "MiB"),
    ("g", "GiB"),
    ("gb", "GiB"),
    ("gib", "GiB"),
    ("t", "TiB"),
    ("tb", "TiB"),
    ("tib", "TiB"),
    ("megabytes", "MiB"),
];

/// Text that is no duration or size, with the one that was probably meant.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct NoUnit {
    /// What to write instead, without quotes.
    pub suggestion: Option<String>,
}

/// Reads `"250ms"`, `"5s"`, `"1h30m"`.
///
/// # Errors
/// [`NoUnit`] with what was probably meant.
pub fn duration(text: &str) -> Result<Duration, NoUnit> {
    let mut ms: u64 = 0;
    let mut rest = text;
    while !rest.is_empty() {
        let part = leading_part(rest, &TIME_UNITS).ok_or_else(|| NoUnit {
            suggestion: meant(text, &TIME_UNITS, &TIME_WORDS),
        })?;
        ms = ms.saturating_add(part.0);
        rest = part.1;
    }
    if text.is_empty() {
        return Err(NoUnit { suggestion: None });
    }
    Ok(Duration::from_millis(ms))
}

/// Reads `"512B"`, `"64KiB"`, `"2GiB"` as bytes.
pub(crate) fn size(text: &str) -> Result<u64, NoUnit> {
    match leading_part(text, &SIZE_UNITS) {
        Some((bytes, "")) => Ok(bytes),
        _ => Err(NoUnit {
            suggestion: meant(text, &SIZE_UNITS, &SIZE_WORDS),
        }),
    }
}

/// The value of a leading number with its unit, and what follows it.
fn leading_part<'a>(text: &'a str, units: &[(&str, u64)]) -> Option<(u64, &'a str)> {
    let (number, rest) = split_where(text, |c| !c.is_ascii_digit());
    let (unit, rest) = split_where(rest, |c| c.is_ascii_digit());
    let factor = units.iter().find(|(name, _)| *name == unit)?.1;
    Some((number.parse::<u64>().ok()?.checked_mul(factor)?, rest))
}

fn split_where(text: &str, ends: impl Fn(char) -> bool) -> (&str, &str) {
    text.split_at(text.find(ends).unwrap_or(text.len()))
}

/// `"5 minutes"` → `5m`, `"1.5s"` → `1500ms`, `"2GB"` → `2GiB`.
fn meant(text: &str, units: &[(&str, u64)], words: &[(&str, &str)]) -> Option<String> {
    let lower = text.trim().to_lowercase();
    let (number, unit) = split_where(&lower, |c| !c.is_ascii_digit() && c != '.' && c != '_');
    let unit = unit.trim();
    let unit = words
        .iter()
        .find(|(word, _)| *word == unit)
        .map(|(_, unit)| *unit)
        .or_else(|| named_alike(unit, units))?;
    let number: f64 = number.replace('_', "").parse().ok()?;
    let (times, unit) = unit
        .strip_prefix('7')
        .map_or((1.0, unit), |unit| (7.0, unit));
    let place = units.iter().position(|(name, _)| *name == unit)?;
    whole(number * times, place, units).filter(|meant| *meant != text)
}

fn named_alike<'a>(unit: &str, units: &[(&'a str, u64)]) -> Option<&'a str> {
    let alike = |name: &str| name.eq_ignore_ascii_case(unit);
    units.iter().map(|(name, _)| *name).find(|name| alike(name))
}

/// `number` of the unit at `place`, in the largest unit that makes it a whole number.
fn whole(number: f64, place: usize, units: &[(&str, u64)]) -> Option<String> {
    let base = units.get(place)?.1 as f64;
    (0..=place).rev().find_map(|smaller| {
        let (name, factor) = units.get(smaller)?;
        let count = number * base / *factor as f64;
        ((0.0..1e15).contains(&count) && count.fract() == 0.0).then(|| format!("{count}{name}"))
    })
}

/// Writes bytes the way [`size`] reads them, in the largest unit that keeps them whole.
pub fn size_text(bytes: u64) -> String {
    let fits = |factor: u64| bytes >= factor && bytes.is_multiple_of(factor);
    let (name, factor) = SIZE_UNITS
        .into_iter()
        .rev()
        .find(|(_, factor)| fits(*factor))
        .unwrap_or(SIZE_UNITS[0]);
    format!("{}{name}", bytes / factor)
}

/// Writes a duration the way [`duration`] reads it, in the largest unit that keeps it whole.
pub fn duration_text(duration: Duration) -> String {
    let ms = u64::try_from(duration.as_millis()).unwrap_or(u64::MAX);
    let fits = |factor: u64| ms >= factor && ms.is_multiple_of(factor);
    let (name, factor) = TIME_UNITS
        .into_iter()
        .rev()
        .find(|(_, factor)| fits(*factor))
        .unwrap_or(TIME_UNITS[0]);
    format!("{}{name}", ms / factor)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check_duration(text: &str, expected: Result<u64, Option<&str>>) {
        let read = duration(text).map(|duration| duration.as_millis() as u64);
        let expected = expected.map_err(|suggestion| NoUnit {
            suggestion: suggestion.map(str::to_owned),
        });
        assert_eq!(read, expected, "{text:?}");
    }

    fn check_size(text: &str, expected: Result<u64, Option<&str>>) {
        let expected = expected.map_err(|suggestion| NoUnit {
            suggestion: suggestion.map(str::to_owned),
        });
        assert_eq!(size(text), expected, "{text:?}");
    }

    #[test]
    fn durations_need_a_unit_and_may_be_compound() {
        check_duration("0ms", Ok(0));
        check_duration("5ms", Ok(5));
        check_duration("30s", Ok(30_000));
        check_duration("1h30m", Ok(5_400_000));
        check_duration("2d", Ok(172_800_000));
        check_duration("", Err(None));
        check_duration("5", Err(None));
        check_duration("ms", Err(None));
    }

    #[test]
    fn other_spellings_of_a_duration_become_a_suggestion() {
        check_duration("5 minutes", Err(Some("5m")));
        check_duration("5 min", Err(Some("5m")));
        check_duration("1.5s", Err(Some("1500ms")));
        check_duration("0.5 hours", Err(Some("30m")));
        check_duration("5S", Err(Some("5s")));
        check_duration("2 weeks", Err(Some("14d")));
        check_duration("soon", Err(None));
        check_duration("99999999999999999999s", Err(None));
    }

    #[test]
    fn sizes_are_powers_of_two_and_say_so() {
        check_size("512B", Ok(512));
        check_size("2GiB", Ok(2 << 30));
        check_size("2GB", Err(Some("2GiB")));
        check_size("64 MiB", Err(Some("64MiB")));
        check_size("64m", Err(Some("64MiB")));
        check_size("1.5GiB", Err(Some("1536MiB")));
        check_size("4096", Err(None));
        check_size("1KiB1B", Err(None));
        check_size("99999999999TiB", Err(None));
    }

    #[test]
    fn what_is_written_reads_back() {
        for bytes in [0, 1, 1024, 1536, 2 << 30, 3 << 40] {
            assert_eq!(size(&size_text(bytes)), Ok(bytes));
        }
        for ms in [0, 1, 250, 1_000, 90_000, 86_400_000] {
            let written = duration_text(Duration::from_millis(ms));
            assert_eq!(duration(&written), Ok(Duration::from_millis(ms)));
        }
    }
}
