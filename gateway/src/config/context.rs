//! One configuration file while it is read: its text, its surroundings, and the diagnostics so far.

use std::cell::{Cell, RefCell};
use std::collections::BTreeMap;
use std::ops::Range;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use tidegate_rules::diagnostic::Diagnostic;

/// Errors that are told one by one.
const ERRORS_MAX: usize = 200;

/// Bytes of the file.
pub(crate) type Span = Range<usize>;

/// A value with its place; defaults stand at the section's heading.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Spanned<T> {
    pub(crate) value: T,
    pub(crate) span: Span,
}

/// Looks up an environment variable.
pub(crate) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// A file that the configuration names and that was read with it: a certificate, a key or a secret.
#[derive(Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct ReadFile {
    /// Where it is.
    pub path: PathBuf,
    /// Of what it held.
    pub digest: String,
    /// What it held.
    pub text: Arc<str>,
}

/// Without what it held, and the digest, which may be of a secret.
impl std::fmt::Debug for ReadFile {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        self.path.fmt(f)
    }
}

/// The state that all sections of one file share.
pub(crate) struct Context<'a> {
    file: &'a str,
    text: &'a str,
    folder: PathBuf,
    variables: Variables<'a>,
    reported: RefCell<Vec<Diagnostic>>,
    errors: Cell<usize>,
    untold: Cell<usize>,
    rules_missing: RefCell<Option<Diagnostic>>,
    /// What of it is wrong with files and variables, and not with the text.
    outside: RefCell<Vec<Diagnostic>>,
    read_files: RefCell<Vec<ReadFile>>,
    /// Variables that were expanded, with what they hold.
    expanded: RefCell<BTreeMap<String, String>>,
    /// Whether parts of the file were left out, which were no TOML: what is missing may have been there.
    pub(super) is_incomplete: bool,
    held: &'a [ReadFile],
}

impl<'a> Context<'a> {
    /// For reading `text`, the contents of `path`, which messages call `file`. The files `held` are not read:
    /// they hold what they held.
    pub(super) fn new(
        path: &Path,
        file: &'a str,
        text: &'a str,
        variables: Variables<'a>,
        held: &'a [ReadFile],
    ) -> Self {
        Context {
            file,
            text,
            folder: path.parent().map(Path::to_owned).unwrap_or_default(),
            variables,
            reported: RefCell::new(Vec::new()),
            errors: Cell::new(0),
            untold: Cell::new(0),
            rules_missing: RefCell::new(None),
            outside: RefCell::default(),
            read_files: RefCell::default(),
            expanded: RefCell::default(),
            is_incomplete: false,
            held,
        }
    }

    /// With what is wrong with parts that were left out.
    pub(super) fn with_errors(self, errors: Vec<Diagnostic>) -> Self {
        Context {
            is_incomplete: !errors.is_empty(),
            errors: Cell::new(errors.len()),
            reported: RefCell::new(errors),
            ..self
        }
    }

