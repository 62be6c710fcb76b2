//! Reads one source file: the modules it declares, what it defines, and every name it uses, in
//! `use` trees, in paths and inside macros. Comments and strings are no names.

use proc_macro2::{TokenStream, TokenTree};
use syn::visit::{self, Visit};
use syn::{Attribute, Item, Meta, UseTree, Visibility};

/// What one file says.
#[derive(Debug, Default)]
pub struct Source {
    /// `mod name;`, whose text lies in another file.
    pub declared: Vec<Declared>,
    /// Modules whose text stands in this file, by their path inside it.
    pub inline: Vec<Inline>,
    /// Names of what is defined, with the path of the module inside this file.
    pub defined: Vec<(Vec<String>, String)>,
    /// Every name that is used.
    pub names: Vec<Name>,
}

/// A module of another file.
#[derive(Debug)]
pub struct Declared {
    /// The module inside this file that declares it; mostly none.
    pub scope: Vec<String>,
    /// Its name.
    pub name: String,
    /// Where its text lies, if not at the usual place.
    pub path: Option<String>,
    /// Whether it is compiled for tests alone.
    pub is_test: bool,
}

/// A module whose text stands inside the file.
#[derive(Debug)]
pub struct Inline {
    /// Its path inside the file.
    pub scope: Vec<String>,
    /// Whether it is compiled for tests alone.
    pub is_test: bool,
}

/// One use of a name.
#[derive(Debug)]
pub struct Name {
    /// The module inside this file that uses it; mostly none.
    pub scope: Vec<String>,
    /// Its segments as they are written.
    pub path: Vec<String>,
    /// Whether it begins with `::`.
    pub is_global: bool,
    /// Where it stands.
    pub line: usize,
    /// Whether only tests use it.
    pub is_test: bool,
    /// What it is there for.
    pub purpose: Purpose,
}

/// What a name is there for.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Purpose {
    /// `use path as local`, and whether others get at it there.
    Import {
        /// The name it has here.
        local: String,
        /// Whether others get at it there.
        is_public: bool,
    },
    /// `use path::*`, and whether others get at what it brings.
    Glob {
        /// Whether others get at what it brings.
        is_public: bool,
    },
    /// A path in an expression, a type, an attribute or a macro.
    Inline,
}

/// Reads the text of one file.
///
/// # Errors
/// When it is no Rust.
pub fn read(text: &str) -> Result<Source, String> {
    let file = syn::parse_file(text)
        .map_err(|error| format!("line {}: {error}", error.span().start().line))?;
    let mut reader = Reader::default();
    reader.visit_file(&file);
    Ok(reader.source)
}

#[derive(Default)]
struct Reader {
    source: Source,
    scope: Vec<String>,
    /// How many blocks of functions are open: what they define is theirs alone.
    blocks: usize,
    /// How many items around are for tests alone.
    tests: usize,
}

impl Reader {
    fn name(&mut self, path: Vec<String>, is_global: bool, line: usize, purpose: Purpose) {
        self.source.names.push(Name {
            scope: self.scope.clone(),
            path,
            is_global,
            line,
            is_test: self.tests > 0,
            purpose,
        });
    }

    /// Every path of a `use` tree.
    fn tree(&mut self, tree: &UseTree, before: &[String], is_global: bool, is_public: bool) {
        let mut path = before.to_vec();
        match tree {
            UseTree::Path(next) => {
                path.push(next.ident.to_string());
                self.tree(&next.tree, &path, is_global, is_public);
            }
            UseTree::Group(group) => {
                for item in &group.items {
                    self.tree(item, before, is_global, is_public);
                }
            }
            UseTree::Glob(glob) => {
                let line = glob.star_token.spans[0].start().line;
                self.name(path, is_global, line, Purpose::Glob { is_public });
            }
            UseTree::Name(name) => {
                path.push(name.ident.to_string());
                let line = name.ident.span().start().line;
                self.import(path, None, is_global, is_public, line);
            }
            UseTree::Rename(name) => {
                path.push(name.ident.to_string());
                let local = name.rename.to_string();
                let line = name.ident.span().start().line;
                self.import(path, Some(local), is_global, is_public, line);
            }
        }
    }

    fn import(
        &mut self,
        mut path: Vec<String>,
        local: Option<String>,
        is_global: bool,
        is_public: bool,
        line: usize,
    ) {
        // `use a::b::{self}` names `a::b`.
        if path.len() > 1 && path.last().is_some_and(|last| last == "self") {
            path.pop();
        }
        let local = local.or_else(|| path.last().cloned()).unwrap_or_default();
        self.name(path, is_global, line, Purpose::Import { local, is_public });
    }

