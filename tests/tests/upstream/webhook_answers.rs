//! A webhook that fails over one event, in whichever way, holds up no other; one that fails over all of them is given each,
//! in order. What is a refusal becomes a dead letter, what may be the server's own trouble waits and is told.

use std::collections::HashSet;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};

use tidegate_tests::gateway::Gateway;
use tidegate_tests::gateway::told::troubles;
use tidegate_tests::peer::webhook::{self, Reaction, TAKEN};
use tidegate_tests::{mqtt, wait};

const EVENTS: usize = 8;

/// What becomes of the event that the webhook fails over.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Fate {
    DeadLetter,
    Waits,
    Delivered,
}
use Fate::{DeadLetter, Delivered, Waits};

/// How it reacts to one event, and what becomes of that.
const CASES: [(&str, Reaction, Fate); 16] = [
    ("400", Reaction::Status(400), DeadLetter),
    ("413", Reaction::Status(413), DeadLetter),
    ("422", Reaction::Status(422), DeadLetter),
    ("a filter's 403", Reaction::Status(403), Waits),
    ("500", Reaction::Status(500), Waits),
    ("502", Reaction::Status(502), Waits),
    ("503", Reaction::Status(503), Waits),
    ("504", Reaction::Status(504), Waits),
    ("599", Reaction::Status(599), Waits),
    ("no answer in time", Reaction::Hang, Waits),
    ("closed without an answer", Reaction::Close(""), DeadLetter),
    (
        "closed amid the head",
        Reaction::Close("HTTP/1.1 200 OK\r\nContent-Le"),
        DeadLetter,
    ),
    (
        "what is no HTTP",
        Reaction::Close("\0\x01 no\r\n\r\n"),
        DeadLetter,
    ),
    (
        "closed amid the body of an answer",
        Reaction::Close("HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nab"),
        Delivered,
    ),
    (
        "204 without a length",
        Reaction::Answer("HTTP/1.1 204 No Content\r\n\r\n"),
        Delivered,
    ),
    (
        "100 first",
        Reaction::Answer(
            "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n",
        ),
        Delivered,
    ),
];

fn start(url: &str, more: &str) -> Gateway {
    let mut gateway = Gateway::new(&format!(
        "[upstreams.hook]\ntype = \"http\"\nurl = \"{url}\"\nrefusals_max = 3\nretry_min = \"10ms\"\n\
         retry_max = \"100ms\"\ntimeout = \"500ms\"\n{more}\n"
    ));
    gateway.start();
    gateway
}

fn publish(gateway: &Gateway, numbers: std::ops::Range<usize>) {
    let mut stream = mqtt::connect(gateway.address, "sensor", true).expect("let in");
    for number in numbers {
        let payload = format!("{{\"number\":\"<{number}>\"}}");
        mqtt::publish_acknowledged(&mut stream, "t", 1, payload.as_bytes());
    }
}

/// The numbers of the events in a request.
fn numbers(request: &str) -> Vec<usize> {
    let parts = request.split("\"<").skip(1);
    parts
        .filter_map(|part| part.split_once('>')?.0.parse().ok())
        .collect()
}

#[test]
fn an_event_that_a_webhook_fails_over_holds_up_no_other() {
    for more in ["", "batch_max = 5", "requests_max = 4"] {
        for (what, reaction, fate) in CASES {
            println!("{what}, {more}");
            check(more, what, reaction, fate);
        }
    }
}

fn check(more: &str, what: &str, reaction: Reaction, fate: Fate) {
    const BAD: usize = 2;
    let taken = Arc::new(Mutex::new(HashSet::new()));
    let seen = Arc::clone(&taken);
    let url = webhook::that(move |request| {
        let of = numbers(request);
        if of.contains(&BAD) {
            return reaction;
        }
        seen.lock().expect("a set").extend(of);
        TAKEN
    });
    let gateway = start(&url, more);
    publish(&gateway, 0..EVENTS);
    let others: HashSet<usize> = (0..EVENTS).filter(|number| *number != BAD).collect();
    let is_bad_too = fate == Delivered && !more.is_empty();
    wait::find(&format!("{what}, {more}: all others are taken"), || {
        let taken = taken.lock().expect("a set").clone();
        let done = is_bad_too || taken == others;
        done.then_some(())
            .ok_or_else(|| format!("{taken:?}\n{}", gateway.log()))
    });
    let books = |key: &str| gateway.status()["books"][key].as_u64().expect("a count") as usize;
    let counted = ["delivered", "dead_lettered", "waiting"];
    let expected = match fate {
        DeadLetter => [EVENTS - 1, 1, 0],
        Waits => [EVENTS - 1, 0, 1],
        Delivered => [EVENTS, 0, 0],
    };
    let reached = format!("{what}, {more}: the books say {expected:?}");
    // More comes all the time, for what waits shows only beside what is taken.
    let mut later = EVENTS;
    wait::find(&reached, || {
        if fate != Delivered && later < 10 * EVENTS {
            publish(&gateway, later..later + 1);
            later += 1;
        }
        let found = counted.map(&books);
        let rest = later - EVENTS;
        let done = found == [expected[0] + rest, expected[1], expected[2]];
        done.then_some(())
            .ok_or_else(|| format!("{found:?} of {later}\n{}", gateway.log()))
    });
    if fate == Waits {
        let begin = "upstream hook: 1 event is not taken while others are, and waits";
        gateway.wait_until("it is told", || {
            publish(&gateway, later..later + 1);
            later += 1;
            troubles(&gateway)
                .iter()
                .any(|line| line.starts_with(begin))
        });
        let told = "kind=\"not taken\"";
        assert_eq!(gateway.metric("tidegate_trouble{", told), 1, "{what}");
    }
    assert_eq!(books("difference"), 0, "{what}");
}

#[test]
fn a_webhook_that_fails_over_all_for_a_while_gets_each_event_and_in_order() {
    for (what, reaction, _) in CASES.into_iter().filter(|case| case.2 == Waits) {
        let (asked, order) = (AtomicUsize::new(0), Arc::new(Mutex::new(Vec::new())));
        let seen = Arc::clone(&order);
        let url = webhook::that(move |request| {
            if asked.fetch_add(1, Ordering::Relaxed) < 6 {
                return reaction;
            }
            seen.lock().expect("a list").extend(numbers(request));
            TAKEN
        });
        let gateway = start(&url, "");
        publish(&gateway, 0..EVENTS);
        wait::for_count(what, EVENTS, || order.lock().expect("a list").len());
        let all: Vec<usize> = (0..EVENTS).collect();
        assert_eq!(*order.lock().expect("a list"), all, "{what}");
        assert!(gateway.dead_letters().is_empty(), "{what}");
    }
}
