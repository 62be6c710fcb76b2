//! The README says what the program does: its examples parse, its tables are complete.
//!
//! The table of keys is made from the code. After a change of keys run
//! `TIDEGATE_WRITE_README=1 cargo test -p tidegate --test readme`.

use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};
use std::process::Command;

use tidegate::run::config;

const BEGIN: &str = "<!-- keys -->\n";
const END: &str = "<!-- end of keys -->";

fn path() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("README.md")
}

fn readme() -> String {
    std::fs::read_to_string(path()).expect("the README")
}

/// The contents of all code blocks of a language.
fn blocks(text: &str, language: &str) -> Vec<String> {
    let fence = format!("```{language}\n");
    let blocks = text.split(&fence).skip(1);
    blocks
        .map(|rest| rest.split("```").next().unwrap_or_default().to_owned())
        .collect()
}

/// The rows of all keys, as the code has them.
fn key_table() -> String {
    let mut table =
        String::from("| section | key | takes | default | meaning |\n|---|---|---|---|---|\n");
    for group in config::reference() {
        for key in group.keys {
            table.push_str(&key.row(&group.heading));
            table.push('\n');
        }
    }
    table
}

#[test]
fn every_key_stands_in_the_table_with_its_default_and_bounds() {
    let text = readme();
    let (before, rest) = text.split_once(BEGIN).expect("the beginning of the table");
    let (found, after) = rest.split_once(END).expect("the end of the table");
    let expected = key_table();
    if std::env::var_os("TIDEGATE_WRITE_README").is_some() {
        let written = format!("{before}{BEGIN}{expected}{END}{after}");
        std::fs::write(path(), written).expect("the README can be written");
        return;
    }
    for (row, expected) in found.lines().zip(expected.lines()) {
        assert_eq!(row, expected, "run with TIDEGATE_WRITE_README=1");
    }
    assert_eq!(
        found.lines().count(),
        expected.lines().count(),
        "run with TIDEGATE_WRITE_README=1"
    );
}

/// Every key that there ever was, one a line under its heading; lines are added and never taken away.
fn keys_ever() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/keys.txt")
}

/// Whoever upgrades writes the names of before: they are keys still, or are told what they are called now.
#[test]
fn no_key_vanishes_without_a_word_to_whoever_writes_it() {
    let known = std::fs::read_to_string(keys_ever()).expect("the keys of before");
    let names = |of: &dyn Fn(&tidegate::config::AnyKey) -> Vec<&'static str>| {
        let groups = config::reference().into_iter();
        let lines = groups.flat_map(|group| {
            let names = group.keys.iter().flat_map(|key| of(key));
            let line = |name| format!("{}: {name}", group.heading);
            names.map(line).collect::<Vec<_>>()
        });
        lines.collect::<Vec<String>>()
    };
    let now = names(&|key| vec![key.name]);
    let told = names(&|key| key.formerly.to_vec());
    for line in known.lines() {
        let found = now.iter().chain(&told).any(|one| one == line);
        assert!(
            found,
            "`{line}` is gone: say at its successor `.formerly(&[…])`"
        );
    }
    let new: Vec<&String> = now
        .iter()
        .filter(|one| !known.lines().any(|line| line == **one))
        .collect();
    if std::env::var_os("TIDEGATE_WRITE_README").is_some() {
        let added: String = new.iter().map(|line| format!("{line}\n")).collect();
        std::fs::write(keys_ever(), known + &added).expect("the keys can be written");
        return;
    }
    assert!(new.is_empty(), "run with TIDEGATE_WRITE_README=1: {new:?}");
}

#[test]
fn every_key_is_listed_once_and_its_default_is_within_its_bounds() {
    for group in config::reference() {
        for (place, key) in group.keys.iter().enumerate() {
            let earlier = group.keys[..place]
                .iter()
                .find(|other| other.name == key.name);
            assert!(earlier.is_none(), "{} {}", group.heading, key.name);
            assert!(key.default_is_allowed(), "{} {}", group.heading, key.name);
            assert!(!key.help.is_empty(), "{} {}", group.heading, key.name);
        }
    }
}

/// A folder with everything that the examples point at.
#[cfg(all(feature = "serial", feature = "http"))]
fn surroundings() -> tempfile::TempDir {
    let folder = tempfile::tempdir().expect("a temporary folder");
    std::fs::create_dir(folder.path().join("rules")).expect("the rules folder");
    let pair = rcgen::generate_simple_self_signed(["gateway".to_owned()]).expect("a certificate");
    let (cert, key) = (pair.cert.pem(), pair.signing_key.serialize_pem());
    let files = [
        ("cloud.password", "secret"),
        ("press-7.token", "MTIzNDU2Nzg5MDEyMzQ1Njc4OTA="),
        (
            "press-7.hash",
            "$argon2id$v=19$m=19456,t=2,p=1$c2FsdHNhbHQ$aGFzaA",
        ),
        ("gateway.pem", cert.as_str()),
        ("gateway.key", key.as_str()),
    ];
    for (name, text) in files {
        let path = folder.path().join(name);
        std::fs::write(&path, text).expect("a file");
        let mode = std::fs::Permissions::from_mode(0o600);
        std::fs::set_permissions(&path, mode).expect("its mode");
    }
    folder
}

