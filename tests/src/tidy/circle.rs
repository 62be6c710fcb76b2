//! Modules that name each other in a circle, other than a parent with its own children.
//!
//! For every module the parts below it are looked at, each child with all its descendants as one:
//! if they name each other in a circle, the house has no order there. That finds every circle of
//! files too: the files of a circle have a nearest common ancestor, and lie below at least two of
//! its children.

use std::collections::{BTreeMap, BTreeSet};

use super::manifest::Kind;
use super::package::{Package, Target};

/// Who names whom among the children of one module, with the place that shows it.
type Parts = BTreeMap<String, BTreeMap<String, String>>;

/// Every circle of a package, in words. What tests alone name is no part of one.
pub fn circles(package: &Package) -> Vec<String> {
    let mut below: BTreeMap<&[String], Parts> = BTreeMap::new();
    for edge in package.edges() {
        let Target::Module(to) = edge.to else {
            continue;
        };
        let (from, to) = (&package.modules[edge.from], &package.modules[to]);
        // Where a whole crate is a test, its modules are looked at all the same.
        if edge.is_test && from.kind != Kind::Test {
            continue;
        }
        let common = from.path.iter().zip(&to.path).take_while(|(a, b)| a == b);
        let common = common.count();
        if let (Some(a), Some(b)) = (from.path.get(common), to.path.get(common)) {
            let place = format!(
                "{}:{}: {} names {}",
                from.file.display(),
                edge.line,
                from.name(),
                to.name()
            );
            let parts = below.entry(&from.path[..common]).or_default();
            let named = parts.entry(a.clone()).or_default();
            named.entry(b.clone()).or_insert(place);
        }
    }
    below
        .iter()
        .flat_map(|(parent, parts)| {
            let place = match parent.is_empty() {
                true => package.folder.clone(),
                false => format!("{} in {}", parent.join("::"), package.folder),
            };
            knots(parts)
                .into_iter()
                .map(move |knot| told(&place, parts, &knot))
        })
        .collect()
}

/// The parts that reach each other, by groups.
fn knots(parts: &Parts) -> Vec<BTreeSet<String>> {
    let reached: BTreeMap<&String, BTreeSet<&String>> = parts
        .keys()
        .map(|part| (part, reach(parts, part)))
        .collect();
    let reaches = |a: &String, b: &String| reached.get(a).is_some_and(|all| all.contains(b));
    let mut knots = BTreeSet::new();
    for part in parts.keys().filter(|part| reaches(part, part)) {
        let others = parts
            .keys()
            .filter(|other| reaches(part, other) && reaches(other, part));
        knots.insert(others.cloned().collect::<BTreeSet<_>>());
    }
    knots.into_iter().collect()
}

/// Every part that is named by `part`, and by those, and so on.
fn reach<'a>(parts: &'a Parts, part: &String) -> BTreeSet<&'a String> {
    let mut found = BTreeSet::new();
    let mut next: Vec<&String> = parts
        .get(part)
        .into_iter()
        .flat_map(BTreeMap::keys)
        .collect();
    while let Some(part) = next.pop() {
        if found.insert(part) {
            next.extend(parts.get(part).into_iter().flat_map(BTreeMap::keys));
        }
    }
    found
}

fn told(place: &str, parts: &Parts, knot: &BTreeSet<String>) -> String {
    let names: Vec<&str> = knot.iter().map(String::as_str).collect();
    let mut text = format!("{place}: a circle of {}", names.join(", "));
    for from in knot {
        let named = parts.get(from).into_iter().flatten();
        for (_, place) in named.filter(|(to, _)| knot.contains(*to)) {
            text.push_str("\n  ");
            text.push_str(place);
        }
    }
    text
}
