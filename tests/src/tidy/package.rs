//! The modules of one package, and which of them names which, as far as paths tell: a method that
//! is called through a value shows no path.

use std::collections::{BTreeMap, HashSet};
use std::path::{Path, PathBuf};

use super::manifest::{Kind, Manifest};
use super::source::{self, Declared, Purpose, Source};

/// One package.
pub struct Package {
    /// Its folder below the root of the workspace.
    pub folder: String,
    /// What its manifest says.
    pub manifest: Manifest,
    /// Its modules; those of its library first.
    pub modules: Vec<Module>,
    /// Source files that no module declares.
    pub stray: Vec<PathBuf>,
}

/// One module.
pub struct Module {
    /// Its path from its crate's root on; that of a crate beside the library begins with its name
    /// in pointed brackets.
    pub path: Vec<String>,
    /// The file it stands in, from the root of the workspace on.
    pub file: PathBuf,
    /// What kind of crate it is part of.
    pub kind: Kind,
    /// Whether it is compiled for tests alone.
    pub is_test: bool,
    /// The module whose file this is; another one where it stands inside that file.
    home: usize,
    /// The root of its crate.
    root: usize,
    children: BTreeMap<String, usize>,
    defined: Vec<String>,
    names: Vec<Used>,
}

/// A name that a module uses.
pub(super) struct Used {
    pub(super) path: Vec<String>,
    pub(super) is_global: bool,
    pub(super) line: usize,
    pub(super) is_test: bool,
    pub(super) purpose: Purpose,
}

/// Where a path leads.
#[derive(Debug, Clone, PartialEq, Eq, Hash)]
pub enum Target {
    /// To a module of this package, or to something that it defines.
    Module(usize),
    /// Out of the package, or to something without a path, as a type or a variable.
    Outside(String),
}

/// One module names another.
#[derive(Debug, Clone)]
pub struct Edge {
    /// Which.
    pub from: usize,
    /// Whom.
    pub to: Target,
    /// Where first.
    pub line: usize,
    /// Whether only its tests do.
    pub is_test: bool,
}

impl Package {
    /// Reads the package in `folder` below `root`.
    ///
    /// # Errors
    /// When its manifest or a source file cannot be read, or a module has no file.
    pub fn read(root: &Path, folder: &str) -> Result<Package, String> {
        let manifest = Manifest::read(&root.join(folder))?;
        let mut package = Package {
            folder: folder.into(),
            manifest,
            modules: Vec::new(),
            stray: Vec::new(),
        };
        for (kind, name, file) in package.manifest.roots(&root.join(folder)) {
            let path = match kind {
                Kind::Library => Vec::new(),
                _ => vec![format!("<{name}>")],
            };
            let at = package.modules.len();
            let parent = Place {
                path,
                kind,
                is_test: kind == Kind::Test,
                root: at,
            };
            let beside = file.parent().unwrap_or(root).to_owned();
            package.load(root, &file, &beside, parent)?;
        }
        package.stray = package.unread(root);
        Ok(package)
    }

    /// Reads one file as the module at `place`, and what it declares in `beside`.
    fn load(
        &mut self,
        root: &Path,
        file: &Path,
        beside: &Path,
        place: Place,
    ) -> Result<usize, String> {
        let shown = file.strip_prefix(root).unwrap_or(file).to_owned();
        let fault = |what: &dyn std::fmt::Display| format!("{}: {what}", shown.display());
        let text = std::fs::read_to_string(file).map_err(|error| fault(&error))?;
        let source = source::read(&text).map_err(|error| fault(&error))?;
        let home = self.push(shown.clone(), &place, None);
        for inline in &source.inline {
            let inside = place.child(&inline.scope, inline.is_test);
            let at = self.push(shown.clone(), &inside, Some(home));
            self.adopt(home, &inline.scope, at);
        }
        for declared in &source.declared {
            let (path, below) = locate(file, beside, declared).map_err(|error| fault(&error))?;
            let mut scope = declared.scope.clone();
            scope.push(declared.name.clone());
            let at = self.load(root, &path, &below, place.child(&scope, declared.is_test))?;
            self.adopt(home, &scope, at);
        }
        self.fill(home, source);
        Ok(home)
    }

