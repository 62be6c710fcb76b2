//! The house rules hold in every file, and the test of the house rules can fail.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::OnceLock;

use tidegate_tests::tidy::package::{Package, Target};
use tidegate_tests::tidy::{self, circle, dependency, door, drawing, folder, root, text};

/// Every package, read once.
fn packages() -> &'static [Package] {
    static PACKAGES: OnceLock<Vec<Package>> = OnceLock::new();
    PACKAGES.get_or_init(tidy::packages)
}

fn no_faults(faults: &[String]) {
    assert!(faults.is_empty(), "\n{}", faults.join("\n"));
}

/// Every source file, from the root of the workspace on.
fn files() -> Vec<PathBuf> {
    let mut files = Vec::new();
    for package in tidy::PACKAGES {
        folder::sources(&root().join(package), &mut files);
    }
    assert!(files.len() > 50, "the files were found");
    let below = |file: PathBuf| {
        file.strip_prefix(root())
            .expect("below the root")
            .to_owned()
    };
    files.into_iter().map(below).collect()
}

#[test]
fn every_source_file_keeps_the_house_rules() {
    let mut faults = Vec::new();
    let tests: Vec<&Path> = packages().iter().flat_map(Package::test_files).collect();
    for file in files() {
        let text = std::fs::read_to_string(root().join(&file)).expect("a source file");
        let shown = file.display().to_string();
        if shown == "tests/tests/tidy.rs" || shown == "tests/src/tidy/text.rs" {
            continue;
        }
        faults.extend(match tests.contains(&file.as_path()) {
            true => text::form(&shown, &text),
            false => text::faults(&shown, &text),
        });
    }
    no_faults(&faults);
}

#[test]
fn no_folder_holds_more_files_than_a_reader_takes_in() {
    no_faults(&folder::overfull(&files()));
}

#[test]
fn no_modules_name_each_other_in_a_circle() {
    let faults: Vec<String> = packages().iter().flat_map(circle::circles).collect();
    no_faults(&faults);
}

#[test]
fn every_module_names_only_those_that_its_line_allows() {
    let mut faults = Vec::new();
    for package in packages() {
        let list = door::list_path(&root(), package);
        let text = std::fs::read_to_string(&list).expect("a list");
        faults.extend(door::faults(package, &door::parse(&text)));
        for file in &package.stray {
            faults.push(format!("{}: no module declares it", file.display()));
        }
    }
    faults.push(
        "`cargo run -p tidegate-tests --example doors -- --write` writes the lists anew".into(),
    );
    no_faults(if faults.len() > 1 { &faults } else { &[] });
}

#[test]
fn the_rooms_of_the_gateway_are_drawn_as_they_are() {
    let package = &packages()[0];
    let lib = std::fs::read_to_string(root().join("gateway/src/lib.rs")).expect("the gateway");
    let picture = drawing::draw(&root(), package);
    assert!(
        drawing::drawn(&lib) == Some(&*picture),
        "`cargo run -p tidegate-tests --example doors -- --write` draws them anew between the lines \
         {} and {}:\n{picture}",
        drawing::BEGIN,
        drawing::END
    );
}

#[test]
fn one_file_names_sled() {
    let mut files = Vec::new();
    for package in packages() {
        let edges = package.edges();
        let sled = |edge: &&tidy::package::Edge| edge.to == Target::Outside("sled".into());
        for edge in edges.iter().filter(sled) {
            let module = &package.modules[edge.from];
            if module.is_product() && !files.contains(&module.file) {
                files.push(module.file.clone());
            }
        }
    }
    assert_eq!(files.len(), 1, "{files:?}");
}

#[test]
fn every_dependency_is_named_where_it_is_declared_for() {
    let mut faults: Vec<String> = packages().iter().flat_map(dependency::unused).collect();
    faults.extend(dependency::untaken(&root(), packages()).expect("a manifest"));
    no_faults(&faults);
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
            "rules/src/a.rs",
            "//! x\nuse std::fs::File;\n",
            "std::fs does not belong here",
        ),
        (
            "firmware/link/src/a.rs",
            "//! x\nlet now = SystemTime::now();\n",
            "SystemTime::now( does not belong here",
        ),
        (
            "gateway/src/forward/lane.rs",
            "//! x\nlet dice = fastrand::u64(..);\n",
            "fastrand:: does not belong here",
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
        let faults = text::faults(path, text);
        assert!(
            faults.iter().any(|fault| fault.contains(expected)),
            "{text:.40}: {faults:?}"
        );
    }
    assert!(text::faults("gateway/src/a.rs", "//! x\nfn short() {\n    work();\n}\n").is_empty());
}

