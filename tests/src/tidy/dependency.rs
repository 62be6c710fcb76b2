//! Dependencies that nothing names: each is named where it is declared for, by the sources under
//! `[dependencies]`, by tests and examples under `[dev-dependencies]`.

use std::collections::BTreeSet;
use std::path::Path;

use super::manifest;
use super::package::{Package, Target};

/// Dependencies of a package that nothing names where they are declared for.
pub fn unused(package: &Package) -> Vec<String> {
    let mut named = [BTreeSet::new(), BTreeSet::new()];
    for edge in package.edges() {
        if let Target::Outside(name) = edge.to {
            let is_product = package.modules[edge.from].is_product() && !edge.is_test;
            named[usize::from(!is_product)].insert(name);
        }
    }
    let [product, tests] = named;
    let folder = &package.folder;
    let all = package.manifest.dependencies("dependencies");
    let dev = package.manifest.dependencies("dev-dependencies");
    // What a feature switches on cannot be a dependency of tests alone.
    let is_named = |name: &String| {
        product.contains(name) || package.manifest.is_optional(name) && tests.contains(name)
    };
    let of_product = all.iter().filter(|name| !is_named(name)).map(|name| {
        match tests.contains(name) {
            true => format!(
                "{folder}/Cargo.toml: only tests name {name}: it belongs under [dev-dependencies]"
            ),
            false => format!("{folder}/Cargo.toml: nothing names {name}"),
        }
    });
    let of_tests = dev.iter().filter(|name| !tests.contains(*name));
    let of_tests = of_tests.map(|name| format!("{folder}/Cargo.toml: no test names {name}"));
    let twice = dev.intersection(&all);
    let twice = twice.map(|name| format!("{folder}/Cargo.toml: {name} stands there twice"));
    of_product.chain(of_tests).chain(twice).collect()
}

/// Dependencies of the workspace that no package takes.
///
/// # Errors
/// When the workspace's manifest cannot be read.
pub fn untaken(root: &Path, packages: &[Package]) -> Result<Vec<String>, String> {
    let all = manifest::of_workspace(root)?.into_iter();
    let is_taken = |name: &String| packages.iter().any(|package| package.manifest.takes(name));
    Ok(all
        .filter(|name| !is_taken(name))
        .map(|name| format!("Cargo.toml: no package takes {name} from the workspace"))
        .collect())
}
