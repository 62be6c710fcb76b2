//! Compressed bodies.

use std::io::Write;

use flate2::Compression;
use flate2::write::{DeflateEncoder, GzEncoder, ZlibEncoder};

use crate::{STRUCTURED, post, start, with_hooks};

fn gzip(body: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn zlib(body: &[u8]) -> Vec<u8> {
    let mut encoder = ZlibEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn bare(body: &[u8]) -> Vec<u8> {
    let mut encoder = DeflateEncoder::new(Vec::new(), Compression::default());
    encoder.write_all(body).expect("memory");
    encoder.finish().expect("memory")
}

fn chunked(body: &[u8]) -> Vec<u8> {
    let size = format!("{:x}\r\n", body.len());
    [size.as_bytes(), body, b"\r\n0\r\n\r\n"].concat()
}

/// Without its last bytes.
fn torn(body: Vec<u8>, bytes: usize) -> Vec<u8> {
    body[..body.len() - bytes].to_vec()
}

fn followed(body: Vec<u8>) -> Vec<u8> {
    [&body[..], b"more"].concat()
}

/// With another check sum of what it holds.
fn damaged(mut body: Vec<u8>, from_end: usize) -> Vec<u8> {
    let place = body.len() - from_end;
    body[place] ^= 1;
    body
}

const TEXT: &[u8] = br#"{"celsius": 21.50, "note": "aaaaaaaaaaaaaaaaaaaa"}"#;
const GZIP: &str = "Content-Encoding: gzip\r\n";
const DEFLATE: &str = "Content-Encoding: deflate\r\n";
const BATCH: &str = "Content-Type: application/cloudevents-batch+json\r\n";

/// Headers, the body, the status, and a part of the answer.
type Encoded = (String, Vec<u8>, u16, &'static str);

fn decoded_bodies() -> Vec<Encoded> {
    let event = |id| {
        let start = format!(r#"{{"specversion":"1.0","id":"{id}","source":"s","type":"t","data":"#);
        [start.as_bytes(), TEXT, b"}"].concat()
    };
    let batch = [b"[", &event("b")[..], b",", &event("c")[..], b"]"].concat();
    let two_members = [gzip(&TEXT[..7]), gzip(&TEXT[7..])].concat();
    let content = |coding: &str| format!("Content-Encoding: {coding}\r\n");
    let transfer = |coding: &str| format!("Transfer-Encoding: {coding}\r\n");
    let both = format!("{}{}", content("deflate"), transfer("gzip, chunked"));
    let lines = format!("{GZIP}{DEFLATE}");
    let one = "\"stored\":1";
    [
        (content("gzip"), gzip(TEXT), one),
        (content("x-gzip"), gzip(TEXT), one),
        (content("GZip"), gzip(TEXT), one),
        (content("identity, gzip"), gzip(TEXT), one),
        (content("gzip"), two_members, one),
        (content("deflate"), zlib(TEXT), one),
        (content("deflate"), bare(TEXT), one),
        (content("gzip, deflate"), zlib(&gzip(TEXT)), one),
        (lines, zlib(&gzip(TEXT)), one),
        (content("identity"), TEXT.to_vec(), one),
        (transfer("chunked"), chunked(TEXT), one),
        (transfer("gzip, chunked"), chunked(&gzip(TEXT)), one),
        (transfer("deflate,chunked"), chunked(&zlib(TEXT)), one),
        (both, chunked(&gzip(&zlib(TEXT))), one),
        (format!("{GZIP}{STRUCTURED}"), gzip(&event("a")), one),
        (format!("{GZIP}{BATCH}"), gzip(&batch), "\"stored\":2"),
    ]
    .map(|(headers, body, said)| (headers, body, 200, said))
    .into()
}

fn refused_bodies() -> Vec<Encoded> {
    let zeros = vec![0; 10_000_000];
    let noise: Vec<u8> = (0..1024).map(|_| fastrand::u8(..)).collect();
    let transfer = "Transfer-Encoding: gzip, chunked\r\n";
    let of = |headers: &str, body, status, what| (headers.to_owned(), body, status, what);
    vec![
        of(GZIP, torn(gzip(TEXT), 1), 400, "no gzip from end to end"),
        of(GZIP, torn(gzip(TEXT), 20), 400, "no gzip"),
        of(GZIP, followed(gzip(TEXT)), 400, "no gzip"),
        of(GZIP, damaged(gzip(TEXT), 8), 400, "no gzip"),
        of(GZIP, TEXT.to_vec(), 400, "no gzip"),
        of(GZIP, Vec::new(), 400, "no gzip"),
        of(DEFLATE, torn(zlib(TEXT), 1), 400, "no deflate from end"),
        of(DEFLATE, torn(bare(TEXT), 1), 400, "no deflate"),
        of(DEFLATE, followed(zlib(TEXT)), 400, "something follows"),
        of(DEFLATE, followed(bare(TEXT)), 400, "something follows"),
        of(DEFLATE, damaged(zlib(TEXT), 1), 400, "no deflate"),
        of(DEFLATE, Vec::new(), 400, "no deflate"),
        of(transfer, chunked(TEXT), 400, "no gzip"),
        of(GZIP, gzip(&zeros), 413, "over 1024 bytes"),
        of(DEFLATE, zlib(&zeros), 413, "over 1024 bytes"),
        of(DEFLATE, bare(&zeros), 413, "over 1024 bytes"),
        of(transfer, chunked(&gzip(&zeros)), 413, "over 1024"),
        of(
            "Content-Encoding: gzip, gzip\r\n",
            gzip(&gzip(&zeros)),
            413,
            "over 1024",
        ),
        of(GZIP, gzip(&[&noise[..], b"x"].concat()), 413, "over 1024"),
        of(GZIP, vec![0; 4096], 413, "over 1024"),
        of("Content-Encoding: br\r\n", TEXT.to_vec(), 415, "gzip"),
        of("Content-Encoding: zstd\r\n", TEXT.to_vec(), 415, "zstd"),
        of(
            "Transfer-Encoding: compress, chunked\r\n",
            chunked(TEXT),
            501,
            "Transfer-Encoding: compress",
        ),
        of(
            "Content-Encoding: gzip,gzip,gzip,gzip,gzip\r\n",
            gzip(TEXT),
            400,
            "more than 4 times",
        ),
    ]
}

#[test]
fn a_compressed_body_is_the_payload_that_its_sender_had_within_the_limit() {
    let (mut gateway, hooks) = with_hooks("max_payload = \"1KiB\"\n");
    start(&mut gateway, hooks);
    let cases = decoded_bodies().into_iter().chain(refused_bodies());
    let mut stored = 0;
    for (number, (headers, body, status, what)) in (0..).zip(cases) {
        let path = match headers.contains("cloudevents") {
            true => "/events".to_owned(),
            false => format!("/topics/case/{number}"),
        };
        let answer = post(hooks, &path, &headers, &body);
        let expected = format!("HTTP/1.1 {status}");
        assert!(
            answer.starts_with(&expected) && answer.contains(what),
            "case {number}: {headers}{what}\n{answer}"
        );
        stored += if status == 200 { 1 } else { 0 };
    }
    // The batch has two.
    let listed = gateway.events(&["--source", "plant-a/hooks", "--limit", "1000"]);
    let of_cloudevents = gateway.events(&["--source", "s"]);
    assert_eq!(listed.len() + of_cloudevents.len(), stored + 1);
    let sent: serde_json::Value = serde_json::from_slice(TEXT).expect("JSON");
    for event in listed.iter().chain(&of_cloudevents) {
        assert_eq!(event["event"]["data"], sent, "{event}");
    }
    // What does not shrink may fill the limit.
    let full: Vec<u8> = (0..1024).map(|_| fastrand::u8(..)).collect();
    let answer = post(hooks, "/topics/full", GZIP, &gzip(&full));
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
}
