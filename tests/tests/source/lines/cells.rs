//! What arrives of a line: its cells and characters as the device wrote them, byte for byte.

use super::{LAST, Ports};

/// Keys of a source, and its lines with the payload that each becomes.
type Case<'a> = (&'a str, &'a [(&'a [u8], Option<&'a str>)]);

/// Writes the lines of each table to a source with its keys, and compares the payloads; what stands for none is refused.
fn check(cases: &[Case<'_>]) {
    let keys: Vec<String> = cases.iter().map(|(keys, _)| (*keys).to_owned()).collect();
    let mut ports = Ports::start(&keys);
    for (place, (keys, lines)) in cases.iter().enumerate() {
        ports.write(place, &[b"\r\n"]);
        for (line, _) in *lines {
            ports.write(place, &[line, b"\r\n"]);
        }
        let last = last(keys);
        ports.write(place, &[last.as_bytes(), b"\r\n"]);
    }
    for (place, (keys, lines)) in cases.iter().enumerate() {
        let expected: Vec<&str> = lines.iter().filter_map(|(_, payload)| *payload).collect();
        assert_eq!(ports.payloads(place), expected, "{keys}");
        let refused = ports.refused(place)["count"].as_u64().unwrap_or(0);
        let none = lines.len() - expected.len();
        assert_eq!(refused, none as u64, "{keys}");
    }
}

/// A line with [`LAST`] in it that a source with these keys takes.
fn last(keys: &str) -> String {
    if keys.contains("json") {
        return format!("[\"{LAST}\"]");
    }
    let types = keys.split("columns = [").nth(1).unwrap_or_default();
    let types = types.split(']').next().unwrap_or_default();
    let delimiter = keys.split("delimiter = \"").nth(1).unwrap_or(",");
    let cells = types.split(',').map(|column| match column {
        column if column.contains("text") || !column.trim_matches(['"', ' ']).contains(' ') => LAST,
        _ => "",
    });
    let cells: Vec<&str> = cells.collect();
    match delimiter.strip_prefix("\\t") {
        Some(_) => cells.join("\t"),
        None => cells.join(&delimiter[..1]),
    }
}

const ONE: &[(&[u8], Option<&str>)] = &[
    (b"21.5", Some(r#"{"a":21.5}"#)),
    (b"21.50", Some(r#"{"a":21.50}"#)),
    (b"-3", Some(r#"{"a":-3}"#)),
    (b"9223372036854775807", Some(r#"{"a":9223372036854775807}"#)),
    (b"007", Some(r#"{"a":"007"}"#)),
    (b"+5", Some(r#"{"a":"+5"}"#)),
    (b"12E4", Some(r#"{"a":"12E4"}"#)),
    (
        b"12345678901234567890123",
        Some(r#"{"a":"12345678901234567890123"}"#),
    ),
    (
        b"18446744073709551615",
        Some(r#"{"a":"18446744073709551615"}"#),
    ),
    (
        b"0.1234567890123456789",
        Some(r#"{"a":"0.1234567890123456789"}"#),
    ),
    (b"1e400", Some(r#"{"a":"1e400"}"#)),
    (b".5", Some(r#"{"a":".5"}"#)),
    (b"5.", Some(r#"{"a":"5."}"#)),
    (b"0x1F", Some(r#"{"a":"0x1F"}"#)),
    (b"nan", Some(r#"{"a":"nan"}"#)),
    (b"Infinity", Some(r#"{"a":"Infinity"}"#)),
    (b"true", Some(r#"{"a":"true"}"#)),
    (
        b"2026-11-30T12:00:00Z",
        Some(r#"{"a":"2026-11-30T12:00:00Z"}"#),
    ),
    (b"\"007\"", Some(r#"{"a":"007"}"#)),
    (b"\"21.5\"", Some(r#"{"a":"21.5"}"#)),
    (b"\"\"", Some(r#"{"a":""}"#)),
];

const THREE: &[(&[u8], Option<&str>)] = &[
    (b"1;2;3", Some(r#"{"z":1,"a":2,"m":3}"#)),
    (b"1;;", Some(r#"{"z":1,"a":null,"m":null}"#)),
    (b" 1 ;\t2; x y ", Some(r#"{"z":1,"a":2,"m":"x y"}"#)),
    (
        b"\"a;b\";\"say \"\"hi\"\"\"; \"c\"",
        Some(r#"{"z":"a;b","a":"say \"hi\"","m":"c"}"#),
    ),
    (
        b"5\";C:\\temp;\xc2\xb0C",
        Some(r#"{"z":"5\"","a":"C:\\temp","m":"°C"}"#),
    ),
    (b"1", None),
    (b"1;2", None),
    (b"1;2;3;", None),
    (b"\"a;b;c", None),
    (b"\"a\"b;2;3", None),
];

#[test]
fn without_a_type_a_cell_stays_what_it_is() {
    check(&[
        ("format = \"csv\"\ncolumns = [\"a\"]", ONE),
        (
            "format = \"csv\"\ncolumns = [\"z\", \"a\", \"m\"]\ndelimiter = \";\"",
            THREE,
        ),
        (
            "format = \"csv\"\ncolumns = [\"a\", \"b\"]\ndelimiter = \"\\t\"",
            &[
                (b"1\t2", Some(r#"{"a":1,"b":2}"#)),
                (b"\t", Some(r#"{"a":null,"b":null}"#)),
                (b"\"x\ty\"\t 1,5 ", Some(r#"{"a":"x\ty","b":"1,5"}"#)),
            ],
        ),
        (
            "format = \"json\"",
            &[
                (
                    b"{\"b\":1.10,\"a\":12E4,\"a\":1e400}",
                    Some("{\"b\":1.10,\"a\":12E4,\"a\":1e400}"),
                ),
                (
                    b" 12345678901234567890123 ",
                    Some(" 12345678901234567890123 "),
                ),
                (b"\"007\"", Some("\"007\"")),
                (b"007", None),
                (b"+5", None),
                (b"{\"t\":1", None),
                (b"{\"t\":1} ok", None),
            ],
        ),
    ]);
}

#[test]
fn with_a_type_a_cell_is_read_as_that_and_keeps_its_digits() {
    check(&[
        (
            "format = \"csv\"\ncolumns = [\"t float\", \"id text\"]",
            &[
                (b"21.50,007", Some(r#"{"t":21.50,"id":"007"}"#)),
                (b"+5,+5", Some(r#"{"t":5,"id":"+5"}"#)),
                (b"007,12E4", Some(r#"{"t":7,"id":"12E4"}"#)),
                (b"12E4,21.5", Some(r#"{"t":12E4,"id":"21.5"}"#)),
                (b".5,1", Some(r#"{"t":0.5,"id":"1"}"#)),
                (
                    b"12345678901234567890123,9",
                    Some(r#"{"t":12345678901234567890123,"id":"9"}"#),
                ),
                (b",", Some(r#"{"t":null,"id":null}"#)),
                (b"nan,a", None),
                (b"1e400,a", None),
                (b"21.5C,a", None),
                (b"1,5,a", None),
                (b"temperature,id", None),
            ],
        ),
        (
            "format = \"csv\"\ncolumns = [\"t float\", \"n int\", \"on bool\", \"id\"]\ndecimal = \",\"\ndelimiter = \";\"",
            &[
                (
                    b"21,50;7;1;7",
                    Some(r#"{"t":21.50,"n":7,"on":true,"id":7}"#),
                ),
                (
                    b"-0,5;-007;false;1,5",
                    Some(r#"{"t":-0.5,"n":-7,"on":false,"id":"1,5"}"#),
                ),
                (
                    b"\"1,5\";\"7\";\"TRUE\";\"7\"",
                    Some(r#"{"t":1.5,"n":7,"on":true,"id":"7"}"#),
                ),
                (b"21.5;7;1;x", None),
                (b"1.234,5;7;1;x", None),
                (b"1;7,0;1;x", None),
                (b"1;12345678901234567890123;1;x", None),
                (b"1;7;on;x", None),
            ],
        ),
    ]);
}

#[test]
fn characters_are_those_of_the_encoding_and_noise_is_refused() {
    let cases: &[Case<'_>] = &[
        (
            "format = \"csv\"\ncolumns = [\"id text\"]",
            &[
                (b"21.5 \xc2\xb0C", Some("{\"id\":\"21.5 °C\"}")),
                (b"21.5 \xb0C", None),
                (b"\0", None),
                (b"21.5\0", None),
                (b"\0\0\0\0 21.5", None),
                // Boots at another speed, of a bootloader, and of a console in colour.
                (b"rl\x9c\x9cn\xecl\xf2\x0c\x04\x8c", None),
                (b"\x14\x10", None),
                (b"\x7f\x7f", None),
                (b"\x1b[0;32mI (27) boot: ESP-IDF v5.1\x1b[0m", None),
                (b"\xff\xff\xff", None),
                (b"\x02 12 kg\x03", Some("{\"id\":\"\\u0002 12 kg\\u0003\"}")),
            ],
        ),
        (
            "format = \"csv\"\ncolumns = [\"id text\"]\nencoding = \"windows-1252\"",
            &[
                (b"21.5 \xb0C", Some("{\"id\":\"21.5 °C\"}")),
                (b"\x80 5", Some("{\"id\":\"€ 5\"}")),
                (b"\0\xb0", None),
                (b"\x81", None),
                (b"rl\x9c\x10\xec", None),
            ],
        ),
        (
            "format = \"json\"\nencoding = \"shift_jis\"",
            &[
                (b"[\"\x89\xb7\x93\x78\"]", Some("[\"温度\"]")),
                // The second byte of this character is a backslash by itself.
                (b"[\"\x95\x5c\"]", Some("[\"表\"]")),
                (b"[\"\x89\"]", None),
                (b"\0[1]", None),
            ],
        ),
        (
            "format = \"csv\"\ncolumns = [\"id text\"]\nencoding = \"koi8-r\"",
            &[(b"\xc4\xc1", Some("{\"id\":\"да\"}"))],
        ),
    ];
    check(cases);
}
