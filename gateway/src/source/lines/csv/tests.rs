//! Cells, as devices write them.

use super::super::config::column::Column;
use super::*;

fn reader(columns: &[&str], delimiter: char, decimal: Decimal) -> CsvReader {
    let columns = columns.iter().map(|column| Column::read(column));
    CsvReader::new(&CsvFormat {
        columns: columns.collect::<Result<_, _>>().expect("columns"),
        delimiter: u8::try_from(delimiter).expect("an ASCII character"),
        decimal,
    })
}

/// What becomes of each line; one reader sees them all.
fn check(reader: &mut CsvReader, cases: &[(&str, Result<&str, &str>)]) {
    for (line, expected) in cases {
        let found = reader.object(line);
        let found = found.as_deref().map_err(String::as_str);
        assert_eq!(found, *expected, "{line:?}");
        if let Ok(json) = found {
            serde_json::from_str::<serde_json::Value>(json).expect("JSON");
        }
    }
}

#[test]
fn what_has_no_type_stays_what_it_is() {
    let mut reader = reader(&["a"], ',', Decimal::Point);
    for number in ["21.5", "21.50", "-3", "0", "9223372036854775807", "1.10"] {
        let expected = format!("{{\"a\":{number}}}");
        check(&mut reader, &[(number, Ok(&expected))]);
    }
    for text in [
        "007",
        "+5",
        "12E4",
        "12345678901234567890123",
        "1e400",
        ".5",
        "5.",
        "00",
        "-0",
        "nan",
        "true",
        "0x1F",
        "12:30:00",
        "1'000",
        "2026-11-30T12:00:00Z",
        "ok",
        "5°",
        "18446744073709551615",
    ] {
        let expected = format!("{{\"a\":\"{text}\"}}");
        check(&mut reader, &[(text, Ok(&expected))]);
    }
}