    /// An error at `span`, to be given to [`Context::report`].
    pub(crate) fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        // Where it is takes a look at all that stands before it, and this one is only counted.
        let text = if self.is_full() { "" } else { self.text };
        Diagnostic::error(self.file, text, span, message)
    }

    /// A warning at `span`, to be given to [`Context::report`].
    pub(crate) fn warning(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(self.file, self.text, span, message)
    }

    /// Remembers it for the end, once.
    pub(crate) fn report(&self, diagnostic: Diagnostic) {
        if self.is_full() {
            self.untold.set(self.untold.get() + 1);
            return;
        }
        let mut reported = self.reported.borrow_mut();
        if !reported.contains(&diagnostic) {
            let is_error = usize::from(diagnostic.is_error());
            self.errors.set(self.errors.get() + is_error);
            reported.push(diagnostic);
        }
    }

    /// Whether more errors are there than anybody reads at once; what comes then is counted.
    fn is_full(&self) -> bool {
        self.errors.get() >= ERRORS_MAX
    }

    /// Remembers what is wrong with the rules folder: a gateway may know its last good rules.
    pub(crate) fn report_rules_missing(&self, diagnostic: Diagnostic) {
        self.rules_missing.replace(Some(diagnostic));
    }

    /// Remembers what is wrong with a file or a variable that the text names, while the text may be as it should.
    pub(crate) fn report_outside(&self, diagnostic: Diagnostic) {
        self.outside.borrow_mut().push(diagnostic.clone());
        self.report(diagnostic);
    }

    /// What [`Context::report_outside`] was given.
    pub(super) fn outside(&self) -> Vec<Diagnostic> {
        self.outside.borrow().clone()
    }

    /// What [`Context::report_rules_missing`] was given.
    pub(super) fn rules_missing(&self) -> Option<Diagnostic> {
        self.rules_missing.borrow().clone()
    }

    /// What a file held that is not to be read.
    pub(super) fn held(&self, path: &Path) -> Option<&'a ReadFile> {
        self.held.iter().find(|file| file.path == path)
    }

    /// Whether one of these files is not to be read: what it holds now is another's business.
    pub(super) fn is_held<'p>(&self, mut paths: impl Iterator<Item = &'p PathBuf>) -> bool {
        paths.any(|path| self.held(path).is_some())
    }

    /// A file was read for the section that is being read.
    pub(super) fn has_read(&self, file: ReadFile) {
        self.read_files.borrow_mut().push(file);
    }

    /// The files that were read since this was last asked.
    pub(super) fn take_read_files(&self) -> Vec<ReadFile> {
        let mut files = self.read_files.take();
        files.sort();
        files.dedup();
        files
    }

    /// The variables that were expanded until now, with what they hold.
    pub(super) fn variables(&self) -> BTreeMap<String, String> {
        self.expanded.borrow().clone()
    }

    /// Everything reported, in the order of the file.
    pub(super) fn into_diagnostics(self) -> Vec<Diagnostic> {
        let mut reported = self.reported.into_inner();
        reported.sort_by_key(|diagnostic| diagnostic.span.start);
        let untold = self.untold.get();
        if untold > 0 {
            let end = self.text.len()..self.text.len();
            let message = format!("and {untold} more are not shown; mend these first");
            reported.push(Diagnostic::error(self.file, self.text, end, message));
        }
        reported
    }

    /// The bytes `span` of the file.
    pub(super) fn slice(&self, span: &Span) -> &'a str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// `path` relative to the folder of the file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// `text` with every `${VARIABLE}` expanded; `$${` stands for `${`. A variable that is not
    /// set is an error at `span`.
    pub(crate) fn expand(&self, text: &str, span: &Span) -> Option<String> {
        let mut expanded = String::with_capacity(text.len());
        let mut rest = text;
        let mut complete = true;
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest[..at].strip_suffix('$') {
                expanded.push_str(before);
                expanded.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            expanded.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                let error = self.error(span.clone(), "`${` without its `}`");
                self.report(error.with_label("write `$${` for the two characters themselves"));
                return None;
            };
            let name = &rest[at + 2..at + end];
            match (self.variables)(name) {
                Some(value) => {
                    let mut all = self.expanded.borrow_mut();
                    all.insert(name.to_owned(), value.clone());
                    expanded.push_str(&value);
                }
                None => {
                    self.report_unset(name, span);
                    complete = false;
                }
            }
            rest = &rest[at + end + 1..];
        }
        expanded.push_str(rest);
        complete.then_some(expanded)
    }

    fn report_unset(&self, name: &str, span: &Span) {
        let error = self.error(
            span.clone(),
            format!("the environment variable `{name}` is not set"),
        );
        let note = format!("run with `{name}=… tidegate …`, or `Environment={name}=…` in the unit");
        self.report_outside(error.with_note(note));
    }
}
