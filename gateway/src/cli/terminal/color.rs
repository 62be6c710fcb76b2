//! What the terminal can show: colours only where a person looks, and never with `NO_COLOR`.

use std::io::IsTerminal;

/// Whether standard error may be coloured.
pub(in crate::cli) fn errors_in_color() -> bool {
    allowed() && std::io::stderr().is_terminal()
}

/// Whether standard output may be coloured.
pub(in crate::cli) fn output_in_color() -> bool {
    allowed() && std::io::stdout().is_terminal()
}

/// `NO_COLOR` with any value but the empty one turns colours off (<https://no-color.org>).
fn allowed() -> bool {
    std::env::var_os("NO_COLOR").is_none_or(|value| value.is_empty())
}
