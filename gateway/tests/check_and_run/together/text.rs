//! The file itself: its TOML, its encoding, and values at the bounds of their units.

use super::{ARCHIVE, FLOOR, GATEWAY, Row, Says, nothing, row, whole};

/// How sections and keys are written.
pub(super) fn syntax() -> Vec<Row> {
    use Says::{Fine, Wrong};
    vec![
        whole(
            "dotted keys",
            "gateway.id = \"a\"\ngateway.data_dir = \"data\"\nsources.l.type = \"mqtt-listener\"\nsources.l.listen = \"FREE\"\nupstreams.f.type = \"file\"\nupstreams.f.path = \"f\"\n",
            nothing,
            Fine,
        ),
        whole(
            "inline tables",
            "gateway = { id = \"a\", data_dir = \"data\" }\nsources = { l = { type = \"mqtt-listener\", listen = \"FREE\" } }\nupstreams = { f = { type = \"file\", path = \"f\" } }\n",
            nothing,
            Fine,
        ),
        whole(
            "a dotted key twice",
            "gateway.id = \"a\"\ngateway.data_dir = \"data\"\ngateway.id = \"b\"\n",
            nothing,
            Wrong(&["duplicate key; the first one is in line 1"]),
        ),
        row(
            "a section twice",
            "[store]\n[store]\n",
            Wrong(&["duplicate key; the first one is in line 10"]),
        ),
        row(
            "a list of sections",
            "[[sources.x]]\ntype = \"http\"\n",
            Wrong(&["write [sources.NAME]"]),
        ),
    ]
}

/// What bytes it has, and how many.
pub(super) fn encodings() -> Vec<Row> {
    use Says::{Fine, Wrong};
    let sound = format!("{GATEWAY}{FLOOR}{ARCHIVE}");
    let utf16: Vec<u8> = sound.encode_utf16().flat_map(u16::to_le_bytes).collect();
    vec![
        whole(
            "lines that end as on Windows",
            sound.replace('\n', "\r\n"),
            nothing,
            Fine,
        ),
        whole(
            "a byte order mark",
            ["\u{feff}", &sound].concat(),
            nothing,
            Fine,
        ),
        whole(
            "Latin-1",
            [b"# gr\xfcn\n", sound.as_bytes()].concat(),
            nothing,
            Wrong(&["it is not UTF-8: byte 0xfc in line 1; save it as UTF-8"]),
        ),
        whole(
            "UTF-16",
            [&[0xff, 0xfe], utf16.as_slice()].concat(),
            nothing,
            Wrong(&["it is UTF-16; save it as UTF-8"]),
        ),
        whole(
            "a NUL",
            [sound.as_bytes(), b"# a\0b\n"].concat(),
            nothing,
            Wrong(&["gateway.toml:10:"]),
        ),
        whole(
            "10 MB",
            sound.clone() + &"# 345678\n".repeat(1_100_000),
            nothing,
            Wrong(&["too large to be meant"]),
        ),
        whole(
            "nothing",
            "",
            nothing,
            Wrong(&[
                "section `[gateway]` is missing",
                "no sources and no upstreams",
            ]),
        ),
        row(
            "depth",
            &format!("[store]\nx = {}{}\n", "[".repeat(5_000), "]".repeat(5_000)),
            Wrong(&["recursi"]),
        ),
        row(
            "a thousand mistakes",
            &format!(
                "[store]\n{}",
                (0..1_000)
                    .map(|n| format!("k{n} = 1\n"))
                    .collect::<String>()
            ),
            Wrong(&["unknown key `k0`", "and 800 more are not shown"]),
        ),
    ]
}

/// Durations, sizes and counts.
pub(super) fn values() -> Vec<Row> {
    use Says::{Fine, Wrong};
    let store = |name, line: &str, says| row(name, &format!("[store]\n{line}\n"), says);
    vec![
        store("no time", "keep_for = \"0s\"", Fine),
        store(
            "nanoseconds",
            "keep_for = \"1ns\"",
            Wrong(&["units of time: ms, s, m, h, d"]),
        ),
        store("a day", "keep_for = \"1d\"", Fine),
        store(
            "all milliseconds",
            "keep_for = \"18446744073709551615ms\"",
            Wrong(&["is out of range", "0ms to 3650d"]),
        ),
        store(
            "one more",
            "keep_for = \"18446744073709551616ms\"",
            Wrong(&["takes a duration"]),
        ),
        store(
            "a negative time",
            "keep_for = \"-1s\"",
            Wrong(&["takes a duration"]),
        ),
        store("blanks", "keep_for = \" 5 s \"", Wrong(&["write \"5s\""])),
        store("hours and minutes", "keep_for = \"1h30m\"", Fine),
        store(
            "a size with a blank",
            "max_size = \"1 KiB\"",
            Wrong(&["write \"1KiB\""]),
        ),
        store(
            "powers of ten",
            "max_size = \"64MB\"",
            Wrong(&["write \"64MiB\""]),
        ),
        store(
            "all bytes",
            "max_size = \"18446744073709551615B\"",
            Wrong(&["is out of range"]),
        ),
        store(
            "a size without its unit",
            "max_size = 1024",
            Wrong(&["needs a unit"]),
        ),
        row(
            "a count with a fraction",
            "[sources.a]\ntype = \"http\"\nlisten = \"FREE\"\nmax_connections = 1.0\n",
            Wrong(&["not a number with a fraction"]),
        ),
        row(
            "a count in hexadecimal",
            "[sources.a]\ntype = \"http\"\nlisten = \"FREE\"\nmax_connections = 0x10\n",
            Fine,
        ),
    ]
}
