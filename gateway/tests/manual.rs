//! The manual pages of the package say what the command line says, and are written from it.
//!
//! After a change of the command line run `TIDEGATE_WRITE_MANUAL=1 cargo test -p tidegate --test manual`.
#![cfg(all(feature = "serial", feature = "http", feature = "demo"))]

use std::collections::BTreeMap;
use std::path::Path;

use clap::Command;

/// The page of a command and those of all below it, by file name.
fn pages(command: Command, pages: &mut BTreeMap<String, Vec<u8>>) {
    for below in command.get_subcommands().filter(|one| !one.is_hide_set()) {
        self::pages(below.clone(), pages);
    }
    let page = clap_mangen::Man::new(command);
    let mut text = Vec::new();
    page.render(&mut text).expect("memory takes it");
    pages.insert(page.get_filename(), text);
}

/// The manual as the command line has it. `help` is no command to look up.
fn expected() -> BTreeMap<String, Vec<u8>> {
    let mut command = tidegate::cli::command().disable_help_subcommand(true);
    command.build();
    let mut all = BTreeMap::new();
    pages(command, &mut all);
    all
}

#[test]
fn every_command_has_its_page_and_every_page_is_current() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("debian/man");
    let expected = expected();
    let found = std::fs::read_dir(&folder).expect("the folder of the manual");
    let found: Vec<String> = found
        .map(|entry| entry.expect("it can be read").file_name().into_string())
        .map(|name| name.expect("a name in UTF-8"))
        .collect();
    let surplus: Vec<&String> = found
        .iter()
        .filter(|name| !expected.contains_key(*name))
        .collect();
    if std::env::var_os("TIDEGATE_WRITE_MANUAL").is_some() {
        for name in surplus {
            std::fs::remove_file(folder.join(name)).expect("a page can be removed");
        }
        for (name, page) in &expected {
            std::fs::write(folder.join(name), page).expect("a page can be written");
        }
        return;
    }
    let again = "run with TIDEGATE_WRITE_MANUAL=1";
    assert!(
        surplus.is_empty(),
        "pages of no command: {surplus:?}; {again}"
    );
    for (name, page) in &expected {
        let written = std::fs::read(folder.join(name)).unwrap_or_default();
        let same = String::from_utf8_lossy(&written) == String::from_utf8_lossy(page);
        assert!(same, "{name} is not what the command line says; {again}");
    }
}