#[test]
fn quotes_and_delimiters_are_those_of_csv() {
    let cases: &[(&str, Result<&str, &str>)] = &[
        ("1,2", Ok(r#"{"a":1,"b":2}"#)),
        (" 1 ,\t2 ", Ok(r#"{"a":1,"b":2}"#)),
        ("1,", Ok(r#"{"a":1,"b":null}"#)),
        (",", Ok(r#"{"a":null,"b":null}"#)),
        (" , ", Ok(r#"{"a":null,"b":null}"#)),
        (r#""1","2""#, Ok(r#"{"a":"1","b":"2"}"#)),
        (r#""x,y",2"#, Ok(r#"{"a":"x,y","b":2}"#)),
        (r#"1, "x,y" "#, Ok(r#"{"a":1,"b":"x,y"}"#)),
        (r#" "x" ,"y""#, Ok(r#"{"a":"x","b":"y"}"#)),
        (r#""say ""hi""","""""#, Ok(r#"{"a":"say \"hi\"","b":"\""}"#)),
        (r#""","#, Ok(r#"{"a":"","b":null}"#)),
        (r#"" x ",2"#, Ok(r#"{"a":" x ","b":2}"#)),
        (r#"5",6" pipe"#, Ok(r#"{"a":"5\"","b":"6\" pipe"}"#)),
        (r"C:\temp,\n", Ok(r#"{"a":"C:\\temp","b":"\\n"}"#)),
        ("grüße,温度", Ok(r#"{"a":"grüße","b":"温度"}"#)),
        ("\u{feff}1,2", Ok(r#"{"a":1,"b":2}"#)),
        ("\u{2}12,5\u{3}", Ok(r#"{"a":"\u000212","b":"5\u0003"}"#)),
        ("1", Err("it has 1 column, the configuration names 2")),
        ("1,2,3", Err("it has 3 columns, the configuration names 2")),
        ("1,2,", Err("it has 3 columns, the configuration names 2")),
        ("1;2", Err("it has 1 column, the configuration names 2")),
        (r#""x,2"#, Err("a quote is missing at the end of column 1")),
        (r#"1,"x"#, Err("a quote is missing at the end of column 2")),
        (
            r#"1,"x"" "#,
            Err("a quote is missing at the end of column 2"),
        ),
        (r#"1,""#, Err("a quote is missing at the end of column 2")),
        (
            r#"1,"x"y"#,
            Err("there is text behind the quotes of column 2"),
        ),
        (
            r#""x" "y",2"#,
            Err("there is text behind the quotes of column 1"),
        ),
        ("1,2", Ok(r#"{"a":1,"b":2}"#)),
    ];
    check(&mut reader(&["a", "b"], ',', Decimal::Point), cases);
    for delimiter in [';', '\t', '|', ' ', '/', ':'] {
        let mut reader = reader(&["a", "b", "c"], delimiter, Decimal::Point);
        let line = ["1", r#""x;	| /:y""#, "-2.50"].join(&delimiter.to_string());
        let expected = r#"{"a":1,"b":"x;\t| /:y","c":-2.50}"#;
        check(&mut reader, &[(&line, Ok(expected))]);
        let empty = delimiter.to_string().repeat(2);
        let nulls = r#"{"a":null,"b":null,"c":null}"#;
        check(&mut reader, &[(&empty, Ok(nulls))]);
    }
}

/// Under `t float`, `n int`, `id text`, `on bool`, `x`, with a decimal comma.
const TYPED: &[(&str, Result<&str, &str>)] = &[
    (
        "21,50;007;007;1;007",
        Ok(r#"{"t":21.50,"n":7,"id":"007","on":true,"x":"007"}"#),
    ),
    (
        "+5;+5;+5;TRUE;+5",
        Ok(r#"{"t":5,"n":5,"id":"+5","on":true,"x":"+5"}"#),
    ),
    (
        "12E4;-0;12E4;0;12E4",
        Ok(r#"{"t":12E4,"n":0,"id":"12E4","on":false,"x":"12E4"}"#),
    ),
    (
        ";;;;",
        Ok(r#"{"t":null,"n":null,"id":null,"on":null,"x":null}"#),
    ),
    (
        r#""1,5";"7";"21";"false";"21""#,
        Ok(r#"{"t":1.5,"n":7,"id":"21","on":false,"x":"21"}"#),
    ),
    (
        "12345678901234567890123;1;12345678901234567890123;1;1,5",
        Ok(
            r#"{"t":12345678901234567890123,"n":1,"id":"12345678901234567890123","on":true,"x":"1,5"}"#,
        ),
    ),
    (
        "21.5;1;a;1;x",
        Err("column `t` is no number with a decimal comma"),
    ),
    (
        "1.234,5;1;a;1;x",
        Err("column `t` is no number with a decimal comma"),
    ),
    (
        "nan;1;a;1;x",
        Err("column `t` is no number with a decimal comma"),
    ),
    (
        "1e400;1;a;1;x",
        Err("column `t` is no number with a decimal comma"),
    ),
    (
        r#""";1;a;1;x"#,
        Err("column `t` is no number with a decimal comma"),
    ),
    (
        "1;1,5;a;1;x",
        Err("column `n` is no whole number of 64 bits"),
    ),
    (
        "1;1e3;a;1;x",
        Err("column `n` is no whole number of 64 bits"),
    ),
    (
        "1;12345678901234567890123;a;1;x",
        Err("column `n` is no whole number of 64 bits"),
    ),
    (
        "1;1;a;yes;x",
        Err("column `on` is no truth value: true, false, 1 or 0"),
    ),
    // The first that is wrong is told, and a wrong number of columns before all else.
    (
        "x;y;a;z;x",
        Err("column `t` is no number with a decimal comma"),
    ),
    ("x;y", Err("it has 2 columns, the configuration names 5")),
    (
        "1;2;3;4;5;6",
        Err("it has 6 columns, the configuration names 5"),
    ),
];

#[test]
fn a_type_says_what_a_cell_is() {
    let columns = ["t float", "n int", "id text", "on bool", "x"];
    check(&mut reader(&columns, ';', Decimal::Comma), TYPED);
    // What is wrong is told in the log, which holds nothing of a payload.
    let why = reader(&["t float"], ';', Decimal::Point).object("secret");
    assert_eq!(why, Err("column `t` is no number".into()));
}

#[test]
fn the_rest_of_a_cell_with_an_end_of_line_in_it_is_no_reading() {
    const OPEN: &str = "a quote is missing at the end of column 1";
    const REST: &str = "it closes the quotes of a line before, and a cell ends with its line";
    let ok = |object: &'static str| Ok(object.to_owned());
    let err = |why: &str| Err(why.to_owned());
    let mut reader = reader(&["a", "b"], ',', Decimal::Point);
    for (line, expected) in [
        ("\"x", err(OPEN)),
        ("y\",1", err(REST)),
        ("2,3", ok(r#"{"a":2,"b":3}"#)),
        ("\"x", err(OPEN)),
        ("1,2", ok(r#"{"a":1,"b":2}"#)),
        ("y\",1", err(REST)),
        // Quotes that are closed again say that the line before was cut.
        ("\"x", err(OPEN)),
        ("\"z\",1", ok(r#"{"a":"z","b":1}"#)),
        ("5\",1", ok(r#"{"a":"5\"","b":1}"#)),
        ("\"x", err(OPEN)),
        ("\"x", err(OPEN)),
        ("\"x\",1", ok(r#"{"a":"x","b":1}"#)),
    ] {
        assert_eq!(reader.object(line), expected, "{line}");
    }
}
