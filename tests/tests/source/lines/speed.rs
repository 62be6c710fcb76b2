//! Lines at a megabyte a second, in order.

use std::time::Instant;

use tidegate_tests::wait;

use super::{LAST, Ports};

#[test]
fn a_hundred_thousand_lines_come_in_order() {
    let count = match std::env::var_os("TIDEGATE_LONG") {
        Some(_) => 101_120,
        None => 20_000,
    };
    let csv = "format = \"csv\"\ncolumns = [\"n int\", \"t float\", \"what\"]".to_owned();
    let mut ports = Ports::start(&[csv]);
    let mut text = String::from("half\r\n");
    for number in 0..count {
        text += &format!("{number},21.50,\"a, b\"\r\n");
    }
    text += &format!(",,{LAST}\r\n");
    let began = Instant::now();
    ports.ports[0].write(text.as_bytes());
    let accepted = || {
        ports
            .gateway
            .metric("tidegate_source_events_accepted_total", "s0")
    };
    wait::until("all are stored", || accepted() == count + 1);
    let seconds = began.elapsed().as_secs_f64();
    println!("{count} lines, {} bytes in {seconds:.2} s", text.len());
    let payloads = ports.payloads(0);
    let expected = (0..count).map(|n| format!("{{\"n\":{n},\"t\":21.50,\"what\":\"a, b\"}}"));
    assert!(payloads.into_iter().eq(expected), "in order and unchanged");
}
