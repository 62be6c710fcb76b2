//! One file being read: its text, its surroundings, and what was found wrong so far.

use std::cell::RefCell;
use std::path::{Path, PathBuf};

use tidegate_rules::diagnostic::Diagnostic;

use super::section::Span;

/// Looks up an environment variable.
pub(super) type Variables<'a> = &'a dyn Fn(&str) -> Option<String>;

/// The state that all sections of one file share.
pub(super) struct Reading<'a> {
    file: &'a str,
    text: &'a str,
    folder: PathBuf,
    variables: Variables<'a>,
    noted: RefCell<Vec<Diagnostic>>,
}

impl<'a> Reading<'a> {
    /// Starts reading `text`, the contents of `path`, which messages call `file`.
    pub(super) fn new(path: &Path, file: &'a str, text: &'a str, variables: Variables<'a>) -> Self {
        Reading {
            file,
            text,
            folder: path.parent().map(Path::to_owned).unwrap_or_default(),
            variables,
            noted: RefCell::new(Vec::new()),
        }
    }

    /// An error at `span`, to be given to [`Reading::note`].
    pub(super) fn error(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::error(self.file, self.text, span, message)
    }

    /// A warning at `span`, to be given to [`Reading::note`].
    pub(super) fn warning(&self, span: Span, message: impl Into<String>) -> Diagnostic {
        Diagnostic::warning(self.file, self.text, span, message)
    }

    /// Remembers it for the end, once.
    pub(super) fn note(&self, diagnostic: Diagnostic) {
        let mut noted = self.noted.borrow_mut();
        if !noted.contains(&diagnostic) {
            noted.push(diagnostic);
        }
    }

    /// Everything noted, in the order of the file.
    pub(super) fn into_noted(self) -> Vec<Diagnostic> {
        let mut noted = self.noted.into_inner();
        noted.sort_by_key(|diagnostic| diagnostic.span.start);
        noted
    }

    /// The bytes `span` of the file.
    pub(super) fn slice(&self, span: &Span) -> &'a str {
        self.text.get(span.clone()).unwrap_or_default()
    }

    /// `path` relative to the folder of the file.
    pub(super) fn resolve(&self, path: &str) -> PathBuf {
        self.folder.join(path)
    }

    /// `text` with every `${VARIABLE}` filled in; `$${` stands for `${`. A variable that is not
    /// set is an error at `span`.
    pub(super) fn fill_in(&self, text: &str, span: &Span) -> Option<String> {
        let mut filled = String::with_capacity(text.len());
        let mut rest = text;
        let mut complete = true;
        while let Some(at) = rest.find("${") {
            if let Some(before) = rest[..at].strip_suffix('$') {
                filled.push_str(before);
                filled.push_str("${");
                rest = &rest[at + 2..];
                continue;
            }
            filled.push_str(&rest[..at]);
            let Some(end) = rest[at..].find('}') else {
                let error = self.error(span.clone(), "`${` without its `}`");
                self.note(error.with_label("write `$${` for the two characters themselves"));
                return None;
            };
            let name = &rest[at + 2..at + end];
            match (self.variables)(name) {
                Some(value) => filled.push_str(&value),
                None => {
                    self.note_unset(name, span);
                    complete = false;
                }
            }
            rest = &rest[at + end + 1..];
        }
        filled.push_str(rest);
        complete.then_some(filled)
    }

    fn note_unset(&self, name: &str, span: &Span) {
        let error = self.error(
            span.clone(),
            format!("the environment variable `{name}` is not set"),
        );
        let note = format!("run with `{name}=… tidegate …`, or `Environment={name}=…` in the unit");
        self.note(error.with_note(note));
    }
}