    fn push(&mut self, file: PathBuf, place: &Place, home: Option<usize>) -> usize {
        let at = self.modules.len();
        self.modules.push(Module {
            path: place.path.clone(),
            file,
            kind: place.kind,
            is_test: place.is_test,
            home: home.unwrap_or(at),
            root: place.root,
            children: BTreeMap::new(),
            defined: Vec::new(),
            names: Vec::new(),
        });
        at
    }

    /// Makes the module `at` known under `scope` inside `home`.
    fn adopt(&mut self, home: usize, scope: &[String], at: usize) {
        let Some((name, above)) = scope.split_last() else {
            return;
        };
        if let Some(parent) = self.inside(home, above) {
            self.modules[parent].children.insert(name.clone(), at);
        }
    }

    /// The module `scope` inside `home`.
    fn inside(&self, home: usize, scope: &[String]) -> Option<usize> {
        scope.iter().try_fold(home, |at, name| {
            self.modules[at].children.get(name).copied()
        })
    }

    fn fill(&mut self, home: usize, source: Source) {
        for (scope, name) in source.defined {
            let at = self.inside(home, &scope).unwrap_or(home);
            self.modules[at].defined.push(name);
        }
        for name in source.names {
            let at = self.inside(home, &name.scope).unwrap_or(home);
            let used = Used {
                path: name.path,
                is_global: name.is_global,
                line: name.line,
                is_test: name.is_test || self.modules[at].is_test,
                purpose: name.purpose,
            };
            self.modules[at].names.push(used);
        }
    }

    /// Files of the library and the programs that are compiled for tests alone.
    pub fn test_files(&self) -> impl Iterator<Item = &Path> {
        let modules = self.modules.iter().enumerate();
        modules
            .filter(|(at, module)| module.home == *at && module.is_test)
            .filter(|(_, module)| module.kind != Kind::Test)
            .map(|(_, module)| module.file.as_path())
    }

    /// Every module with every other one, and every name outside, that it names; once each.
    pub fn edges(&self) -> Vec<Edge> {
        let mut known = HashSet::new();
        let mut edges = Vec::new();
        for (at, module) in self.modules.iter().enumerate() {
            for used in &module.names {
                let to = match self.resolve(at, &used.path, used.is_global, &mut Vec::new()) {
                    Some(Target::Module(to)) => Target::Module(self.modules[to].home),
                    Some(outside) => outside,
                    None => continue,
                };
                let (from, line, is_test) = (module.home, used.line, used.is_test);
                let is_new = known.insert((from, to.clone(), is_test));
                if is_new && to != Target::Module(from) {
                    edges.push(Edge {
                        from,
                        to,
                        line,
                        is_test,
                    });
                }
            }
        }
        edges
    }

    /// Where `path` leads, written in the module `from`; re-exports are followed. `seen` are the
    /// imports that are being followed.
    fn resolve(
        &self,
        from: usize,
        path: &[String],
        is_global: bool,
        seen: &mut Vec<(usize, String)>,
    ) -> Option<Target> {
        let (first, rest) = path.split_first()?;
        let outside = || Some(Target::Outside(first.clone()));
        if is_global {
            return outside();
        }
        let parent = |at: usize| self.parent(at);
        let target = match first.as_str() {
            "crate" => Target::Module(self.modules[from].root),
            "self" => Target::Module(from),
            "super" => {
                let above = rest.iter().take_while(|word| *word == "super").count();
                let at = (0..above).try_fold(parent(from)?, |at, _| parent(at))?;
                return self.walk(Target::Module(at), &rest[above..], seen);
            }
            // A program names the library of its package like any other crate.
            name if name == self.manifest.library && self.modules[from].kind != Kind::Library => {
                Target::Module(0)
            }
            name => match self.lookup(from, name, true, seen) {
                Some(found) => found,
                None => return outside(),
            },
        };
        self.walk(target, rest, seen)
    }

