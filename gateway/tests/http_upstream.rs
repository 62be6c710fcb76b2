//! What the webhook upstream does with every kind of answer, and with none.

#![cfg(feature = "http")]

#[path = "http_upstream/lane.rs"]
mod lane;
#[path = "http_upstream/webhook.rs"]
mod webhook;

use std::time::{Duration, Instant};

use lane::{Lane, upstream};
use tidegate::config::secret::Secret;
use tidegate::event::dead_letter::Cause;
use tidegate::upstream::format::Format;
use tidegate::upstream::http::config::HttpUpstream;
use tidegate_tests::wait::Wait;
use webhook::{Asked, Reaction, Webhook};

const OK: Reaction = Reaction::Answer(204, &[], "");

fn at(webhook: &Webhook) -> HttpUpstream {
    upstream(format!("http://{}/in?key=1", webhook.address))
}

/// The ids of all requests, a list each.
fn ids(webhook: &Webhook) -> Vec<Vec<String>> {
    webhook.asked().iter().map(Asked::ids).collect()
}

fn names(numbers: impl IntoIterator<Item = u32>) -> Vec<String> {
    let numbers = numbers.into_iter();
    numbers.map(|number| format!("e-{number}")).collect()
}

#[tokio::test]
async fn an_event_leaves_as_it_came_with_its_envelope_in_headers() {
    let webhook = Webhook::start(|_, _| OK).await;
    let config = HttpUpstream {
        headers: vec![("X-Plant".into(), Secret::new("a"))],
        bearer: Some(Secret::new("t0ken")),
        ..at(&webhook)
    };
    assert!(Lane::start(config, 1).empty().await.is_empty());
    let asked = webhook.asked();
    assert_eq!(asked.len(), 1);
    assert_eq!(asked[0].body, "{\"n\":0}");
    for (name, value) in [
        ("content-type", "application/json"),
        ("idempotency-key", "plant-a/floor/e-0"),
        ("authorization", "Bearer t0ken"),
        ("x-plant", "a"),
        ("ce-specversion", "1.0"),
        ("ce-id", "e-0"),
        ("ce-source", "plant-a/floor"),
        ("ce-type", "reading"),
        ("ce-time", "2023-11-14T22:13:20Z"),
        ("ce-topic", "hall/7/temperature"),
        ("ce-publisher", "press%207"),
        ("ce-traceparent", "00-1-2-01"),
    ] {
        assert_eq!(asked[0].header(name), value, "{name}");
    }
}

#[tokio::test]
async fn a_structured_event_is_one_json_document() {
    let webhook = Webhook::start(|_, _| OK).await;
    let config = HttpUpstream {
        format: Format::Structured,
        ..at(&webhook)
    };
    assert!(Lane::start(config, 1).empty().await.is_empty());
    let asked = &webhook.asked()[0];
    assert_eq!(asked.header("content-type"), "application/cloudevents+json");
    let document: serde_json::Value = serde_json::from_str(&asked.body).expect("JSON");
    assert_eq!(document["data"]["n"], 0);
    assert_eq!(document["topic"], "hall/7/temperature");
}

#[tokio::test]
async fn events_arrive_in_order_and_once_however_many_a_request_holds() {
    for (batch_max, requests) in [(1, 25), (10, 3)] {
        let webhook = Webhook::start(|_, _| OK).await;
        let config = HttpUpstream {
            batch_max,
            ..at(&webhook)
        };
        assert!(Lane::start(config, 25).empty().await.is_empty());
        let found = ids(&webhook);
        assert_eq!(found.concat(), names(0..25));
        assert_eq!(found.len(), requests);
    }
}

#[tokio::test]
async fn a_server_in_trouble_is_asked_again_under_the_same_key_until_it_takes_the_event() {
    for status in [500, 503, 429, 401, 404, 302] {
        let webhook = Webhook::start(move |number, _| match number {
            0..5 => Reaction::Answer(status, &[], "not today"),
            _ => OK,
        })
        .await;
        let letters = Lane::start(at(&webhook), 2).empty().await;
        assert!(letters.is_empty(), "{status}: {letters:?}");
        let asked = webhook.asked();
        let keys: Vec<&str> = asked.iter().map(|a| a.header("idempotency-key")).collect();
        let first = "plant-a/floor/e-0";
        let expected = [
            first,
            first,
            first,
            first,
            first,
            first,
            "plant-a/floor/e-1",
        ];
        assert_eq!(keys, expected, "{status}");
    }
}

