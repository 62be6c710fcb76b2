//! Panics that tests ask for. Compiled in only with the cargo feature `null-controls`, which no other feature enables; in
//! every other build nothing can be asked for.

/// Panics where `TIDEGATE_NULL_CONTROL` is `panic:NAME` for the beginning of this name, once the file is there that
/// `TIDEGATE_NULL_CONTROL_FILE` names.
#[cfg(feature = "null-controls")]
pub(super) fn panic_in(name: &str) {
    use std::sync::OnceLock;
    static ASKED: OnceLock<Option<(String, String)>> = OnceLock::new();
    let asked = ASKED.get_or_init(|| {
        let breach = std::env::var("TIDEGATE_NULL_CONTROL").ok()?;
        let file = std::env::var("TIDEGATE_NULL_CONTROL_FILE").ok()?;
        Some((breach.strip_prefix("panic:")?.to_owned(), file))
    });
    let Some((asked, file)) = asked else { return };
    if name.starts_with(asked.as_str()) && std::path::Path::new(file).exists() {
        panic!("a test asked for it");
    }
}

/// Nothing can be asked for.
#[cfg(not(feature = "null-controls"))]
pub(super) fn panic_in(_name: &str) {}