#[cfg(all(feature = "serial", feature = "http"))]
#[test]
fn every_example_of_a_configuration_is_accepted_without_a_warning() {
    let folder = surroundings();
    let examples = blocks(&readme(), "toml");
    assert!(examples.len() >= 4, "{}", examples.len());
    for example in examples {
        let rest = [
            ("[gateway]", "[gateway]\nid = \"a\"\ndata_dir = \"d\"\n"),
            (
                "[sources.",
                "[sources.other]\ntype = \"http\"\nlisten = \"127.0.0.1:8081\"\n",
            ),
            (
                "[upstreams.",
                "[upstreams.other]\ntype = \"file\"\npath = \"o\"\n",
            ),
        ];
        let rest = rest
            .iter()
            .filter(|(section, _)| !example.contains(section));
        let rest: String = rest.map(|(_, lines)| *lines).collect();
        let whole = format!("{example}\n{rest}");
        let read = config::parse(&folder.path().join("gateway.toml"), &whole, &|_| None);
        let found = read.map_or_else(|found| found, |config| config.warnings);
        assert!(found.is_empty(), "{whole}\n{found:?}");
    }
}

#[test]
fn every_command_is_described_and_every_described_command_exists() {
    let text = readme();
    let described: Vec<&str> = text
        .lines()
        .filter_map(|line| line.strip_prefix("| `tidegate ")?.split('`').next())
        .collect();
    for command in &described {
        let run = run(&[command.split(' ').collect(), vec!["--help"]].concat());
        assert!(run.status.success(), "tidegate {command} does not exist");
    }
    for command in commands(&[]) {
        let below = commands(&[&command]);
        let whole: Vec<String> = match below.is_empty() {
            true => vec![command],
            false => below.iter().map(|sub| format!("{command} {sub}")).collect(),
        };
        for command in whole {
            assert!(
                described.contains(&command.as_str()),
                "the README lacks `tidegate {command}`"
            );
        }
    }
}

fn run(arguments: &[&str]) -> std::process::Output {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    command.args(arguments).output().expect("the program runs")
}

/// The subcommands that `--help` names.
fn commands(path: &[&str]) -> Vec<String> {
    let output = run(&[path, &["--help"]].concat());
    let help = String::from_utf8_lossy(&output.stdout).into_owned();
    let Some((_, listed)) = help.split_once("\nCommands:\n") else {
        return Vec::new();
    };
    let lines = listed.lines().take_while(|line| !line.is_empty());
    lines
        .filter(|line| line.starts_with("  ") && !line.starts_with("   "))
        .filter_map(|line| line.split_whitespace().next())
        .filter(|command| *command != "help")
        .map(str::to_owned)
        .collect()
}

#[test]
fn the_error_in_the_readme_is_what_the_program_says() {
    let folder = tempfile::tempdir().expect("a temporary folder");
    let text = "[gateway]\nid = \"a\"\ndata_dri = \"data\"\n\n[store]\nkeep_for = \"5 minutes\"\n\
        [sources.s]\ntype = \"http\"\nlisten = \"127.0.0.1:1\"\n[upstreams.u]\ntype = \"file\"\npath = \"o\"\n";
    std::fs::write(folder.path().join("gateway.toml"), text).expect("a file");
    let mut command = Command::new(env!("CARGO_BIN_EXE_tidegate"));
    let output = command
        .arg("check")
        .current_dir(folder.path())
        .output()
        .expect("it runs");
    let said = String::from_utf8_lossy(&output.stderr).into_owned();
    assert!(blocks(&readme(), "text").contains(&said), "{said}");
}

#[test]
fn the_unit_confines_the_gateway() {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("debian/tidegate.service");
    let mut analyze = Command::new("systemd-analyze");
    let analyzed = analyze
        .args(["security", "--offline=true", "--threshold=20"])
        .arg(&path)
        .output();
    match analyzed {
        Ok(output) => assert!(
            output.status.success(),
            "{}",
            String::from_utf8_lossy(&output.stdout)
        ),
        Err(_) if std::env::var_os("TIDEGATE_REQUIRE_PEERS").is_none() => {
            // Not eprintln!, which the test runner keeps to itself while a test passes.
            let why = "SKIPPED: the unit was not rated because systemd-analyze is not installed";
            let _ =
                std::io::Write::write_all(&mut std::io::stderr(), format!("{why}\n").as_bytes());
        }
        Err(error) => panic!("systemd-analyze: {error}"),
    }
}
