//! The tidegate command in a build that can break its promises: only for the tests that must see
//! them broken, under a name of its own so that it is never taken for the real one.

#![forbid(unsafe_code)]

use std::process::ExitCode;

fn main() -> ExitCode {
    match tidegate::cli::main() {
        Ok(()) => ExitCode::SUCCESS,
        Err(failure) => failure.report(),
    }
}
