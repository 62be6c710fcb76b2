//! The overload of `tests/overload.rs` for as long as is asked for: `-- 10m`, `-- 1h`, `-- 90s`; a second
//! number says how many clients send large packets as fast as they can.

use std::time::Duration;

use tidegate_tests::crash::overload;

fn main() {
    let length = std::env::args().nth(1).unwrap_or_else(|| "10m".to_owned());
    let (number, unit) = length.split_at(length.len().saturating_sub(1));
    let seconds = match unit {
        "h" => 3600,
        "m" => 60,
        _ => 1,
    };
    let number: u64 = number.parse().expect("such as 90s, 10m or 1h");
    let flooders = std::env::args()
        .nth(2)
        .map_or(20, |count| count.parse().expect("a number"));
    let found = overload::run(Duration::from_secs(number * seconds), flooders, "overload");
    println!("{:#?}", found.expect("a memory group, which takes root"));
}
