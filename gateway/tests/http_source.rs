//! What is posted becomes events; what is wrong is refused with what and where.

#[path = "http_source/served.rs"]
mod served;

use std::time::Duration;

use served::{FULL, STORED, Served, config};
use tidegate::config::User;
use tidegate::config::secret::Secret;
use tidegate::source::http::config::HttpSource;
use tidegate_rules::event::Event;
use tidegate_tests::wait::{PATIENCE, Wait};
use tokio::io::AsyncWriteExt;

const STRUCTURED: &str = "Content-Type: application/cloudevents+json; charset=utf-8\r\n";
const BATCH: &str = "Content-Type: application/cloudevents-batch+json\r\n";

/// A structured event with these members beside the required ones.
fn event(id: &str, more: &str) -> String {
    format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t"{more}}}"#)
}

async fn taken(path: &str, headers: &str, body: &[u8]) -> Vec<Event> {
    let served = Served::start(config(), STORED).await;
    let (status, answer) = served.post(path, headers, body).await;
    assert_eq!(status, 200, "{answer}");
    let stored = format!("{{\"stored\":{}}}\n", served.offered().len());
    assert!(answer.ends_with(&stored), "{answer}");
    served.offered()
}

#[tokio::test]
async fn any_body_posted_to_a_topic_is_the_payload_of_one_event() {
    let headers = "Content-Type: text/csv\r\nce-subject: press%207\r\n";
    let events = taken("/topics/hall/7%2Ftemp", headers, b"1;\xff").await;
    let event = &events[0];
    assert_eq!(events.len(), 1);
    assert_eq!(&*event.topic, "hall/7/temp");
    assert_eq!(&event.data[..], b"1;\xff");
    assert_eq!(event.content_type.as_deref(), Some("text/csv"));
    assert_eq!(event.subject.as_deref(), Some("press 7"));
    assert_eq!((&*event.source, &*event.id), ("plant-a/hooks", ""));
}

#[tokio::test]
async fn plain_json_posted_to_events_has_the_name_of_the_source_as_topic() {
    let events = taken(
        "/events",
        "Content-Type: application/json\r\n",
        b"{\"a\":1}",
    )
    .await;
    assert_eq!(&*events[0].topic, "hooks");
    assert_eq!(&events[0].data[..], b"{\"a\":1}");
}

#[tokio::test]
async fn an_event_in_binary_mode_has_its_envelope_in_headers() {
    let headers = "ce-specversion: 1.0\r\nce-id: a\r\nce-source: s\r\nce-type: t\r\n\
        ce-time: 2026-01-02T03:04:05.006Z\r\nce-topic: x/y\r\nce-traceparent: 00-1\r\n\
        Content-Type: application/json\r\n";
    let events = taken("/events", headers, b"[1]").await;
    let event = &events[0];
    assert_eq!((&*event.id, &*event.source, &*event.kind), ("a", "s", "t"));
    assert_eq!(event.happened(), 1_767_323_045_006);
    assert_eq!(&*event.topic, "x/y");
    assert_eq!(event.extension("traceparent"), Some("00-1"));
    assert_eq!(&event.data[..], b"[1]");
}