    /// Goes on from `target` along `rest`, as far as modules go.
    fn walk(
        &self,
        target: Target,
        rest: &[String],
        seen: &mut Vec<(usize, String)>,
    ) -> Option<Target> {
        let Target::Module(at) = target else {
            return Some(target);
        };
        let Some((name, rest)) = rest.split_first() else {
            return Some(target);
        };
        match self.lookup(at, name, false, seen) {
            // What the module defines itself, or something that a path cannot tell.
            Some(Target::Module(next)) if next == at => Some(target),
            None => Some(target),
            Some(next) => self.walk(next, rest, seen),
        }
    }

    /// What `name` stands for in the module `at`: for the module itself if `is_own`, else for others.
    fn lookup(
        &self,
        at: usize,
        name: &str,
        is_own: bool,
        seen: &mut Vec<(usize, String)>,
    ) -> Option<Target> {
        let module = &self.modules[at];
        if let Some(child) = module.children.get(name) {
            return Some(Target::Module(*child));
        }
        if module.defined.iter().any(|defined| defined == name) {
            return Some(Target::Module(at));
        }
        let key = (at, name.to_owned());
        if seen.contains(&key) {
            return None;
        }
        seen.push(key);
        let found = module.names.iter().find_map(|used| match &used.purpose {
            Purpose::Import { local, is_public } if local == name && (is_own || *is_public) => {
                self.resolve(at, &used.path, used.is_global, seen)
            }
            Purpose::Glob { is_public } if is_own || *is_public => {
                match self.resolve(at, &used.path, used.is_global, seen)? {
                    Target::Module(from) if from != at => self.lookup(from, name, false, seen),
                    _ => None,
                }
            }
            _ => None,
        });
        seen.pop();
        found
    }

    fn parent(&self, at: usize) -> Option<usize> {
        let module = &self.modules[at];
        let (_, above) = module.path.split_last()?;
        let is_parent = |other: &Module| other.root == module.root && other.path == above;
        self.modules.iter().position(is_parent)
    }

    /// Source files of its folder that no module declares.
    fn unread(&self, root: &Path) -> Vec<PathBuf> {
        let mut found = Vec::new();
        super::folder::sources(&root.join(&self.folder), &mut found);
        found
            .into_iter()
            .map(|file| file.strip_prefix(root).unwrap_or(&file).to_owned())
            .filter(|file| *file != Path::new(&self.folder).join("build.rs"))
            .filter(|file| self.modules.iter().all(|module| module.file != *file))
            .collect()
    }
}

impl Module {
    /// Its path as it is written, `lib` for the root of the library.
    pub fn name(&self) -> String {
        match self.path.is_empty() {
            true => "lib".into(),
            false => self.path.join("::"),
        }
    }

    /// Whether users run it: no test, no example.
    pub fn is_product(&self) -> bool {
        self.kind != Kind::Test && !self.is_test
    }
}

/// Where in its crate a module is.
struct Place {
    path: Vec<String>,
    kind: Kind,
    is_test: bool,
    root: usize,
}

impl Place {
    fn child(&self, scope: &[String], is_test: bool) -> Place {
        Place {
            path: [self.path.as_slice(), scope].concat(),
            kind: self.kind,
            is_test: self.is_test || is_test,
            root: self.root,
        }
    }
}

/// The file of a declared module, and the folder of the modules that it declares.
fn locate(file: &Path, beside: &Path, declared: &Declared) -> Result<(PathBuf, PathBuf), String> {
    let name = &declared.name;
    if let Some(path) = &declared.path {
        let path = file.parent().unwrap_or(beside).join(path);
        let below = path.parent().unwrap_or(beside).to_owned();
        return Ok((path, below));
    }
    let mut folder = beside.to_owned();
    folder.extend(&declared.scope);
    let below = folder.join(name);
    let usual = [folder.join(format!("{name}.rs")), below.join("mod.rs")];
    match usual.into_iter().find(|path| path.is_file()) {
        Some(path) => Ok((path, below)),
        None => Err(format!("module {name} has no file")),
    }
}
