//! Tells the program when it was built: a clock that is behind that is wrong.

use std::time::{SystemTime, UNIX_EPOCH};

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let set = std::env::var("SOURCE_DATE_EPOCH").ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let built = set
        .and_then(|seconds| seconds.parse::<u64>().ok())
        .unwrap_or_else(|| now.map_or(0, |now| now.as_secs()));
    println!("cargo::rustc-env=TIDEGATE_BUILT_UNIX_S={built}");
}
