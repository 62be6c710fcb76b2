//! What a node on a serial line holds is stored once and in order, whatever happens on the line.

use tidegate_tests::gateway::Gateway;
use tidegate_tests::node::{DEVICE, SimulatedNode, Start};
use tidegate_tests::wait;

const GOOD: Start = Start {
    boot: 9,
    first: 0,
    every_ms: 2,
    harm_one_in: 0,
};

/// A gateway with a serial source at `line` in its folder.
fn gateway() -> Gateway {
    Gateway::new(
        "[sources.bench]\ntype = \"serial\"\nport = \"line\"\nreopen_max = \"100ms\"\n\n\
         [upstreams.out]\ntype = \"file\"\npath = \"out.jsonl\"\n",
    )
}

/// The events of the log of one CloudEvents type, oldest first.
fn stored(gateway: &Gateway, kind: &str) -> Vec<serde_json::Value> {
    gateway
        .events(&["--limit", "10000", "--type", kind])
        .into_iter()
        .map(|mut view| view["event"].take())
        .collect()
}

/// Every reading of a boot is stored once, in order, under its number, with what was measured.
fn check_readings(gateway: &Gateway, start: Start, made: u32) {
    let events = stored(gateway, "reading");
    let of_boot = format!("{DEVICE}-{}-", start.boot);
    let found: Vec<(String, u64)> = events
        .iter()
        .filter(|event| {
            event["id"]
                .as_str()
                .is_some_and(|id| id.starts_with(&of_boot))
        })
        .map(|event| {
            let id = event["id"].as_str().expect("an id").to_owned();
            (id, event["data"]["count"].as_u64().expect("a count"))
        })
        .collect();
    let expected: Vec<(String, u64)> = (0..u64::from(made))
        .map(|n| {
            let sequence = u64::from(start.first) + n;
            (format!("{DEVICE}-{}-{sequence}", start.boot), n)
        })
        .collect();
    let wrong = found.iter().zip(&expected).position(|(a, b)| a != b);
    assert_eq!(wrong.map(|at| (&found[at], &expected[at])), None);
    assert_eq!(found.len(), expected.len());
}

/// What the gateway counted on its link, by kind.
fn link_count(gateway: &Gateway, what: &str) -> u64 {
    let text = gateway.control("/metrics");
    let label = format!("what=\"{what}\"");
    text.lines()
        .find(|line| line.starts_with("tidegate_link_total") && line.contains(&label))
        .and_then(|line| line.rsplit(' ').next()?.parse().ok())
        .unwrap_or_else(|| panic!("no {what} in\n{text}"))
}

#[test]
fn a_bad_line_neither_loses_nor_doubles_nor_invents_a_reading() {
    let mut gateway = gateway();
    let start = Start {
        harm_one_in: 150,
        ..GOOD
    };
    let node = SimulatedNode::start(&gateway.path("line"), start);
    gateway.start();
    node.await_acknowledged(600);
    node.mend();
    let made = node.drain();
    for what in ["crc_errors", "resyncs", "oversized_frames", "frames"] {
        assert!(link_count(&gateway, what) > 0, "{what}");
    }
    check_readings(&gateway, start, made);
    let reading = stored(&gateway, "reading").swap_remove(0);
    assert_eq!(reading["subject"], DEVICE);
    assert_eq!(reading["units"], "temperature=Cel");
    assert_eq!(
        reading["data"].to_string(),
        r#"{"count":0,"temperature":18.0}"#
    );
}

#[test]
fn a_gateway_killed_in_mid_stream_goes_on_where_it_was() {
    let mut gateway = gateway();
    let node = SimulatedNode::start(&gateway.path("line"), GOOD);
    for kill in 1..4 {
        gateway.start();
        node.await_acknowledged(node.made() - node.held() + 150 * kill);
        gateway.kill();
        node.free();
    }
    gateway.start();
    let made = node.drain();
    check_readings(&gateway, GOOD, made);
}

