//! Which module may name which: the whole graph of every package, held against the lists in
//! `allowed/`.
//!
//! A line is a module and all it may name. In the gateway it stands for a room or for a folder in
//! a room, elsewhere for a file; a kind of source or upstream is `*`, so that a new kind needs no
//! line of its own. Other packages of the workspace are named by their folder, after the modules.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use super::PACKAGES;
use super::package::{Package, Target};

/// Rooms of the gateway in which each folder is one more of a kind, and folders in them that the
/// kinds share.
const KINDS: [(&str, &[&str]); 2] = [("source", &["listener"]), ("upstream", &[])];
/// Where a line of a list is broken.
const COLUMNS: usize = 100;

/// Each module with all it names, as a list has them.
pub type Doors = BTreeMap<String, BTreeSet<String>>;

/// Where the list of a package lies, from `root` on.
pub fn list_path(root: &Path, package: &Package) -> PathBuf {
    let name = package.folder.replace('/', "_");
    root.join(format!("tests/src/tidy/allowed/{name}.txt"))
}

/// What the modules of a package name, and where each first does.
fn found(package: &Package) -> (Doors, BTreeMap<(String, String), String>) {
    let mut doors = Doors::new();
    let mut places = BTreeMap::new();
    let product = package.modules.iter().filter(|module| module.is_product());
    for module in product {
        doors.entry(place(package, &module.path)).or_default();
    }
    for edge in package.edges().into_iter().filter(|edge| !edge.is_test) {
        let from = &package.modules[edge.from];
        if !from.is_product() {
            continue;
        }
        let to = match &edge.to {
            Target::Module(to) => match other_kind(package, edge.from, *to) {
                Some(other) => other,
                None => place(package, &package.modules[*to].path),
            },
            Target::Outside(name) => match ours(name) {
                Some(folder) => format!("[{folder}]"),
                None => continue,
            },
        };
        let line = place(package, &from.path);
        if line != to {
            let shown = format!("{}:{}", from.file.display(), edge.line);
            places.entry((line.clone(), to.clone())).or_insert(shown);
            doors.entry(line).or_default().insert(to);
        }
    }
    (doors, places)
}

/// What a package names now, as a list has it.
pub fn present(package: &Package) -> Doors {
    found(package).0
}

/// The line of a list that a module belongs to.
fn place(package: &Package, path: &[String]) -> String {
    if path.is_empty() {
        return "lib".into();
    }
    if package.folder != "gateway" {
        return path.join("::");
    }
    let room = path[0].as_str();
    let is_folder = |path: &[String]| {
        let mut all = package.modules.iter().filter(|module| !module.is_test);
        all.any(|module| module.path.len() > path.len() && module.path.starts_with(path))
    };
    match path.get(..2) {
        Some(two) if is_folder(two) && is_kind(two) => format!("{room}::*"),
        Some(two) if is_folder(two) => two.join("::"),
        _ => room.into(),
    }
}

fn is_kind(path: &[String]) -> bool {
    let is_room =
        |(room, shared): &(&str, &[&str])| path[0] == *room && !shared.contains(&path[1].as_str());
    KINDS.iter().any(is_room)
}

/// The line of another kind in the same room: one kind does not name another.
fn other_kind(package: &Package, from: usize, to: usize) -> Option<String> {
    let (from, to) = (&package.modules[from].path, &package.modules[to].path);
    let (a, b) = (place(package, from), place(package, to));
    let is_other = a == b && a.ends_with("::*") && from.get(1) != to.get(1);
    is_other.then(|| format!("{b}-of-another-kind"))
}

/// The folder of a package of ours by its name in a path.
fn ours(name: &str) -> Option<&'static str> {
    let name = name.strip_prefix("tidegate_")?;
    PACKAGES
        .into_iter()
        .find(|folder| folder.rsplit('/').next() == Some(name))
}

/// A list as text.
pub fn print(folder: &str, doors: &Doors) -> String {
    let mut text = format!(
        "# What each module of {folder} may name. Compared by the tidy test, which says what differs; written anew\n\
         # with `cargo run -p tidegate-tests --example doors -- --write`.\n"
    );
    let mut last = "";
    for (module, named) in doors {
        let room = module.split("::").next().unwrap_or_default();
        if room != last {
            text.push('\n');
        }
        last = room;
        let mut line = format!("{module}:");
        for name in named {
            if line.len() + 1 + name.len() > COLUMNS {
                text.push_str(&line);
                text.push('\n');
                line = "   ".into();
            }
            line.push(' ');
            line.push_str(name);
        }
        text.push_str(&line);
        text.push('\n');
    }
    text
}

/// A list from its text.
pub fn parse(text: &str) -> Doors {
    let mut doors = Doors::new();
    let mut module = String::new();
    for line in text
        .lines()
        .filter(|line| !line.starts_with('#') && !line.is_empty())
    {
        let mut words = line;
        if !line.starts_with(' ') {
            let (name, rest) = line
                .split_once(": ")
                .unwrap_or((line.trim_end_matches(':'), ""));
            (module, words) = (name.to_owned(), rest);
        }
        let named = doors.entry(module.clone()).or_default();
        named.extend(words.split_whitespace().map(str::to_owned));
    }
    doors
}

/// Every door of a package that its list does not allow, and every one in the list that is none.
pub fn faults(package: &Package, allowed: &Doors) -> Vec<String> {
    let (doors, places) = found(package);
    let list = list_path(Path::new(""), package);
    let list = list.display();
    let empty = BTreeSet::new();
    let mut faults = Vec::new();
    for (from, named) in &doors {
        let may = allowed.get(from);
        if may.is_none() {
            faults.push(format!("{list}: `{from}` has no line"));
        }
        for to in named.difference(may.unwrap_or(&empty)) {
            let place = &places[&(from.clone(), to.clone())];
            faults.push(format!(
                "{place}: `{from}` may not name `{to}`: turn the door round, or if it is meant, let {list} say so"
            ));
        }
    }
    for (from, may) in allowed {
        match doors.get(from) {
            None => faults.push(format!("{list}: there is no `{from}`")),
            Some(named) => faults.extend(may.difference(named).map(|to| {
                format!("{list}: `{from}` does not name `{to}`: the line says too much")
            })),
        }
    }
    faults
}
