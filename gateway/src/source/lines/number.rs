//! Numbers as devices write them, and as JSON writes them. Digits are moved, never calculated with: what is written as
//! 1.10 stays 1.10.

use super::config::Decimal;

/// Most digits that a number with a fraction may have and be the same after any reader had it as a float.
const FLOAT_DIGITS_MAX: usize = 17;

/// Whether JSON would write this number just so, and whoever reads it gets the same number: a whole one of 64 bits, or one
/// with a fraction that a float keeps. What is not is text.
pub(super) fn is_plain(text: &str) -> bool {
    let unsigned = text.strip_prefix('-').unwrap_or(text);
    let (whole, fraction) = match unsigned.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (unsigned, None),
    };
    if !is_digits(whole) || whole.starts_with('0') && whole != "0" {
        return false;
    }
    let Some(fraction) = fraction else {
        return text != "-0" && text.parse::<i64>().is_ok();
    };
    if !is_digits(fraction) {
        return false;
    }
    let significant = text.trim_end_matches('0').trim_end_matches('.');
    let digits = significant.bytes().filter(u8::is_ascii_digit);
    let digits = digits.skip_while(|digit| *digit == b'0').count();
    let float = text.parse::<f64>();
    digits <= FLOAT_DIGITS_MAX && float.is_ok_and(|float| float.to_string() == significant)
}

/// A number with or without a fraction and an exponent, as JSON; `None` where it is none, or beyond all floats.
pub(super) fn float(text: &str, decimal: Decimal) -> Option<String> {
    let (sign, unsigned) = signed(text);
    let (mantissa, exponent) = match unsigned.find(['e', 'E']) {
        Some(at) => unsigned.split_at(at),
        None => (unsigned, ""),
    };
    let (whole, fraction) = mantissa
        .split_once(decimal.sign())
        .unwrap_or((mantissa, ""));
    let power = exponent.get(1..).unwrap_or_default();
    let power = power.strip_prefix(['+', '-']).unwrap_or(power);
    let is_number = [whole, fraction]
        .iter()
        .all(|part| part.is_empty() || is_digits(part))
        && !(whole.is_empty() && fraction.is_empty())
        && (exponent.is_empty() || is_digits(power));
    if !is_number {
        return None;
    }
    let mut json = format!("{sign}{}", without_zeros(whole));
    if !fraction.is_empty() {
        json.push('.');
        json.push_str(fraction);
    }
    json.push_str(exponent);
    json.parse::<f64>().ok()?.is_finite().then_some(json)
}

/// A whole number of 64 bits, as JSON.
pub(super) fn int(text: &str) -> Option<String> {
    let (sign, digits) = signed(text);
    if !is_digits(digits) {
        return None;
    }
    let json = format!("{sign}{}", without_zeros(digits));
    json.parse::<i64>().ok()?;
    Some(if json == "-0" { "0".into() } else { json })
}

/// The sign as JSON has it, and what comes behind.
fn signed(text: &str) -> (&'static str, &str) {
    match text.strip_prefix('-') {
        Some(unsigned) => ("-", unsigned),
        None => ("", text.strip_prefix('+').unwrap_or(text)),
    }
}

fn is_digits(text: &str) -> bool {
    !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit())
}

fn without_zeros(digits: &str) -> &str {
    match digits.trim_start_matches('0') {
        "" => "0",
        rest => rest,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Numbers to some reader, and none that JSON writes just so or that every reader keeps.
    const TEXTS: &[&str] = &[
        "",
        "-",
        "+5",
        "007",
        "00",
        "-01",
        "01.5",
        "12E4",
        "1e3",
        "1e400",
        "1.",
        ".5",
        "-.5",
        "1.2.3",
        "1,5",
        "1 000",
        "1_000",
        "0x10",
        "nan",
        "NaN",
        "inf",
        "-inf",
        "Infinity",
        "infinity",
        "true",
        "null",
        "-0",
        "--5",
        "5-",
        "９",
        "१२",
        "1.５",
        "12345678901234567890123",
        "9223372036854775808",
        "18446744073709551615",
        "-9223372036854775809",
        "10000000000000000000000",
        "10000000000000000000000.0",
        "0.1234567890123456789",
        "123456789.123456789123",
        "9007199254740993.5",
        "12:30",
        "2026-11-30",
        "21.5C",
    ];

    #[test]
    fn only_what_json_writes_just_so_is_a_number_by_itself() {
        for plain in [
            "0",
            "7",
            "-7",
            "21.5",
            "21.50",
            "-0.5",
            "0.0",
            "-0.00",
            "100",
            "1.10",
            "0.001",
            "9223372036854775807",
            "-9223372036854775808",
            "1764520528123",
            "40.00",
            "123456.789",
            "0.30000000000000004",
            "0.000000123",
        ] {
            assert!(is_plain(plain), "{plain}");
        }
        for text in TEXTS {
            assert!(!is_plain(text), "{text}");
        }
    }

    #[test]
    fn a_float_keeps_its_digits() {
        let (point, comma) = (Decimal::Point, Decimal::Comma);
        for (text, decimal, json) in [
            ("21.5", point, "21.5"),
            ("21.50", point, "21.50"),
            ("21,50", comma, "21.50"),
            ("+5", point, "5"),
            ("007", point, "7"),
            ("-007,10", comma, "-7.10"),
            ("12E4", point, "12E4"),
            ("1,2e-05", comma, "1.2e-05"),
            ("1e+3", point, "1e+3"),
            (".5", point, "0.5"),
            ("-.5", point, "-0.5"),
            ("5.", point, "5"),
            ("000", point, "0"),
            ("-0", point, "-0"),
            ("12345678901234567890123", point, "12345678901234567890123"),
            ("0.1234567890123456789", point, "0.1234567890123456789"),
        ] {
            let found = float(text, decimal);
            assert_eq!(found.as_deref(), Some(json), "{text}");
            let json = found.expect("a number");
            assert!(
                serde_json::from_str::<serde_json::Value>(&json).is_ok(),
                "{json}"
            );
        }
        for (text, decimal) in [
            ("", point),
            ("-", point),
            ("+-5", point),
            (".", point),
            (",", comma),
            ("e5", point),
            ("1e", point),
            ("1e+", point),
            ("1e5.5", point),
            ("1,5", point),
            ("1.5", comma),
            ("1.234,5", comma),
            ("1,2,3", comma),
            ("1 5", point),
            ("nan", point),
            ("NaN", point),
            ("inf", point),
            ("0x10", point),
            ("1_0", point),
            ("1e400", point),
            ("-1e999", point),
            ("21.5C", point),
            ("１", point),
            ("1é5", point),
            ("5é", point),
        ] {
            assert_eq!(float(text, decimal), None, "{text}");
        }
    }

    #[test]
    fn an_int_is_whole_and_has_64_bits() {
        for (text, json) in [
            ("7", "7"),
            ("007", "7"),
            ("+5", "5"),
            ("-012", "-12"),
            ("-0", "0"),
            ("000", "0"),
            ("9223372036854775807", "9223372036854775807"),
            ("-9223372036854775808", "-9223372036854775808"),
        ] {
            assert_eq!(int(text).as_deref(), Some(json), "{text}");
        }
        for text in [
            "",
            "+",
            "-",
            "1.0",
            "1e3",
            "12E4",
            "9223372036854775808",
            "0x10",
            "1 0",
            "nan",
            "++1",
            "१२",
        ] {
            assert_eq!(int(text), None, "{text}");
        }
    }
}
