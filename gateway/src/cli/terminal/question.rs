//! What is done for good is asked about first, where a person can answer.

use std::io::{BufRead, IsTerminal, Read, Write};

use crate::cli::Failure;

/// Bytes of an answer.
const ANSWER_BYTES_MAX: u64 = 1024;

/// Whether the person at the terminal agrees to `what`, such as `drop 3 dead letters for good`.
///
/// # Errors
/// Where there is no terminal to ask at: what to say instead; or where the answer is no.
pub(in crate::cli) fn agreed(what: &str) -> Result<(), Failure> {
    if !std::io::stdin().is_terminal() {
        return Err(Failure::wrong_command_line(&format!(
            "this would {what}, and there is no terminal to ask at; add --yes if that is meant"
        )));
    }
    let mut terminal = std::io::stderr();
    write!(terminal, "{what}? [y/N] ")?;
    terminal.flush()?;
    let mut answer = String::new();
    std::io::stdin()
        .lock()
        .take(ANSWER_BYTES_MAX)
        .read_line(&mut answer)?;
    match answer.trim().to_lowercase().as_str() {
        "y" | "yes" => Ok(()),
        _ => Err(Failure::new("nothing was done")),
    }
}