#[tokio::test]
async fn a_batch_has_the_same_key_when_it_is_posted_again() {
    let webhook = Webhook::start(|number, _| match number {
        0 => Reaction::Answer(500, &[], ""),
        _ => OK,
    })
    .await;
    let config = HttpUpstream {
        batch_max: 4,
        ..at(&webhook)
    };
    assert!(Lane::start(config, 8).empty().await.is_empty());
    let asked = webhook.asked();
    let key = |number: usize| asked[number].header("idempotency-key");
    assert!(key(0).starts_with("batch-"));
    assert_eq!(key(0), key(1));
    assert_ne!(key(1), key(2));
}

#[tokio::test]
async fn a_refused_event_becomes_a_dead_letter_with_what_the_server_said() {
    let webhook = Webhook::start(|_, asked| match asked.ids()[0].as_str() {
        "e-1" => Reaction::Answer(400, &[], "the reading has no unit"),
        _ => OK,
    })
    .await;
    let letters = Lane::start(at(&webhook), 3).empty().await;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0].1;
    assert_eq!(letter.cause, Cause::Refused);
    let reason = "the webhook answered 400 Bad Request: the reading has no unit";
    assert_eq!(letter.reason, reason);
    assert_eq!(letter.attempts, 3);
    let found = ids(&webhook).concat();
    for id in ["e-0", "e-2"] {
        assert_eq!(found.iter().filter(|other| *other == id).count(), 1);
    }
}

#[tokio::test]
async fn in_a_refused_batch_only_the_event_that_is_refused_becomes_a_dead_letter() {
    let webhook = Webhook::start(|_, asked| match asked.ids().contains(&"e-5".into()) {
        true => Reaction::Answer(422, &[], "e-5 is wrong"),
        false => OK,
    })
    .await;
    let config = HttpUpstream {
        batch_max: 8,
        ..at(&webhook)
    };
    let letters = Lane::start(config, 16).empty().await;
    assert_eq!(letters.len(), 1, "{letters:?}");
    assert!(letters[0].1.reason.ends_with("e-5 is wrong"));
    let asked = webhook.asked();
    let taken = asked.iter().filter(|a| !a.ids().contains(&"e-5".into()));
    let taken: Vec<String> = taken.flat_map(Asked::ids).collect();
    let others = names((0..16).filter(|number| *number != 5));
    assert_eq!(taken, others, "each once and in order");
    // Halves find it once; after that it is posted alone.
    let refused = asked.iter().filter(|a| a.ids().contains(&"e-5".into()));
    let sizes: Vec<usize> = refused.map(|a| a.ids().len()).collect();
    assert_eq!(sizes, [8, 4, 2, 1, 1, 1]);
}

#[tokio::test]
async fn a_server_that_hangs_is_given_up_after_the_timeout_and_asked_again() {
    let webhook = Webhook::start(|number, _| match number {
        0..6 => Reaction::Hang,
        _ => OK,
    })
    .await;
    let config = HttpUpstream {
        timeout: Duration::from_millis(400),
        ..at(&webhook)
    };
    let mut lane = Lane::start(config, 2);
    let letters = lane.empty().await;
    assert!(letters.is_empty(), "silence is no refusal: {letters:?}");
    assert_eq!(webhook.asked().len(), 8);
}

#[tokio::test]
async fn a_server_that_is_absent_at_first_and_later_once_more_gets_everything_in_order() {
    let webhook = Webhook::start(|_, _| OK).await;
    let (address, config) = (webhook.address, at(&webhook));
    webhook.stop().await;
    let mut lane = Lane::start(config, 10);
    let wait = Wait::begin("the refusal is told");
    while lane.last_error().is_none() {
        wait.goes_on("no error");
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    assert_eq!(lane.waiting(), 10);
    let why = lane.last_error().unwrap_or_default();
    assert!(why.contains("refused") && !why.contains("key=1"), "{why}");
    let webhook = Webhook::start_at(address, |number, _| match number {
        0..4 => OK,
        _ => Reaction::Hang,
    })
    .await;
    let wait = Wait::begin("five requests");
    while webhook.asked().len() < 5 {
        wait.goes_on(webhook.asked().len());
        tokio::time::sleep(Duration::from_millis(5)).await;
    }
    let before = ids(&webhook).concat();
    assert_eq!(before, names(0..5));
    webhook.stop().await;
    let webhook = Webhook::start_at(address, |_, _| OK).await;
    assert!(lane.empty().await.is_empty());
    assert_eq!(ids(&webhook).concat(), names(4..10));
}

#[tokio::test]
async fn retry_after_holds_the_whole_lane_back() {
    let webhook = Webhook::start(|number, _| match number {
        0 => Reaction::Answer(429, &[("retry-after", "1")], ""),
        _ => OK,
    })
    .await;
    let began = Instant::now();
    assert!(Lane::start(at(&webhook), 5).empty().await.is_empty());
    assert!(began.elapsed() >= Duration::from_secs(1));
    let expected = [names([0]), names(0..5)].concat();
    assert_eq!(ids(&webhook).concat(), expected);
}