#[tokio::test]
async fn the_data_of_a_structured_event_is_the_payload_byte_for_byte() {
    for (more, data, kind) in [
        (
            r#","data":{ "b" : 1.50 }"#,
            r#"{ "b" : 1.50 }"#,
            Some("application/json"),
        ),
        (r#","data":"x""#, "\"x\"", Some("application/json")),
        (
            r#","datacontenttype":"text/plain","data":"x\n""#,
            "x\n",
            Some("text/plain"),
        ),
        (
            r#","datacontenttype":"a/b","data_base64":"AAE=""#,
            "\0\u{1}",
            Some("a/b"),
        ),
        ("", "", None),
    ] {
        let events = taken("/events", STRUCTURED, event("a", more).as_bytes()).await;
        assert_eq!(&events[0].data[..], data.as_bytes(), "{more}");
        assert_eq!(events[0].content_type.as_deref(), kind, "{more}");
    }
}

#[tokio::test]
async fn a_batch_is_its_events_in_order() {
    let more = r#","topic":"x/y","n":7,"flag":true,"none":null"#;
    let body = format!("[{},{}]", event("a", ""), event("b", more));
    let events = taken("/events", BATCH, body.as_bytes()).await;
    let ids: Vec<&str> = events.iter().map(|event| &*event.id).collect();
    assert_eq!(ids, ["a", "b"]);
    assert_eq!(&*events[0].topic, "hooks");
    assert_eq!(&*events[1].topic, "x/y");
    assert_eq!(events[1].extension("n"), Some("7"));
    assert_eq!(events[1].extension("flag"), Some("true"));
    assert_eq!(events[1].extension("none"), None);
    assert!(taken("/events", BATCH, b"[]").await.is_empty());
}

/// Structured events that are refused: the document, the status, a part of the answer. `@` stands
/// for the required attributes, `~` for a payload over `max_payload`.
const BAD_EVENTS: &[(&str, u16, &str)] = &[
    ("{", 400, "it is no JSON object: EOF"),
    ("[1]", 400, "it is no JSON object"),
    (r#"{"id":"a"}"#, 400, "`specversion` is missing"),
    (r#"{@,"id":""}"#, 400, "`id` is empty"),
    (r#"{@,"id":"b"}"#, 400, "`id` stands there twice"),
    (r#"{@,"time":"noon"}"#, 400, "not an RFC 3339 time"),
    (r#"{@,"Big":"x"}"#, 400, "no name of an attribute"),
    (r#"{@,"x":[1]}"#, 400, "`x` is no text"),
    (r#"{@,"data_base64":"?"}"#, 400, "no base64"),
    (r#"{@,"data_base64":"","data":1}"#, 400, "both"),
    (r#"{@,"topic":"a/#"}"#, 400, "no topic to publish to"),
    (
        r#"{"specversion":"1.0","id":"a","type":"t","topic":"$tidegate/x","source":"plant-a/x"}"#,
        403,
        "the gateway's own",
    ),
    (
        r#"{"specversion":"1.0","id":"a","type":"dev.tidegate.x","source":"plant-a"}"#,
        403,
        "the gateway's own",
    ),
    (r#"{@,"data":~}"#, 413, "over max_payload = 1000"),
];

/// Batches that are refused.
const BAD_BATCHES: &[(&str, u16, &str)] = &[
    ("{@}", 400, "it is no JSON array"),
    ("[{@},{}]", 400, "element 1: the attribute"),
    ("[{@},7]", 400, "element 1: it is no JSON object"),
    ("[{@},{@,\"data\":~}]", 413, "element 1: a payload"),
    ("[{@},{@,\"topic\":\"+\"}]", 400, "element 1: \\\"+\\\""),
];

/// Other requests that are refused: path, headers, body.
const BAD_REQUESTS: &[(&str, &str, &str, u16, &str)] = &[
    (
        "/events",
        "ce-id: a\r\n",
        "",
        400,
        "`specversion` is missing",
    ),
    (
        "/events",
        "ce-specversion: 0.3\r\nce-id: a\r\nce-source: s\r\nce-type: t\r\n",
        "",
        400,
        "0.3",
    ),
    ("/topics/a/%23", "", "x", 400, "no topic to publish to"),
    ("/topics/%ff", "", "x", 400, "no UTF-8"),
    ("/topics/", "", "x", 400, "no topic to publish to"),
    ("/topics/a", "", "~", 413, "over 1000 bytes"),
    ("/topics/$tidegate/x", "", "x", 403, "the gateway's own"),
    (
        "/topics/a",
        "Content-Encoding: br\r\n",
        "x",
        415,
        "Content-Encoding: br is not understood; send gzip",
    ),
    (
        "/topics/a",
        "Origin: http://evil.example\r\n",
        "x",
        403,
        "web pages",
    ),
    ("/else", "", "x", 404, "post to /events"),
];

#[tokio::test]
async fn bad_input_is_refused_with_what_and_where_and_nothing_of_it_is_stored() {
    let of = |headers| move |&(body, status, what)| ("/events", headers, body, status, what);
    let events = BAD_EVENTS.iter().map(of(STRUCTURED));
    let batches = BAD_BATCHES.iter().map(of(BATCH));
    let served = Served::start(config(), STORED).await;
    for (path, headers, body, expected, what) in
        events.chain(batches).chain(BAD_REQUESTS.iter().copied())
    {
        let body = body.replace(
            '@',
            r#""specversion":"1.0","id":"a","source":"s","type":"t""#,
        );
        let body = body.replace('~', &format!("\"{}\"", "x".repeat(1000)));
        let (status, answer) = served.post(path, headers, body.as_bytes()).await;
        assert_eq!(status, expected, "{path} {headers} {body}\n{answer}");
        assert!(answer.contains(what), "{what}\n{answer}");
    }
    assert!(served.offered().is_empty());
}

#[tokio::test]
async fn limits_of_number_and_depth_hold() {
    let served = Served::start(config(), STORED).await;
    let many = format!("[{}]", vec![event("a", ""); 1001].join(","));
    let (status, answer) = served.post("/events", BATCH, many.as_bytes()).await;
    assert_eq!(
        (status, answer.contains("1001 events")),
        (413, true),
        "{answer}"
    );
    let deep = format!("/topics/{}", "x/".repeat(200));
    let (status, answer) = served.post(&deep, "", b"x").await;
    assert_eq!((status, answer.contains("levels")), (400, true), "{answer}");
    let (status, answer) = served.ask("GET /events HTTP/1.1\r\n", b"").await;
    assert_eq!(
        (status, answer.contains("allow: POST")),
        (405, true),
        "{answer}"
    );
    assert!(served.offered().is_empty());
}

#[tokio::test]
async fn a_body_of_unknown_length_is_cut_off_at_the_limit() {
    let served = Served::start(config(), STORED).await;
    let head = "POST /topics/a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n";
    let chunk = format!("400\r\n{}\r\n0\r\n\r\n", "x".repeat(0x400));
    assert_eq!(served.ask(head, chunk.as_bytes()).await.0, 413);
    let (status, answer) = served.ask(head, b"2\r\nab\r\n0\r\n\r\n").await;
    assert_eq!(status, 200, "{answer}");
    assert_eq!(&served.offered()[0].data[..], b"ab");
}

#[tokio::test]
async fn a_batch_of_which_one_event_is_refused_is_not_acknowledged() {
    let body = format!("[{},{}]", event("a", ""), event("b", ""));
    let served = Served::start(config(), FULL).await;
    let (status, answer) = served.post("/events", BATCH, body.as_bytes()).await;
    assert_eq!(status, 503);
    assert!(answer.contains("retry-after: 10"), "{answer}");
    assert!(answer.contains("the store takes no more"), "{answer}");
}

#[tokio::test]
async fn an_event_whose_ack_is_lost_is_not_acknowledged() {
    let served = Served::start(config(), |_| None).await;
    let (status, answer) = served.post("/topics/a", "", b"x").await;
    assert_eq!(
        (status, answer.contains("retry-after")),
        (503, true),
        "{answer}"
    );
}

#[tokio::test]
async fn users_post_with_their_password_and_only_to_their_topics() {
    let hash = tidegate::source::listener::password::hash(b"sesame").expect("a hash");
    let config = HttpSource {
        users: vec![User {
            name: "press".into(),
            password_hash: Secret::new(hash),
            bearer_hash: None,
            publish: vec!["hall/#".into()],
            subscribe: Vec::new(),
        }],
        anonymous: false,
        ..config()
    };
    let served = Served::start(config, STORED).await;
    // press:sesame, press:wrong, other:sesame
    for (path, login, expected) in [
        ("/topics/hall/7", "Basic cHJlc3M6c2VzYW1l", 200),
        ("/topics/hall/7", "basic cHJlc3M6c2VzYW1l", 200),
        ("/topics/hall/7", "Basic cHJlc3M6d3Jvbmc=", 401),
        ("/topics/hall/7", "Basic b3RoZXI6c2VzYW1l", 401),
        ("/topics/hall/7", "Bearer cHJlc3M6c2VzYW1l", 401),
        ("/topics/hall/7", "Basic ???", 401),
        ("/topics/yard", "Basic cHJlc3M6c2VzYW1l", 403),
        ("/events", "Basic cHJlc3M6c2VzYW1l", 403),
    ] {
        let headers = format!("Authorization: {login}\r\n");
        let (status, answer) = served.post(path, &headers, b"x").await;
        assert_eq!(status, expected, "{path} {login}\n{answer}");
        assert_eq!(answer.contains("www-authenticate: Basic"), expected == 401);
    }
    let (status, _) = served.post("/topics/hall/7", "", b"x").await;
    assert_eq!(status, 401, "nobody is let in without a login");
    let offered = served.offered();
    assert_eq!(offered.len(), 2);
    assert_eq!(&*offered[0].publisher, "press");
}

#[tokio::test]
async fn a_slow_request_does_not_hold_up_the_shutdown() {
    let mut served = Served::start(config(), STORED).await;
    let stream = tokio::net::TcpStream::connect(served.address).await;
    let mut stream = stream.expect("it listens");
    let head = b"POST /topics/a HTTP/1.1\r\nContent-Length: 9\r\nHost: localhost\r\n\r\nx";
    stream.write_all(head).await.expect("a part of a request");
    let wait = Wait::begin("the connection is taken");
    while served.metrics.counts().3 == 0 {
        wait.goes_on("none is open");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    served.stop.send_replace(true);
    let ended = tokio::time::timeout(PATIENCE, &mut served.task).await;
    assert!(ended.is_ok(), "the source does not end");
    assert!(served.offered().is_empty());
}
