//! Looks at built programs, whatever machine they are for, and fails where one is not what the README says of it.
//!
//! `cargo run -p tidegate-tests --example artifact -- [--size-max BYTES] [--auditable] PROGRAM…`

mod elf;

use std::path::Path;
use std::process::ExitCode;

use elf::{Libc, Program, Version};

/// What a program with the default features may take.
const SIZE_MAX_BYTES: u64 = 16_000_000;
/// The guide that says which C library a program needs.
const GUIDE: &str = concat!(env!("CARGO_MANIFEST_DIR"), "/../gateway/README.md");
/// The words in front of that version.
const FLOOR_WORDS: &str = "needs glibc ";

/// What is asked of the programs.
#[derive(Debug, Clone, Copy)]
struct Demands {
    size_max_bytes: u64,
    glibc: Version,
    auditable: bool,
}

fn main() -> ExitCode {
    match run() {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::FAILURE,
        Err(why) => {
            eprintln!("artifact: {why}");
            ExitCode::from(2)
        }
    }
}

fn run() -> Result<bool, String> {
    let guide = std::fs::read_to_string(GUIDE).map_err(|error| format!("{GUIDE}: {error}"))?;
    let mut demands = Demands {
        size_max_bytes: SIZE_MAX_BYTES,
        glibc: promised_floor(&guide)?,
        auditable: false,
    };
    let mut programs = Vec::new();
    let mut arguments = std::env::args().skip(1);
    while let Some(argument) = arguments.next() {
        match &*argument {
            "--auditable" => demands.auditable = true,
            "--size-max" => {
                let bytes = arguments.next().and_then(|text| text.parse().ok());
                demands.size_max_bytes = bytes.ok_or("--size-max takes a number of bytes")?;
            }
            _ => programs.push(argument),
        }
    }
    if programs.is_empty() {
        return Err("name a program".into());
    }
    let mut all_well = true;
    for path in programs {
        let bytes = std::fs::read(&path).map_err(|error| format!("{path}: {error}"))?;
        let program = elf::read(&bytes).map_err(|error| format!("{path}: {error}"))?;
        println!("{path}: {program}");
        for complaint in complaints(&program, &demands, is_musl(&path)) {
            all_well = false;
            eprintln!("error: {path}: {complaint}");
        }
    }
    Ok(all_well)
}

/// Whether a path is that of a program that is to be static.
fn is_musl(path: &str) -> bool {
    Path::new(path)
        .iter()
        .any(|part| part.to_string_lossy().ends_with("-musl"))
}

/// The version of glibc that the guide says is enough.
fn promised_floor(guide: &str) -> Result<Version, String> {
    let (_, behind) = guide
        .split_once(FLOOR_WORDS)
        .ok_or(format!("gateway/README.md says nowhere `{FLOOR_WORDS}…`"))?;
    let end = behind.find(|c: char| !c.is_ascii_digit() && c != '.');
    let number = behind[..end.unwrap_or(behind.len())].trim_end_matches('.');
    elf::version(number).ok_or(format!(
        "gateway/README.md: {number} is no version of glibc"
    ))
}

/// What is wrong with a program.
fn complaints(program: &Program, demands: &Demands, musl: bool) -> Vec<String> {
    let mut found = Vec::new();
    if program.size_bytes > demands.size_max_bytes {
        found.push(format!(
            "it takes {} bytes, and may take {}",
            program.size_bytes, demands.size_max_bytes
        ));
    }
    match &program.libc {
        Libc::Static => {}
        Libc::Glibc { needed, by } if *needed > demands.glibc => found.push(format!(
            "it needs glibc {}.{} ({}); gateway/README.md promises that {}.{} is enough: do without what needs it, or \
             say the new number there and in the package",
            needed.0,
            needed.1,
            by.join(", "),
            demands.glibc.0,
            demands.glibc.1,
        )),
        Libc::Glibc { .. } if musl => found.push("it is to be static, and needs glibc".into()),
        Libc::Glibc { .. } => {}
        Libc::Other(loader) => found.push(format!("it needs {loader}, which is not glibc's")),
    }
    match program.packages {
        Some(0) => found.push("its list of packages is empty".into()),
        None if demands.auditable => {
            found.push(
                "it does not say what it consists of: build it with `cargo auditable`".into(),
            );
        }
        _ => {}
    }
    found
}

#[cfg(test)]
mod tests {
    use super::*;

    fn this_test() -> Program {
        let path = std::env::current_exe().expect("this program");
        elf::read(&std::fs::read(path).expect("it can be read")).expect("it is a program")
    }

    const DEMANDS: Demands = Demands {
        size_max_bytes: u64::MAX,
        glibc: (2, 34),
        auditable: false,
    };

    #[test]
    fn a_program_that_needs_a_newer_c_library_than_the_guide_says_is_named_with_what_needs_it() {
        let program = this_test();
        assert_eq!(complaints(&program, &DEMANDS, false), Vec::<String>::new());
        let glibc = (2, 2);
        let found = complaints(&program, &Demands { glibc, ..DEMANDS }, false);
        let [words] = &found[..] else {
            panic!("{found:?}");
        };
        assert!(words.contains("promises that 2.2 is enough"), "{words}");
        let Libc::Glibc { by, .. } = &program.libc else {
            panic!("{program:?}");
        };
        assert!(!by.is_empty() && words.contains(&by[0]), "{words}");
    }

    #[test]
    fn a_program_that_is_too_large_not_static_or_not_auditable_is_named() {
        let program = this_test();
        let size_max_bytes = program.size_bytes - 1;
        for (demands, musl, words) in [
            (
                Demands {
                    size_max_bytes,
                    ..DEMANDS
                },
                false,
                "may take",
            ),
            (DEMANDS, true, "to be static"),
            (
                Demands {
                    auditable: true,
                    ..DEMANDS
                },
                false,
                "cargo auditable",
            ),
        ] {
            let found = complaints(&program, &demands, musl);
            assert!(found.len() == 1 && found[0].contains(words), "{found:?}");
        }
    }

    #[test]
    fn the_guide_says_which_c_library_is_enough() {
        let guide = std::fs::read_to_string(GUIDE).expect("the guide");
        assert!(promised_floor(&guide).is_ok());
        assert_eq!(promised_floor("it needs glibc 2.34."), Ok((2, 34)));
        assert!(promised_floor("it needs glibc").is_err());
        assert!(promised_floor("it needs glibc new").is_err());
    }

    #[test]
    fn a_folder_says_which_programs_are_static() {
        assert!(is_musl(
            "target/aarch64-unknown-linux-musl/release/tidegate"
        ));
        assert!(!is_musl(
            "target/aarch64-unknown-linux-gnu/release/tidegate"
        ));
    }
}
