//! Issue 13, number 6: a small machine that is offered more than it can take is bounded, refuses cleanly, is never killed,
//! and delivers all that it acknowledged. `cargo run -p tidegate-tests --example overload -- 10m` is the long form.

use std::time::Duration;

use tidegate_tests::crash::overload;

#[test]
fn twice_what_a_small_machine_sustains_kills_nothing_and_loses_nothing() {
    let test = "twice_what_a_small_machine_sustains_kills_nothing_and_loses_nothing";
    let Some(found) = overload::run(Duration::from_secs(20), 20, test) else {
        return;
    };
    println!("{found:#?}");
    assert_eq!(found.kills, 0);
    assert!(found.missing.is_empty(), "{:?}", found.missing.len());
    assert!(found.acknowledged > 1000);
    assert!(found.anonymous_bytes_max < 100 << 20);
}
