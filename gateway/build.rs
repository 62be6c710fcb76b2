//! Tells the program when it was built: a clock that is behind that is wrong. Beside it, for the package, what it
//! consists of.

use std::path::Path;
use std::time::{SystemTime, UNIX_EPOCH};

#[path = "../tests/examples/sbom.rs"]
#[allow(dead_code, reason = "its own `main` is that of the example")]
mod sbom;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    println!("cargo::rerun-if-changed=../tests/examples/sbom.rs");
    println!("cargo::rerun-if-changed=../Cargo.lock");
    println!("cargo::rerun-if-env-changed=SOURCE_DATE_EPOCH");
    let set = std::env::var("SOURCE_DATE_EPOCH").ok();
    let now = SystemTime::now().duration_since(UNIX_EPOCH);
    let built = set
        .and_then(|seconds| seconds.parse::<u64>().ok())
        .unwrap_or_else(|| now.map_or(0, |now| now.as_secs()));
    println!("cargo::rustc-env=TIDEGATE_BUILT_UNIX_S={built}");
    // A program is built without it too; `cargo deb` says that it is missing.
    if let Err(why) = sbom::write(Path::new("..")) {
        println!("cargo::warning=target/tidegate.cdx.json is not written: {why}");
    }
}
