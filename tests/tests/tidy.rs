//! The house rules hold in every file, and the test of the house rules can fail.

use std::path::{Path, PathBuf};

use tidegate_tests::tidy;

fn root() -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("..")
}

fn sources(folder: &Path, into: &mut Vec<PathBuf>) {
    for entry in std::fs::read_dir(folder).expect("a folder").flatten() {
        let path = entry.path();
        if path.is_dir() {
            sources(&path, into);
        } else if path.extension().is_some_and(|ending| ending == "rs") {
            into.push(path);
        }
    }
}

#[test]
fn every_source_file_keeps_the_house_rules() {
    let mut files = Vec::new();
    for room in ["gateway", "rules", "store", "firmware", "tests"] {
        sources(&root().join(room), &mut files);
    }
    assert!(files.len() > 50, "the files were found");
    let mut faults = Vec::new();
    for file in files {
        let text = std::fs::read_to_string(&file).expect("a source file");
        let shown = file
            .strip_prefix(root())
            .expect("below the root")
            .display()
            .to_string();
        if shown != "tests/tests/tidy.rs" && shown != "tests/src/tidy.rs" {
            faults.extend(tidy::faults(&shown, &text));
        }
    }
    assert!(faults.is_empty(), "{}", faults.join("\n"));
}

#[test]
fn the_visible_top_level_is_the_one_that_was_agreed_on() {
    let expected = [
        "Cargo.lock",
        "Cargo.toml",
        "LICENSE",
        "README.md",
        "firmware",
        "gateway",
        "rules",
        "store",
        "tests",
    ];
    let mut found: Vec<String> = std::fs::read_dir(root())
        .expect("the root")
        .flatten()
        .map(|entry| entry.file_name().to_string_lossy().into_owned())
        .filter(|name| !name.starts_with('.') && name != "target")
        .collect();
    found.sort();
    assert_eq!(found, expected);
}

#[test]
fn every_crate_forbids_unsafe_code_or_names_its_one_exception() {
    for root_file in [
        "gateway/src/lib.rs",
        "rules/src/lib.rs",
        "store/src/lib.rs",
        "firmware/link/src/lib.rs",
        "firmware/device/src/lib.rs",
        "tests/src/lib.rs",
    ] {
        let text = std::fs::read_to_string(root().join(root_file)).expect("a crate");
        let kept =
            text.contains("#![forbid(unsafe_code)]") || text.contains("#![deny(unsafe_code)]");
        assert!(kept, "{root_file} allows unsafe code");
    }
}

#[test]
fn each_rule_finds_the_sample_that_breaks_it() {
    let long_function = format!("//! x\nfn long() {{\n{}}}\n", "    work();\n".repeat(80));
    let long_file = format!("//! x\n{}", "// line\n".repeat(600));
    for (path, text, expected) in [
        (
            "gateway/src/a.rs",
            "fn main() {}\n",
            "does not open with //!",
        ),
        ("gateway/src/a.rs", &*long_function, "fn long has 82 lines"),
        ("gateway/src/a.rs", &*long_file, "601 lines"),
        (
            "gateway/src/a.rs",
            "//! x\nlet now = Instant::now();\n",
            "Instant::now( does not belong here",
        ),
        (
            "rules/src/a.rs",
            "//! x\nuse tidegate_store::Store;\n",
            "tidegate_store does not belong here",
        ),
        (
            "gateway/src/source/a.rs",
            "//! x\nuse crate::forward::Lane;\n",
            "crate::forward:: does not belong here",
        ),
        (
            "gateway/src/a.rs",
            "//! x\nuse sled::Db;\n",
            "sled:: does not belong here",
        ),
        (
            "gateway/src/a.rs",
            concat!("//! x\nfn a() { todo", "!() }\n"),
            "is left behind",
        ),
    ] {
        let faults = tidy::faults(path, text);
        assert!(
            faults.iter().any(|fault| fault.contains(expected)),
            "{text:.40}: {faults:?}"
        );
    }
    assert!(tidy::faults("gateway/src/a.rs", "//! x\nfn short() {\n    work();\n}\n").is_empty());
}
