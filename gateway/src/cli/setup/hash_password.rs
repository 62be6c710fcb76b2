//! `tidegate hash-password`: what goes into `password_hash`.

use std::io::{BufRead, IsTerminal, Read, Write};

use crate::cli::Failure;
use crate::config::BYTE_ORDER_MARK;
use crate::source::listener::password;

/// Bytes a password may have.
const PASSWORD_BYTES_MAX: u64 = 1024;

/// Reads a password, twice from a terminal and once from a pipe, and writes its hash.
///
/// # Errors
/// An empty password, or two that differ.
pub(in crate::cli) fn run() -> Result<(), Failure> {
    let password = match std::io::stdin().is_terminal() {
        true => asked()?,
        false => piped()?,
    };
    if password.is_empty() {
        return Err(Failure::new("an empty password is no password"));
    }
    if password.starts_with(BYTE_ORDER_MARK) {
        let message = "the password begins with a byte order mark, which nobody would type; save it without one";
        return Err(Failure::new(message));
    }
    let hash = password::hash(password.as_bytes()).map_err(Failure::new)?;
    writeln!(std::io::stdout(), "{hash}")?;
    Ok(())
}

/// The terminal shows nothing of what is typed.
fn asked() -> Result<String, Failure> {
    let password = rpassword::prompt_password("password: ")?;
    let again = rpassword::prompt_password("once more: ")?;
    match password == again {
        true => Ok(password),
        false => Err(Failure::new("the two differ")),
    }
}

/// The first line, without its end.
fn piped() -> Result<String, Failure> {
    let mut line = String::new();
    let mut input = std::io::stdin().lock().take(PASSWORD_BYTES_MAX + 1);
    input.read_line(&mut line)?;
    let line = line.trim_end_matches(['\n', '\r']);
    if line.len() as u64 > PASSWORD_BYTES_MAX {
        let message = format!("a password has at most {PASSWORD_BYTES_MAX} bytes");
        return Err(Failure::new(message));
    }
    Ok(line.to_owned())
}
