//! Heads and documents at their edges: what is taken, as what, and what is refused with words instead of being read as
//! something else.

use serde_json::Value;

use crate::{STRUCTURED, post_bytes, start, with_hooks};

/// Headers, the body, the status, and what the event or the answer has in it.
type Case = (&'static str, &'static str, u16, &'static str);

const EVENT: &str = "ce-specversion: 1.0\r\nce-id: x\r\nce-source: s\r\nce-type: t\r\n";

const HEADS: &[Case] = &[
    (
        "Content-Type: application/json; profile=\"a;b,c\"; charset=\"utf-8\"\r\n",
        "{\"a\":1.10}",
        200,
        r#""datacontenttype":"application/json; profile=\"a;b,c\"; charset=\"utf-8\"""#,
    ),
    (
        "Content-Type: application/vnd.x.y+json\r\n",
        "{\"a\":1.10}",
        200,
        r#""data":{"a":1.10}"#,
    ),
    (
        "Content-Type: text/plain; charset=latin1\r\n",
        "21",
        200,
        r#""datacontenttype":"text/plain; charset=latin1""#,
    ),
    (
        "Content-Type: text/pl\u{e4}in\r\n",
        "21",
        400,
        "header content-type: it is no UTF-8",
    ),
    (
        "Content-Type: text/plain\r\nContent-Type: text/csv\r\n",
        "1",
        400,
        "content-type: it stands there more than once",
    ),
    (
        "Content-Type: text/plain\r\nContent-Type: text/plain\r\n",
        "1",
        200,
        r#""datacontenttype":"text/plain""#,
    ),
    (
        "{}ce-x: 1\r\nce-x: 2\r\n",
        "1",
        400,
        "header ce-x: it stands there more than once",
    ),
    ("{}ce-x: 1\r\nCE-X: 1\r\n", "1", 200, r#""x":"1""#),
    (
        "{}ce-id: y\r\n",
        "1",
        400,
        "header ce-id: it stands there more than once",
    ),
    (
        "{}ce-data: 2\r\n",
        "1",
        400,
        "`data` is the name of the payload",
    ),
    (
        "{}ce-time: 9999-12-31T23:59:59.999999999Z\r\n",
        "1",
        200,
        r#""time":"9999-12-31T23:59:59.999999999Z""#,
    ),
    (
        "{}ce-time: 9999-12-31T23:59:59-23:59\r\n",
        "1",
        200,
        r#""time":"9999-12-31T23:59:59-23:59""#,
    ),
    (
        "{}ce-time: 2016-12-31T23:59:60Z\r\n",
        "1",
        200,
        r#""time":"2016-12-31T23:59:60Z""#,
    ),
    (
        "{}ce-time: 2026-01-02t03:04:05.123456789012z\r\n",
        "1",
        200,
        r#""time":"2026-01-02T03:04:05.123456789012Z""#,
    ),
    (
        "{}ce-time: 2026-01-02T03:04:05-00:00\r\n",
        "1",
        200,
        r#""time":"2026-01-02T03:04:05-00:00""#,
    ),
    (
        "{}ce-time: 0000-01-01T00:00:00Z\r\n",
        "1",
        200,
        r#""time":"0000-01-01T00:00:00Z""#,
    ),
    (
        "{}ce-time: 2026-02-30T03:04:05Z\r\n",
        "1",
        400,
        "not an RFC 3339 time",
    ),
    (
        "{}ce-time: 9999-12-32T00:00:00Z\r\n",
        "1",
        400,
        "not an RFC 3339 time",
    ),
    (
        "{}ce-time: 2026-01-02T03:04:05\r\n",
        "1",
        400,
        "not an RFC 3339 time",
    ),
    (
        "{}ce-x: %E2%82\r\n",
        "1",
        400,
        "header ce-x: it is no UTF-8",
    ),
    ("{}ce-x: \"a%22b\"\r\n", "1", 200, r#""x":"a\"b""#),
];

/// More members of a document.
const DOCUMENTS: &[Case] = &[
    (
        "",
        r#","data":1,"data":2"#,
        400,
        "`data` stands there twice",
    ),
    ("", r#","i\u0064":"y""#, 400, "`id` stands there twice"),
    (
        "",
        r#","data":{"a":1,"a":2}"#,
        200,
        r#""data":{"a":1,"a":2}"#,
    ),
    (
        "",
        r#","n":99999999999999999999,"o":-0"#,
        200,
        r#""n":99999999999999999999"#,
    ),
    ("", r#","n":null"#, 200, r#""id":"x""#),
    ("", r#","data":1,"data_base64":null"#, 200, r#""data":1"#),
    ("", r#","data_base64":null"#, 200, r#""id":"x""#),
    (
        "",
        r#","data":1,"data_base64":"YQ==""#,
        400,
        "both `data` and `data_base64`",
    ),
    (
        "",
        r#","datacontenttype":"text/plain","data":"\ud800""#,
        400,
        "half a surrogate pair",
    ),
    ("", r#","data":"\ud800""#, 200, r#""data":"\ud800""#),
    (
        "",
        r#","datacontenttype":"text/plain","data":{"a" : 1}"#,
        200,
        r#""data":"{\"a\" : 1}""#,
    ),
    ("", r#","n":"\ud800""#, 400, "`n` cannot be read"),
    (
        "",
        r#","time":"9999-12-31T23:59:59Z""#,
        200,
        r#""time":"9999-12-31T23:59:59Z""#,
    ),
];

fn document(more: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"x","source":"s","type":"t"{more}}}"#)
}

#[test]
fn what_a_head_or_a_document_says_is_kept_or_refused_with_words() {
    let (mut gateway, hooks) =
        with_hooks("\n[upstreams.archive]\ntype = \"file\"\npath = \"archive.jsonl\"\n");
    start(&mut gateway, hooks);
    let heads = HEADS.iter().map(|(headers, body, status, what)| {
        let binary = headers.starts_with("{}");
        let headers = headers.replacen("{}", EVENT, 1);
        let path = if binary { "/events" } else { "/topics/plain" };
        (path, headers, (*body).to_owned(), *status, *what)
    });
    let documents = DOCUMENTS.iter().map(|(_, more, status, what)| {
        (
            "/events",
            STRUCTURED.to_owned(),
            document(more),
            *status,
            *what,
        )
    });
    let mut expected = Vec::new();
    for (number, (path, headers, body, status, what)) in heads.chain(documents).enumerate() {
        // Each is an event of its own.
        let own = |text: &str| text.replacen("ce-id: x", &format!("ce-id: x{number}"), 1);
        let headers = own(&headers);
        let body = body.replacen(r#""id":"x""#, &format!(r#""id":"x{number}""#), 1);
        let what = what.replacen(r#""id":"x""#, &format!(r#""id":"x{number}""#), 1);
        // As Latin-1, whose characters are bytes.
        let headers_sent: Vec<u8> = headers.chars().map(|c| c as u8).collect();
        let answer = post_bytes(hooks, path, &headers_sent, body.as_bytes());
        let is_right = answer.starts_with(&format!("HTTP/1.1 {status} "));
        assert!(is_right, "{headers}{body}\n{answer}");
        match status {
            200 => expected.push(what),
            _ => assert!(answer.contains(&what), "{headers}{body}\n{answer}"),
        }
    }
    let lines = || {
        let text = std::fs::read_to_string(gateway.path("archive.jsonl")).unwrap_or_default();
        let lines = text.lines().filter(|line| !line.contains("$tidegate"));
        lines.map(str::to_owned).collect::<Vec<_>>()
    };
    gateway.wait_until("all left", || lines().len() >= expected.len());
    let lines = lines();
    assert_eq!(lines.len(), expected.len());
    for (line, what) in lines.iter().zip(&expected) {
        assert!(line.contains(what), "{what} in {line}");
        assert!(
            serde_json::from_str::<Value>(line).is_ok() || what.contains("ud800"),
            "{line}"
        );
    }
}
