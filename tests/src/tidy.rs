//! The house rules as functions over text, so that they can be tested themselves.

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
    faults.extend(edges(path, text));
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

/// Rooms of the gateway, and what none of their files may import.
const GATEWAY_EDGES: [(&str, &[&str]); 5] = [
    (
        "source",
        &["forward", "run", "cli", "control", "demo", "history"],
    ),
    (
        "upstream",
        &[
            "source", "intake", "forward", "run", "cli", "control", "demo",
        ],
    ),
    ("intake", &["forward", "upstream", "run", "cli", "demo"]),
    ("forward", &["intake", "run", "cli", "control", "demo"]),
    (
        "config",
        &["source", "intake", "forward", "upstream", "run"],
    ),
];

/// Imports between the gateway's own rooms that must not be.
fn gateway_edges(path: &str) -> Vec<String> {
    let inside = path.strip_prefix("gateway/src/").unwrap_or_default();
    GATEWAY_EDGES
        .iter()
        .filter(|(room, _)| {
            inside
                .strip_prefix(room)
                .is_some_and(|rest| rest.starts_with(['.', '/']))
        })
        .flat_map(|(_, never)| never.iter().map(|room| format!("crate::{room}::")))
        .collect()
}

/// Imports that a room must not have, and clocks outside the one place for them.
fn edges(path: &str, text: &str) -> Vec<String> {
    let mut forbidden: Vec<&str> = Vec::new();
    let ours = [
        "tidegate_rules",
        "tidegate_store",
        "tidegate_link",
        "tidegate_device",
        "tidegate::",
    ];
    for (room, own) in [
        ("rules/", ours[0]),
        ("store/", ours[1]),
        ("firmware/link/", ours[2]),
    ] {
        if path.starts_with(room) {
            forbidden.extend(ours.iter().filter(|name| **name != own));
        }
    }
    if !path.starts_with("store/") {
        forbidden.push("sled::");
    }
    let pure = path.starts_with("rules/src") || path.starts_with("firmware/link/src");
    let gateway = path.starts_with("gateway/src") && path != "gateway/src/time/clock.rs";
    if pure || gateway {
        forbidden.extend(["Instant::now(", "SystemTime::now("]);
    }
    if path.starts_with("rules/src") {
        forbidden.extend(["tokio::", "std::net", "std::fs"]);
    }
    let inside = gateway_edges(path);
    forbidden.extend(inside.iter().map(String::as_str));
    // What tests of a file import is no edge between rooms.
    let code = text.split("#[cfg(test)]").next().unwrap_or_default();
    let code = code
        .lines()
        .filter(|line| !line.trim_start().starts_with("//"));
    code.flat_map(|line| forbidden.iter().filter(move |word| line.contains(**word)))
        .map(|word| format!("{path}: {word} does not belong here"))
        .collect()
}
