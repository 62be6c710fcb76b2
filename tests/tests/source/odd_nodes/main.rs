//! Nodes that do what no node should, and lines that are no good, at one gateway that is killed meanwhile: each reading
//! that is let go is stored once, in order, as it was measured; who cannot be served costs nobody else anything.

mod line;
mod node;

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicU32, Ordering};

use line::Kind;
use node::{Odd, OddNode, READINGS};
use serde_json::Value;
use tidegate_tests::gateway::Gateway;
use tidegate_tests::wait;

struct Case {
    name: &'static str,
    odd: Odd,
    line: Kind,
    /// Its last boot, of which everything is stored; `None` where nothing can be let go.
    boots: Option<u32>,
}

const GOOD: Kind = Kind {
    takes_ms: 0,
    trickles: false,
    noise_bytes: 0,
    doubles: false,
};

const fn slow(takes_ms: u64) -> Kind {
    Kind { takes_ms, ..GOOD }
}

const fn case(name: &'static str, odd: Odd, line: Kind, boots: u32) -> Case {
    let boots = match boots {
        0 => None,
        boots => Some(boots),
    };
    Case {
        name,
        odd,
        line,
        boots,
    }
}

const CASES: &[Case] = &[
    case("good", Odd::Nothing, GOOD, 1),
    case("slow300", Odd::Nothing, slow(300), 1),
    case("slow600", Odd::Nothing, slow(600), 1),
    case("slow840", Odd::Nothing, slow(840), 1),
    case("slow2000", Odd::Nothing, slow(2_000), 1),
    case("cut", Odd::CutInFrame, GOOD, 5),
    case("cutslow", Odd::CutInFrame, slow(700), 5),
    case("eager", Odd::Eager, GOOD, 1),
    case("eagslow", Odd::Eager, slow(900), 1),
    case(
        "noise",
        Odd::Nothing,
        Kind {
            noise_bytes: 300,
            ..GOOD
        },
        1,
    ),
    case(
        "trickle",
        Odd::Nothing,
        Kind {
            trickles: true,
            ..GOOD
        },
        1,
    ),
    case(
        "doubles",
        Odd::Nothing,
        Kind {
            doubles: true,
            ..GOOD
        },
        1,
    ),
    case("flaps", Odd::Flaps, GOOD, 1),
    case("hasty", Odd::Hasty, GOOD, 1),
    case("newkey", Odd::NewSchema, GOOD, 4),
    case("noclock", Odd::DeafTo(&[5]), GOOD, 1),
    case("noresend", Odd::DeafTo(&[3]), slow(100), 1),
    case("noack", Odd::DeafTo(&[2]), GOOD, 0),
    case("nofield", Odd::DeafTo(&[6]), GOOD, 0),
    case("deaf", Odd::DeafTo(&[0, 1, 2, 3, 4, 5, 6]), GOOD, 0),
    case("echo", Odd::Echoes, GOOD, 0),
];

fn id(name: &str) -> [u8; 8] {
    let mut id = [0; 8];
    id[..name.len()].copy_from_slice(name.as_bytes());
    id
}

/// The readings that are stored of each device and boot: number and data, in their order.
fn stored(gateway: &Gateway) -> Stored {
    let mut all = BTreeMap::<_, Vec<_>>::new();
    for event in gateway.events(&["--limit", "10000", "--type", "reading"]) {
        let event = &event["event"];
        let mut parts = event["id"].as_str().expect("an id").rsplitn(3, '-');
        let mut number = || parts.next().and_then(|n| n.parse().ok()).expect("a number");
        let (sequence, boot) = (number(), number());
        let device = parts.next().expect("a device").to_owned();
        let reading = (sequence, event["data"].clone());
        all.entry((device, boot)).or_default().push(reading);
    }
    all
}

type Stored = BTreeMap<(String, u32), Vec<(u32, Value)>>;

