//! What one file must open with, how long it and its functions may be, what is not left behind in
//! it, and which words have their place elsewhere.

/// Lines a file may have.
pub const FILE_LINES_MAX: usize = 500;
/// Lines a function may have.
pub const FUNCTION_LINES_MAX: usize = 70;

/// Everything in one source file that breaks a rule of the house.
pub fn faults(path: &str, text: &str) -> Vec<String> {
    let mut faults = Vec::new();
    if !text.starts_with("//!") {
        faults.push(format!("{path}: does not open with //!"));
    }
    let lines = text.lines().count();
    if lines > FILE_LINES_MAX {
        faults.push(format!("{path}: {lines} lines, at most {FILE_LINES_MAX}"));
    }
    for (name, lines) in functions(text) {
        if lines > FUNCTION_LINES_MAX {
            faults.push(format!(
                "{path}: fn {name} has {lines} lines, at most {FUNCTION_LINES_MAX}"
            ));
        }
    }
    for word in [
        concat!("todo", "!("),
        concat!("dbg", "!("),
        concat!("unimplemented", "!("),
        concat!("#[", "ignore"),
    ] {
        if text.contains(word) {
            faults.push(format!("{path}: {word} is left behind"));
        }
    }
    faults.extend(misplaced(path, text));
    faults
}

/// Names and lengths of the functions of a formatted file: from `fn` to the closing brace that
/// stands in the same column.
pub fn functions(text: &str) -> Vec<(String, usize)> {
    let lines: Vec<&str> = text.lines().collect();
    let mut found = Vec::new();
    for (at, line) in lines.iter().enumerate() {
        let Some(name) = function_name(line) else {
            continue;
        };
        let indent = line.len() - line.trim_start().len();
        let close = format!("{}}}", " ".repeat(indent));
        let body = lines[at..].iter().position(|line| *line == close);
        let one_line = line.trim_end().ends_with(';') || line.trim_end().ends_with('}');
        if let (Some(length), false) = (body, one_line) {
            found.push((name.to_owned(), length + 1));
        }
    }
    found
}

fn function_name(line: &str) -> Option<&str> {
    let mut rest = line.trim_start();
    for word in [
        "pub(crate) ",
        "pub(super) ",
        "pub ",
        "const ",
        "async ",
        "unsafe ",
        "extern \"C\" ",
    ] {
        rest = rest.strip_prefix(word).unwrap_or(rest);
    }
    let rest = rest.strip_prefix("fn ")?;
    rest.split(['(', '<']).next()
}

/// Names of ours that a package never uses: those of the packages above and beside it.
const OURS: [&str; 5] = [
    "tidegate_rules",
    "tidegate_store",
    "tidegate_link",
    "tidegate_device",
    "tidegate::",
];
/// Packages that use none of ours but themselves.
const LEAVES: [(&str, &str); 3] = [
    ("rules/", "tidegate_rules"),
    ("store/", "tidegate_store"),
    ("firmware/link/", "tidegate_link"),
];
/// Where time, chance, disk and network come in from outside.
const PURE: [&str; 3] = [
    "rules/src/",
    "firmware/link/src/",
    "gateway/src/forward/lane.rs",
];
/// What is not used there. Chance that comes from a given seed is none.
const IMPURE: [&str; 12] = [
    "tokio::",
    "std::fs",
    "std::net",
    "std::thread",
    "std::process",
    "std::env",
    "fastrand::Rng::new(",
    "fastrand::u",
    "fastrand::i",
    "fastrand::f",
    "fastrand::bool(",
    "fastrand::choice(",
];
const CLOCKS: [&str; 2] = ["Instant::now(", "SystemTime::now("];
/// The one file of the gateway that reads clocks.
const CLOCK: &str = "gateway/src/time/clock.rs";

/// Names that have no place in a file, and clocks outside the one place for them.
fn misplaced(path: &str, text: &str) -> Vec<String> {
    let mut forbidden: Vec<&str> = Vec::new();
    for (_, own) in LEAVES.iter().filter(|(folder, _)| path.starts_with(folder)) {
        forbidden.extend(OURS.iter().filter(|name| *name != own));
    }
    if !path.starts_with("store/") {
        forbidden.push("sled::");
    }
    let is_pure = PURE.iter().any(|place| path.starts_with(place));
    if is_pure {
        forbidden.extend(IMPURE);
    }
    if is_pure || path.starts_with("gateway/src") && path != CLOCK {
        forbidden.extend(CLOCKS);
    }
    // What tests of a file use is no matter of its place.
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| forbidden.iter().filter(move |word| line.contains(**word)))
        .map(|word| format!("{path}: {word} does not belong here"))
        .collect()
}