/// A package of these files beside a manifest and a `lib.rs` that declares `modules`.
fn sample(modules: &str, files: &[(&str, &str)]) -> Package {
    let root = tempfile::tempdir().expect("a folder");
    let write = |name: &str, text: &str| {
        let path = root.path().join("gateway").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    };
    let manifest = "[package]\nname = \"tidegate\"\n\n\
                    [dependencies]\nbytes = \"1\"\ntidegate-store = \"1\"\n\n\
                    [dev-dependencies]\ntempfile = \"3\"\n";
    write("Cargo.toml", manifest);
    let declared: String = modules
        .split(' ')
        .map(|name| format!("mod {name};\n"))
        .collect();
    write("src/lib.rs", &declared);
    for (name, text) in files {
        write(name, text);
    }
    Package::read(root.path(), "gateway").expect("a package")
}

/// What the file `b` may say to name the module `a`.
const NAMES_A: [&str; 8] = [
    "use crate::a::A;",
    "use super::a::A as Other;",
    "use crate::{\n    a::{self, A},\n};",
    "fn f() { crate::a::g() }",
    "fn f() { println!(\"{}\", crate::a::g()) }",
    "fn f() -> super::a::A { loop {} }",
    "use crate::a;\nfn f() { a::g() }",
    "mod inner { use crate::a::*; }",
];

#[test]
fn a_circle_is_found_however_its_modules_name_each_other() {
    for text in NAMES_A {
        let package = sample(
            "a b",
            &[("src/a.rs", "use crate::b::B;"), ("src/b.rs", text)],
        );
        let found = circle::circles(&package);
        assert!(found[0].contains("a circle of a, b"), "{text}: {found:?}");
    }
    let back_by_a_re_export = [
        ("src/a.rs", "use crate::c::B;"),
        ("src/b.rs", "use crate::a::A;"),
        ("src/c.rs", "pub use crate::b::B;"),
    ];
    assert_eq!(
        circle::circles(&sample("a b c", &back_by_a_re_export)).len(),
        1
    );
    let below = [
        ("src/a.rs", "mod x;\nmod y;"),
        ("src/a/x.rs", "use super::y::Y;"),
        ("src/a/y.rs", "mod z;"),
        ("src/a/y/z.rs", "use crate::a::x::X;"),
    ];
    let found = circle::circles(&sample("a", &below));
    assert!(
        found[0].contains("a in gateway: a circle of x, y"),
        "{found:?}"
    );
    // No file names another back, and yet the folders do.
    let folders = [
        ("src/a.rs", "mod x;\nmod y;"),
        ("src/a/x.rs", "use crate::b::z::Z;"),
        ("src/a/y.rs", ""),
        ("src/b.rs", "mod z;\nmod w;"),
        ("src/b/z.rs", ""),
        ("src/b/w.rs", "use crate::a::y::Y;"),
    ];
    assert_eq!(circle::circles(&sample("a b", &folders)).len(), 1);
}

#[test]
fn what_is_no_circle_is_none() {
    for text in [
        "// use crate::a::A;",
        "const TEXT: &str = \"crate::a::A\";",
        "#[cfg(test)]\nmod tests {\n    use crate::a::A;\n}",
        "#[cfg(test)]\nuse crate::a::A;",
        "mod child;",
        "use other::a::A;",
    ] {
        let files = [
            ("src/a.rs", "use crate::b::B;"),
            ("src/b.rs", text),
            ("src/b/child.rs", "use super::B;"),
        ];
        assert!(circle::circles(&sample("a b", &files)).is_empty(), "{text}");
    }
}

