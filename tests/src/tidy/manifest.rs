//! What a package's manifest says: its name, what is compiled from a root file of its own, and its
//! dependencies.

use std::collections::{BTreeMap, BTreeSet};
use std::path::{Path, PathBuf};

use toml_edit::{DocumentMut, Item, TableLike};

/// What is compiled from a root file of its own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// The package's library.
    Library,
    /// A program.
    Program,
    /// An integration test or an example.
    Test,
}

/// A package's manifest.
pub struct Manifest {
    /// The name of its library in a path.
    pub library: String,
    document: DocumentMut,
}

impl Manifest {
    /// Reads the manifest in `folder`.
    ///
    /// # Errors
    /// When it cannot be read.
    pub fn read(folder: &Path) -> Result<Manifest, String> {
        let document = document(folder)?;
        let name = document["package"]["name"].as_str().unwrap_or_default();
        Ok(Manifest {
            library: name.replace('-', "_"),
            document,
        })
    }

    /// The root file of everything in the package that is compiled on its own, the library first.
    pub fn roots(&self, folder: &Path) -> Vec<(Kind, String, PathBuf)> {
        let mut roots = vec![(Kind::Library, String::new(), folder.join("src/lib.rs"))];
        let mut found = BTreeMap::new();
        for (key, kind, usual) in [
            ("bin", Kind::Program, "src/bin"),
            ("test", Kind::Test, "tests"),
            ("example", Kind::Test, "examples"),
        ] {
            for (name, path) in discovered(&folder.join(usual)) {
                found.insert(path, (kind, name));
            }
            let declared = self.document.get(key).and_then(Item::as_array_of_tables);
            for table in declared.into_iter().flatten() {
                let text = |key| table.get(key).and_then(Item::as_str);
                if let (Some(name), Some(path)) = (text("name"), text("path")) {
                    found.insert(folder.join(path), (kind, name.to_owned()));
                }
            }
        }
        roots.extend(
            found
                .into_iter()
                .map(|(path, (kind, name))| (kind, name, path)),
        );
        roots
    }

    /// The dependencies of a section, as paths name them.
    pub fn dependencies(&self, section: &str) -> BTreeSet<String> {
        let table = self.document.get(section).and_then(Item::as_table_like);
        let names = table.into_iter().flat_map(|table| table.iter());
        names.map(|(name, _)| name.replace('-', "_")).collect()
    }

    /// Whether a feature switches the dependency on, so that a test cannot have it for itself.
    pub fn is_optional(&self, name: &str) -> bool {
        let table = self
            .document
            .get("dependencies")
            .and_then(Item::as_table_like);
        let mut all = table.into_iter().flat_map(|table| table.iter());
        all.any(|(key, item)| {
            let optional = item.get("optional").and_then(Item::as_bool);
            key.replace('-', "_") == name && optional == Some(true)
        })
    }

    /// Whether it takes the dependency `name` from the workspace.
    pub fn takes(&self, name: &str) -> bool {
        let sections = ["dependencies", "dev-dependencies", "build-dependencies"];
        let tables = sections
            .iter()
            .filter_map(|key| self.document.get(key)?.as_table_like());
        tables.into_iter().any(|table: &dyn TableLike| {
            let workspace = table.get(name).and_then(|item| item.get("workspace"));
            workspace.and_then(Item::as_bool) == Some(true)
        })
    }
}

/// The dependencies that the workspace in `root` has for its packages.
///
/// # Errors
/// When its manifest cannot be read.
pub fn of_workspace(root: &Path) -> Result<Vec<String>, String> {
    let workspace = document(root)?;
    let table = workspace["workspace"]["dependencies"].as_table_like();
    let names = table.into_iter().flat_map(|table| table.iter());
    Ok(names.map(|(name, _)| name.to_owned()).collect())
}

fn document(folder: &Path) -> Result<DocumentMut, String> {
    let text = std::fs::read_to_string(folder.join("Cargo.toml"))
        .map_err(|error| format!("Cargo.toml: {error}"))?;
    text.parse().map_err(|error| format!("Cargo.toml: {error}"))
}

/// What cargo finds in a folder of tests, examples or programs: files, and folders with a `main.rs`.
fn discovered(folder: &Path) -> Vec<(String, PathBuf)> {
    let entries = std::fs::read_dir(folder).into_iter().flatten().flatten();
    entries
        .filter_map(|entry| {
            let path = entry.path();
            let name = path.file_stem()?.to_string_lossy().into_owned();
            let main = path.join("main.rs");
            if main.is_file() {
                return Some((name, main));
            }
            let is_source = path.extension().is_some_and(|ending| ending == "rs");
            is_source.then_some((name, path))
        })
        .collect()
}
