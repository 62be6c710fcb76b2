//! The drawing of a package's rooms in its `lib.rs`: from top to bottom, so that every arrow
//! points down, each room with the first sentence of its file and the rooms that it names.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use super::manifest::Kind;
use super::package::{Package, Target};

/// Stands before the drawing in `lib.rs`.
pub const BEGIN: &str = "//! <!-- rooms -->";
/// Stands behind it.
pub const END: &str = "//! <!-- /rooms -->";
/// Where a line is broken.
const COLUMNS: usize = 100;

/// The drawing of a package, with its two marks.
///
/// # Panics
/// When a source file cannot be read.
pub fn draw(root: &Path, package: &Package) -> String {
    let rooms = rooms(package);
    let wide = rooms.keys().map(String::len).max().unwrap_or_default();
    let mut lines = vec![BEGIN.to_owned(), "//! ```text".to_owned()];
    for room in order(&rooms) {
        let file = package
            .modules
            .iter()
            .find(|module| module.path == [room.clone()])
            .expect("a room is a module");
        let text = std::fs::read_to_string(root.join(&file.file)).expect("a source file");
        let sentence = first_sentence(&text);
        lines.extend(wrapped(&format!("//! {room:wide$}  "), &sentence, wide));
        let named: Vec<&str> = rooms[&room].iter().map(String::as_str).collect();
        if !named.is_empty() {
            let front = format!("//! {:wide$}  └▶ ", "");
            lines.extend(wrapped(&front, &named.join(", "), wide + 3));
        }
    }
    lines.extend(["//! ```".to_owned(), END.to_owned()]);
    lines.join("\n")
}

/// The drawing as `lib.rs` has it.
pub fn drawn(lib: &str) -> Option<&str> {
    let begin = lib.find(BEGIN)?;
    let end = lib.find(END)?;
    lib.get(begin..end + END.len())
}

/// Each room with the rooms that it names.
fn rooms(package: &Package) -> BTreeMap<String, BTreeSet<String>> {
    let of_library = |at: usize| {
        let module = &package.modules[at];
        let is_room = module.kind == Kind::Library && module.is_product();
        module.path.first().filter(|_| is_room).cloned()
    };
    let mut rooms: BTreeMap<String, BTreeSet<String>> = BTreeMap::new();
    for at in 0..package.modules.len() {
        if let Some(room) = of_library(at) {
            rooms.entry(room).or_default();
        }
    }
    for edge in package.edges().into_iter().filter(|edge| !edge.is_test) {
        let Target::Module(to) = edge.to else {
            continue;
        };
        if let (Some(from), Some(to)) = (of_library(edge.from), of_library(to))
            && from != to
        {
            rooms.entry(from).or_default().insert(to);
        }
    }
    rooms
}

/// From top to bottom: no room stands below one that it names, as long as there is no circle.
fn order(rooms: &BTreeMap<String, BTreeSet<String>>) -> Vec<String> {
    let mut left: BTreeSet<&String> = rooms.keys().collect();
    let mut order = Vec::new();
    while !left.is_empty() {
        let is_named = |room: &&&String| left.iter().any(|other| rooms[*other].contains(**room));
        let mut top: Vec<&String> = left
            .iter()
            .filter(|room| !is_named(room))
            .copied()
            .collect();
        if top.is_empty() {
            top = left.iter().copied().collect();
        }
        left.retain(|room| !top.contains(room));
        order.extend(top.into_iter().cloned());
    }
    order
}

/// The first sentence of a file's opening words.
fn first_sentence(text: &str) -> String {
    let words: Vec<&str> = text
        .lines()
        .map_while(|line| line.strip_prefix("//!"))
        .map(str::trim)
        .take_while(|line| !line.is_empty())
        .collect();
    let words = words.join(" ");
    match words.split_once(". ") {
        Some((sentence, _)) => sentence.into(),
        None => words.trim_end_matches('.').into(),
    }
}

/// `words` behind `front`, broken where the line is full.
fn wrapped(front: &str, words: &str, indent: usize) -> Vec<String> {
    let mut lines = Vec::new();
    let mut line = front.to_owned();
    let mut is_empty = true;
    for word in words.split(' ') {
        if !is_empty && line.chars().count() + word.chars().count() > COLUMNS {
            lines.push(line.trim_end().to_owned());
            line = format!("//! {:indent$}  ", "");
        }
        line.push_str(word);
        line.push(' ');
        is_empty = false;
    }
    lines.push(line.trim_end().to_owned());
    lines
}