#[test]
fn a_line_that_vanishes_is_opened_again() {
    let mut gateway = gateway();
    let mut node = SimulatedNode::start(&gateway.path("line"), GOOD);
    gateway.start();
    for _ in 0..3 {
        node.await_acknowledged(node.made() - node.held() + 100);
        node.plug();
    }
    let made = node.drain();
    check_readings(&gateway, GOOD, made);
    let kinds = [
        ("dev.tidegate.device.joined", 4),
        ("dev.tidegate.device.lost", 3),
        ("dev.tidegate.source.down", 3),
    ];
    for (kind, expected) in kinds {
        wait::for_count(kind, expected, || stored(&gateway, kind).len());
    }
}

#[test]
fn numbers_count_on_when_those_on_the_line_wrap() {
    let mut gateway = gateway();
    let start = Start {
        first: u32::MAX - 300,
        ..GOOD
    };
    let node = SimulatedNode::start(&gateway.path("line"), start);
    gateway.start();
    node.await_acknowledged(350);
    gateway.kill();
    node.free();
    gateway.start();
    node.await_acknowledged(500);
    let made = node.drain();
    check_readings(&gateway, start, made);
}

/// A gateway with serial sources at `line` and `second`.
fn gateway_with_two_ports() -> Gateway {
    Gateway::new(
        "[sources.bench]\ntype = \"serial\"\nport = \"line\"\nreopen_max = \"100ms\"\n\n\
         [sources.other]\ntype = \"serial\"\nport = \"second\"\nreopen_max = \"100ms\"\n\n\
         [upstreams.out]\ntype = \"file\"\npath = \"out.jsonl\"\n",
    )
}

/// Waits until the status says so.
fn await_told(gateway: &Gateway, what: &str) {
    wait::find(what, || {
        let status = gateway.status().to_string();
        let told = status.contains(what).then_some(());
        told.ok_or(status)
    });
}

#[test]
fn of_two_nodes_with_one_id_the_second_is_refused_and_told() {
    // Its numbers begin elsewhere: an id tells whose reading it is.
    for boot in [GOOD.boot, GOOD.boot + 1] {
        let mut gateway = gateway_with_two_ports();
        let first = SimulatedNode::start(&gateway.path("line"), GOOD);
        gateway.start();
        first.await_acknowledged(100);
        let start = Start {
            boot,
            first: 3,
            ..GOOD
        };
        let second = SimulatedNode::start(&gateway.path("second"), start);
        await_told(
            &gateway,
            "two devices are called node-001, one at source bench",
        );
        assert!(
            gateway
                .whole_log()
                .contains("two devices are called node-001")
        );
        first.await_acknowledged(first.made() - first.held() + 100);
        let made = first.drain();
        assert_eq!(
            second.made() - second.held(),
            0,
            "none of it is acknowledged"
        );
        drop(first);
        if boot == GOOD.boot {
            await_told(&gateway, "says boot 9, of which other readings are stored");
            assert_eq!(
                second.made() - second.held(),
                0,
                "none of it is acknowledged"
            );
        } else {
            let made = second.drain();
            check_readings(&gateway, start, made);
        }
        check_readings(&gateway, GOOD, made);
        let raised = stored(&gateway, "dev.tidegate.trouble.raised");
        assert!(raised.iter().any(|event| event["data"]["kind"] == "device"));
        assert!(gateway.metric("tidegate_source_malformed", "device turned away") > 0);
    }
}

#[test]
fn a_node_that_moves_to_another_port_goes_on_there() {
    let mut gateway = gateway_with_two_ports();
    let mut node = SimulatedNode::start(&gateway.path("line"), GOOD);
    gateway.start();
    for port in ["second", "line", "second"] {
        node.await_acknowledged(node.made() - node.held() + 100);
        node.plug_at(&gateway.path(port));
    }
    let made = node.drain();
    check_readings(&gateway, GOOD, made);
}