/// What is wrong with what is stored of a node whose earlier boots let so much go.
fn check(case: &Case, all: &Stored, let_go: &[(u32, u32)]) -> Vec<String> {
    let mut faults = Vec::new();
    for ((device, boot), readings) in all {
        if device != case.name {
            continue;
        }
        for (at, (sequence, data)) in readings.iter().enumerate() {
            let expected = match case.odd {
                Odd::NewSchema if boot % 2 == 1 => f64::from(*sequence) / 10.0,
                _ => f64::from(*sequence),
            };
            if *sequence as usize != at || data["n"].as_f64() != Some(expected) {
                faults.push(format!(
                    "{}: {boot}-{sequence} at {at} is {data}",
                    case.name
                ));
                break;
            }
        }
        if Some(*boot) == case.boots && readings.len() != READINGS as usize {
            faults.push(format!("{}: {} are stored", case.name, readings.len()));
        }
    }
    for (boot, let_go) in let_go {
        let stored = all.get(&(case.name.to_owned(), *boot)).map_or(0, Vec::len);
        if stored < *let_go as usize {
            faults.push(format!(
                "{}: {stored} of {let_go} of boot {boot}",
                case.name
            ));
        }
    }
    faults
}

/// A gateway with a port for each.
fn gateway() -> Gateway {
    let sources: String = CASES
        .iter()
        .map(|Case { name, .. }| {
            format!(
                "[sources.{name}]\ntype = \"serial\"\nport = \"by-id/{name}\"\nreopen_max = \"100ms\"\n\n"
            )
        })
        .collect();
    Gateway::new(&format!(
        "{sources}[upstreams.out]\ntype = \"file\"\npath = \"out.jsonl\"\n"
    ))
}

#[test]
fn whatever_a_node_does_what_it_lets_go_is_stored_once_and_others_go_on() {
    let mut gateway = gateway();
    std::fs::create_dir_all(gateway.path("by-id")).expect("a folder");
    let nodes: Vec<OddNode> = CASES
        .iter()
        .map(|case| {
            let link = gateway.path("by-id").join(case.name);
            OddNode::start(id(case.name), case.odd, case.line, link)
        })
        .collect();
    gateway.start();
    // Amid readings of some and the joining of others.
    for count in [20, 55] {
        wait::for_count("readings are let go", count, || {
            let of = |number: &AtomicU32| number.load(Ordering::Acquire) as usize;
            let signals = &nodes[0].signals;
            of(&signals.made).saturating_sub(of(&signals.held))
        });
        gateway.kill();
        for node in &nodes {
            node.signals.frees.store(true, Ordering::Release);
        }
        gateway.start();
    }
    for (case, node) in CASES.iter().zip(&nodes) {
        let Some(boots) = case.boots else {
            continue;
        };
        wait::find(
            &format!("{}: everything is let go", case.name),
            || match node.is_done(boots) {
                true => Ok(()),
                false => Err(format!(
                    "boot {:?}, made {:?}, held {:?}",
                    node.signals.boot, node.signals.made, node.signals.held
                )),
            },
        );
    }
    for deaf in ["nofield", "noack", "deaf"] {
        wait::find("who does not hear is named", || {
            let troubles = gateway.status()["troubles"].to_string();
            let words = format!("the device {deaf} at ");
            let is_told = troubles.contains(&words) && troubles.contains("seems not to hear");
            is_told.then_some(()).ok_or(troubles)
        });
    }
    let all = stored(&gateway);
    let both = CASES.iter().zip(&nodes);
    let faults = both.flat_map(|(case, node)| {
        let let_go = node.signals.let_go.lock().expect("no panic");
        check(case, &all, &let_go)
    });
    let faults: Vec<String> = faults.collect();
    assert!(faults.is_empty(), "{faults:#?}");
    let troubles = gateway.status()["troubles"].to_string();
    for one in CASES.iter().filter(|case| case.boots.is_some()) {
        let words = format!("source {}:", one.name);
        assert!(!troubles.contains(&words), "{words} {troubles}");
    }
}
