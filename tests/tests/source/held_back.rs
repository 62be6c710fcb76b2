//! A client with more publishes under way than the gateway takes is held back, not cut off.

use tidegate_tests::gateway::Gateway;
use tidegate_tests::mqtt::load::{Load, Share};

#[test]
fn an_mqtt_3_client_that_publishes_too_much_at_once_waits_for_its_acks() {
    let mut gateway = Gateway::new(
        "receive_max = 20\n\n[upstreams.archive]\ntype = \"file\"\npath = \"out.jsonl\"\n",
    );
    gateway.start();
    let share = Share {
        count: 5_000,
        per_second: 1e9,
        window: 500,
    };
    let (ledger, left) = Load::start(gateway.address, 0..2, share).end();
    assert_eq!(left, 0, "unacknowledged\n{}", gateway.log());
    assert_eq!(ledger.acknowledged.len(), 10_000);
    assert!(
        !gateway.log().contains("connection closed"),
        "{}",
        gateway.log()
    );
}