#[test]
fn a_door_that_no_line_allows_is_found_and_so_is_a_line_without_a_door() {
    let files = [
        ("src/a.rs", "use crate::source::mqtt::M;\nuse bytes::Bytes;"),
        ("src/source.rs", "mod mqtt;\nmod serial;"),
        (
            "src/source/mqtt.rs",
            "mod wire;\nuse tidegate_store::Store;",
        ),
        ("src/source/mqtt/wire.rs", "use super::M;"),
        ("src/source/serial.rs", "mod port;"),
        (
            "src/source/serial/port.rs",
            "use crate::source::mqtt::M;\nuse crate::a::A;",
        ),
        ("src/bin/tidegate.rs", "fn main() { tidegate::a::main() }"),
    ];
    let package = sample("a source", &files);
    let whole = "# a list\n\n<tidegate>: a\na: source::*\nlib:\nsource:\n\
                 source::*: [store]\n    a source::*-of-another-kind\n";
    let allowed = door::parse(whole);
    no_faults(&door::faults(&package, &allowed));
    assert_eq!(door::parse(&door::print("gateway", &allowed)), allowed);
    for (before, after, expected) in [
        (
            "a: source::*",
            "a:",
            "src/a.rs:1: `a` may not name `source::*`",
        ),
        (
            "<tidegate>: a",
            "<tidegate>:",
            "src/bin/tidegate.rs:1: `<tidegate>` may not name `a`",
        ),
        (
            "[store]",
            "",
            "src/source/mqtt.rs:2: `source::*` may not name `[store]`",
        ),
        (
            "a source::*-of-another-kind",
            "a",
            "may not name `source::*-of-another-kind`",
        ),
        ("source:\n", "source: a\n", "`source` does not name `a`"),
        ("lib:\n", "lib:\nb: a\n", "there is no `b`"),
        ("lib:\n", "", "`lib` has no line"),
    ] {
        let faults = door::faults(&package, &door::parse(&whole.replace(before, after)));
        assert!(
            faults.len() == 1 && faults[0].contains(expected),
            "{expected}: {faults:?}"
        );
    }
}

#[test]
fn the_drawing_shows_each_room_above_those_that_it_names() {
    let files = [
        ("src/a.rs", "//! What is below. More of it."),
        ("src/b.rs", "//! What is above.\n\nuse crate::a::A;"),
    ];
    let root = tempfile::tempdir().expect("a folder");
    let package = sample("a b", &files);
    for (name, text) in files {
        let path = root.path().join("gateway").join(name);
        std::fs::create_dir_all(path.parent().expect("a folder")).expect("a folder");
        std::fs::write(path, text).expect("a file");
    }
    let picture = drawing::draw(root.path(), &package);
    let lines = "//! b  What is above\n//!    └▶ a\n//! a  What is below\n";
    assert!(picture.contains(lines), "{picture}");
    assert_eq!(
        drawing::drawn(&format!("//! x\n{picture}\nmod a;")),
        Some(&*picture)
    );
    assert_eq!(drawing::drawn("//! x"), None);
}

#[test]
fn files_without_a_module_dependencies_without_use_and_full_folders_are_found() {
    let files = [
        ("src/a.rs", "use bytes::Bytes;"),
        (
            "src/b.rs",
            "#[cfg(test)]\nmod tests {\n    use tidegate_store::Store;\n}",
        ),
        ("src/stray.rs", ""),
        ("tests/t.rs", "use bytes::Bytes;"),
    ];
    let package = sample("a b", &files);
    assert_eq!(package.stray, [PathBuf::from("gateway/src/stray.rs")]);
    assert_eq!(
        dependency::unused(&package),
        [
            "gateway/Cargo.toml: only tests name tidegate_store: it belongs under [dev-dependencies]",
            "gateway/Cargo.toml: no test names tempfile"
        ]
    );
    let full: BTreeMap<u32, PathBuf> = (0..13)
        .map(|number| (number, PathBuf::from(format!("a/b/{number}.rs"))))
        .collect();
    let full: Vec<PathBuf> = full.into_values().collect();
    assert!(folder::overfull(&full)[0].contains("a/b: 13 files, at most 12"));
    assert!(folder::overfull(&full[1..]).is_empty());
}
