//! `firmware/README.md` says what the code does: a device is written from it alone.

mod session;
mod tables;

const README: &str = include_str!("../../../README.md");

/// What lies between two texts of the README.
fn between(from: &str, to: &str) -> &'static str {
    let (_, rest) = README.split_once(from).expect(from);
    rest.split_once(to).expect(to).0
}
