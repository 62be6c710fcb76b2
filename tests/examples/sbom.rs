//! Writes what a `tidegate` program consists of, as a CycloneDX document: `target/tidegate.cdx.json`.
//!
//! `cargo run -p tidegate-tests --example sbom`
//!
//! Packages and their versions are those of `Cargo.lock` that go into the program with its default features, on any of the
//! machines it is built for. The same lock file gives the same document, byte by byte.

use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;
use std::process::{Command, ExitCode};

use serde_json::{Value, json};

/// The machines that programs are built for.
const TARGETS: [&str; 4] = [
    "x86_64-unknown-linux-gnu",
    "aarch64-unknown-linux-gnu",
    "aarch64-unknown-linux-musl",
    "armv7-unknown-linux-gnueabihf",
];
/// The package that makes the program.
const PROGRAM: &str = "tidegate";

fn main() -> ExitCode {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("..");
    let written = write(&root);
    match written {
        Ok(path) => {
            println!("{path}");
            ExitCode::SUCCESS
        }
        Err(why) => {
            eprintln!("sbom: {why}");
            ExitCode::FAILURE
        }
    }
}

fn write(root: &Path) -> Result<String, String> {
    let mut parts = Parts::default();
    for target in TARGETS {
        parts.take(&metadata(root, target)?)?;
    }
    let lock = std::fs::read_to_string(root.join("Cargo.lock"))
        .map_err(|error| format!("Cargo.lock: {error}"))?;
    let document = parts.document(&checksums(&lock)?)?;
    let target = std::env::var("CARGO_TARGET_DIR").map_or(root.join("target"), Into::into);
    let path = target.join("tidegate.cdx.json");
    let text = serde_json::to_string_pretty(&document).map_err(|error| error.to_string())?;
    std::fs::create_dir_all(&target)
        .and_then(|()| std::fs::write(&path, text + "\n"))
        .map_err(|error| format!("{}: {error}", path.display()))?;
    let components = parts.packages.len() - 1;
    let path = path.canonicalize().unwrap_or(path);
    Ok(format!("{}: {components} components", path.display()))
}

fn metadata(root: &Path, target: &str) -> Result<Value, String> {
    let output = Command::new(env!("CARGO"))
        .args(["metadata", "--locked", "--format-version", "1"])
        .args(["--filter-platform", target])
        .current_dir(root)
        .output()
        .map_err(|error| format!("cargo metadata: {error}"))?;
    if !output.status.success() {
        let words = String::from_utf8_lossy(&output.stderr);
        return Err(format!("cargo metadata for {target}: {words}"));
    }
    serde_json::from_slice(&output.stdout).map_err(|error| format!("cargo metadata: {error}"))
}

/// The checksums of `Cargo.lock`, by name and version.
fn checksums(lock: &str) -> Result<BTreeMap<(String, String), String>, String> {
    let lock: toml_edit::DocumentMut = lock
        .parse()
        .map_err(|error| format!("Cargo.lock: {error}"))?;
    let packages = lock["package"]
        .as_array_of_tables()
        .ok_or("Cargo.lock holds no packages")?;
    let text = |table: &toml_edit::Table, key| {
        let found = table.get(key).and_then(|item| item.as_str());
        found.map(str::to_owned)
    };
    let entry = |table| {
        let key = (text(table, "name")?, text(table, "version")?);
        Some((key, text(table, "checksum")?))
    };
    Ok(packages.iter().filter_map(entry).collect())
}

/// What goes into the program.
#[derive(Default)]
struct Parts {
    /// What cargo says of each, by its id.
    packages: BTreeMap<String, Value>,
    /// What each needs.
    needs: BTreeMap<String, BTreeSet<String>>,
}

impl Parts {
    /// Adds what the program needs on one machine, to run or to be built.
    fn take(&mut self, metadata: &Value) -> Result<(), String> {
        let of = |list: &Value| -> BTreeMap<String, Value> {
            let list = list.as_array().into_iter().flatten();
            list.map(|one| (string(one, "id"), one.clone())).collect()
        };
        let (packages, nodes) = (of(&metadata["packages"]), of(&metadata["resolve"]["nodes"]));
        let program = packages.iter().find(|(_, one)| one["name"] == PROGRAM);
        let (program, _) = program.ok_or("there is no package tidegate")?;
        let mut open = vec![program.clone()];
        let mut seen = BTreeSet::new();
        while let Some(id) = open.pop() {
            if !seen.insert(id.clone()) {
                continue;
            }
            let package = packages.get(&id).ok_or(format!("{id} is missing"))?;
            self.packages.insert(id.clone(), package.clone());
            let needs = self.needs.entry(id.clone()).or_default();
            let dependencies = nodes.get(&id).and_then(|node| node["deps"].as_array());
            for dependency in dependencies.into_iter().flatten() {
                let kinds = dependency["dep_kinds"].as_array().into_iter().flatten();
                if kinds.into_iter().any(|kind| kind["kind"] != "dev") {
                    let needed = string(dependency, "pkg");
                    needs.insert(needed.clone());
                    open.push(needed);
                }
            }
        }
        Ok(())
    }

    fn document(&self, checksums: &BTreeMap<(String, String), String>) -> Result<Value, String> {
        let program = self.packages.values().find(|one| one["name"] == PROGRAM);
        let program = program.ok_or("there is no package tidegate")?;
        let mut main = component(program, checksums);
        main["type"] = "application".into();
        let mut components: Vec<Value> = self
            .packages
            .values()
            .filter(|one| one["name"] != PROGRAM)
            .map(|one| component(one, checksums))
            .collect();
        components.sort_by_key(|one| string(one, "bom-ref"));
        let mut dependencies: Vec<Value> = Vec::new();
        for (id, needs) in &self.needs {
            let mut on: Vec<String> = needs.iter().map(|id| purl(&self.packages[id])).collect();
            on.sort();
            dependencies.push(json!({ "ref": purl(&self.packages[id]), "dependsOn": on }));
        }
        dependencies.sort_by_key(|one| string(one, "ref"));
        Ok(json!({
            "$schema": "http://cyclonedx.org/schema/bom-1.5.schema.json",
            "bomFormat": "CycloneDX",
            "specVersion": "1.5",
            "version": 1,
            "metadata": { "component": main },
            "components": components,
            "dependencies": dependencies,
        }))
    }
}

fn component(package: &Value, checksums: &BTreeMap<(String, String), String>) -> Value {
    let (name, version) = (string(package, "name"), string(package, "version"));
    let mut component = json!({
        "type": "library",
        "bom-ref": purl(package),
        "name": name,
        "version": version,
        "purl": purl(package),
    });
    if let Some(words) = package["description"].as_str() {
        component["description"] = words.trim().into();
    }
    if let Some(license) = package["license"].as_str() {
        // Older packages write `MIT/Apache-2.0`, which SPDX does not know.
        let expression = license.replace('/', " OR ");
        component["licenses"] = json!([{ "expression": expression }]);
    }
    if let Some(checksum) = checksums.get(&(name, version)) {
        component["hashes"] = json!([{ "alg": "SHA-256", "content": checksum }]);
    }
    if let Some(repository) = package["repository"].as_str() {
        component["externalReferences"] = json!([{ "type": "vcs", "url": repository }]);
    }
    component
}

/// The name of a package among those of all languages.
fn purl(package: &Value) -> String {
    let (name, version) = (string(package, "name"), string(package, "version"));
    format!("pkg:cargo/{name}@{}", version.replace('+', "%2B"))
}

fn string(value: &Value, key: &str) -> String {
    value[key].as_str().unwrap_or_default().to_owned()
}