    /// Paths in tokens that are not parsed: what macros and attributes are given.
    fn tokens(&mut self, tokens: TokenStream) {
        let mut path: Vec<String> = Vec::new();
        let mut line = 0;
        // Colons since the last word.
        let mut colons = 0;
        for token in tokens {
            match token {
                TokenTree::Punct(punct) if punct.as_char() == ':' => {
                    colons += 1;
                    continue;
                }
                TokenTree::Ident(ident) => {
                    if colons != 2 {
                        self.end(&mut path, line);
                    }
                    if path.is_empty() {
                        line = ident.span().start().line;
                    }
                    path.push(ident.to_string());
                }
                TokenTree::Group(group) => {
                    self.end(&mut path, line);
                    self.tokens(group.stream());
                }
                _ => self.end(&mut path, line),
            }
            colons = 0;
        }
        self.end(&mut path, line);
    }

    fn end(&mut self, path: &mut Vec<String>, line: usize) {
        let path = std::mem::take(path);
        if path.len() > 1 {
            self.name(path, false, line, Purpose::Inline);
        }
    }

    fn define(&mut self, item: &Item) {
        let name = match item {
            Item::Const(item) => &item.ident,
            Item::Enum(item) => &item.ident,
            Item::Fn(item) => &item.sig.ident,
            Item::Static(item) => &item.ident,
            Item::Struct(item) => &item.ident,
            Item::Trait(item) => &item.ident,
            Item::Type(item) => &item.ident,
            Item::Union(item) => &item.ident,
            _ => return,
        };
        let defined = (self.scope.clone(), name.to_string());
        self.source.defined.push(defined);
    }
}

impl<'ast> Visit<'ast> for Reader {
    fn visit_item(&mut self, item: &'ast Item) {
        let tests = usize::from(is_for_tests(attributes(item)));
        self.tests += tests;
        if self.blocks == 0 {
            self.define(item);
        }
        visit::visit_item(self, item);
        self.tests -= tests;
    }

    fn visit_impl_item_fn(&mut self, function: &'ast syn::ImplItemFn) {
        let tests = usize::from(is_for_tests(&function.attrs));
        self.tests += tests;
        visit::visit_impl_item_fn(self, function);
        self.tests -= tests;
    }

    fn visit_block(&mut self, block: &'ast syn::Block) {
        self.blocks += 1;
        visit::visit_block(self, block);
        self.blocks -= 1;
    }

    fn visit_item_mod(&mut self, module: &'ast syn::ItemMod) {
        let (name, is_test) = (module.ident.to_string(), self.tests > 0);
        if module.content.is_none() {
            self.source.declared.push(Declared {
                scope: self.scope.clone(),
                name,
                path: path_attribute(&module.attrs),
                is_test,
            });
            return;
        }
        self.scope.push(name);
        let scope = self.scope.clone();
        self.source.inline.push(Inline { scope, is_test });
        visit::visit_item_mod(self, module);
        self.scope.pop();
    }

    fn visit_item_use(&mut self, item: &'ast syn::ItemUse) {
        let is_public = !matches!(item.vis, Visibility::Inherited);
        let is_global = item.leading_colon.is_some();
        self.tree(&item.tree, &[], is_global, is_public);
    }

    fn visit_path(&mut self, path: &'ast syn::Path) {
        let segments = path.segments.iter();
        let named: Vec<String> = segments.map(|segment| segment.ident.to_string()).collect();
        if named.len() > 1 {
            let line = path.segments[0].ident.span().start().line;
            let is_global = path.leading_colon.is_some();
            self.name(named, is_global, line, Purpose::Inline);
        }
        visit::visit_path(self, path);
    }

    fn visit_macro(&mut self, call: &'ast syn::Macro) {
        self.tokens(call.tokens.clone());
        visit::visit_macro(self, call);
    }

    fn visit_meta_list(&mut self, list: &'ast syn::MetaList) {
        self.tokens(list.tokens.clone());
        visit::visit_meta_list(self, list);
    }
}

fn attributes(item: &Item) -> &[Attribute] {
    match item {
        Item::Const(item) => &item.attrs,
        Item::Enum(item) => &item.attrs,
        Item::Fn(item) => &item.attrs,
        Item::Impl(item) => &item.attrs,
        Item::Macro(item) => &item.attrs,
        Item::Mod(item) => &item.attrs,
        Item::Static(item) => &item.attrs,
        Item::Struct(item) => &item.attrs,
        Item::Trait(item) => &item.attrs,
        Item::Type(item) => &item.attrs,
        Item::Use(item) => &item.attrs,
        _ => &[],
    }
}

/// `#[cfg(test)]`, alone or with more.
fn is_for_tests(attributes: &[Attribute]) -> bool {
    attributes.iter().any(|attribute| match &attribute.meta {
        Meta::List(list) if list.path.is_ident("cfg") => {
            let words = list.tokens.to_string();
            words == "test" || words.starts_with("all (test")
        }
        _ => false,
    })
}

fn path_attribute(attributes: &[Attribute]) -> Option<String> {
    let value = attributes
        .iter()
        .find_map(|attribute| match &attribute.meta {
            Meta::NameValue(pair) if pair.path.is_ident("path") => Some(&pair.value),
            _ => None,
        })?;
    match value {
        syn::Expr::Lit(literal) => match &literal.lit {
            syn::Lit::Str(text) => Some(text.value()),
            _ => None,
        },
        _ => None,
    }
}
