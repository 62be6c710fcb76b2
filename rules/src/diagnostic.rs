//! A complaint about a place in a text file, and its picture for a person.
//!
//! Nothing here knows the rule language: configuration files are reported with the same type.
//! Spans are byte offsets, lines and columns count from 1, columns count characters.

mod suggest;

use std::fmt;
use std::ops::Range;

use annotate_snippets::{AnnotationKind, Level, Renderer, Snippet};
use serde::Serialize;

pub use suggest::did_you_mean;

/// How bad it is.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Severity {
    /// The file cannot be used.
    Error,
    /// The file can be used, but probably does not mean what it says.
    Warning,
}

impl fmt::Display for Severity {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Severity::Error => "error",
            Severity::Warning => "warning",
        })
    }
}

/// Another place that belongs to the complaint, such as the first of two equal names.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Label {
    /// Bytes of the same file.
    pub span: Range<usize>,
    /// What to say about them.
    pub text: String,
}

/// A change that an editor may offer to make.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Suggestion {
    /// Bytes to replace.
    pub span: Range<usize>,
    /// What to write there.
    pub replacement: String,
}

/// One complaint about one place.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Diagnostic {
    /// How bad it is.
    pub severity: Severity,
    /// What is wrong, in one lower-case line.
    pub message: String,
    /// The file as it is shown to people.
    pub file: String,
    /// The place as bytes.
    pub span: Range<usize>,
    /// Line of the start of the place, from 1.
    pub line: usize,
    /// Column of the start of the place in characters, from 1.
    pub column: usize,
    /// What to write under the caret, often the way out.
    pub label: Option<String>,
    /// Other places of the same file.
    pub labels: Vec<Label>,
    /// Further lines for the reader.
    pub notes: Vec<String>,
    /// A change that would mend it.
    pub suggestion: Option<Suggestion>,
}

impl Diagnostic {
    /// A complaint of `severity` about the bytes `span` of `text`, the contents of `file`.
    pub fn new(
        severity: Severity,
        file: &str,
        text: &str,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        let span = clip(text, span);
        let (line, column) = line_column(text, span.start);
        Diagnostic {
            severity,
            message: message.into(),
            file: file.to_owned(),
            span,
            line,
            column,
            label: None,
            labels: Vec::new(),
            notes: Vec::new(),
            suggestion: None,
        }
    }

    /// An error; see [`Diagnostic::new`].
    pub fn error(
        file: &str,
        text: &str,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::new(Severity::Error, file, text, span, message)
    }

    /// A warning; see [`Diagnostic::new`].
    pub fn warning(
        file: &str,
        text: &str,
        span: Range<usize>,
        message: impl Into<String>,
    ) -> Diagnostic {
        Diagnostic::new(Severity::Warning, file, text, span, message)
    }

    /// Writes `label` under the caret.
    #[must_use]
    pub fn with_label(mut self, label: impl Into<String>) -> Diagnostic {
        self.label = Some(label.into());
        self
    }

    /// Points at another place of the same file.
    #[must_use]
    pub fn with_place(mut self, span: Range<usize>, text: impl Into<String>) -> Diagnostic {
        self.labels.push(Label {
            span,
            text: text.into(),
        });
        self
    }

    /// Adds a line below the picture.
    #[must_use]
    pub fn with_note(mut self, note: impl Into<String>) -> Diagnostic {
        self.notes.push(note.into());
        self
    }

    /// Offers to replace the place itself, and says so under the caret if nothing else is there.
    #[must_use]
    pub fn with_replacement(self, replacement: impl Into<String>) -> Diagnostic {
        let span = self.span.clone();
        self.with_suggestion(span, replacement)
    }

    /// Offers to replace `span`, and asks "did you mean" under the caret if nothing else is there.
    #[must_use]
    pub fn with_suggestion(
        mut self,
        span: Range<usize>,
        replacement: impl Into<String>,
    ) -> Diagnostic {
        let replacement = replacement.into();
        if self.label.is_none() {
            self.label = Some(format!("did you mean `{replacement}`?"));
        }
        self.suggestion = Some(Suggestion { span, replacement });
        self
    }

    /// Whether the file cannot be used because of it.
    pub fn is_error(&self) -> bool {
        self.severity == Severity::Error
    }

    /// The picture: message, `file:line:column`, the line itself and a caret.
    ///
    /// Without the text of the file in `sources` only the message and the place are shown.
    pub fn render(&self, sources: &Sources<'_>, color: bool) -> String {
        let level = match self.severity {
            Severity::Error => Level::ERROR,
            Severity::Warning => Level::WARNING,
        };
        let mut group = level
            .primary_title(self.message.as_str())
            .elements(sources.text(&self.file).map(|text| self.snippet(text)));
        if sources.text(&self.file).is_none() {
            let origin = annotate_snippets::Origin::path(self.file.as_str());
            group = group.element(origin.line(self.line).char_column(self.column));
        }
        for note in &self.notes {
            group = group.element(Level::NOTE.message(note.as_str()));
        }
        let renderer = if color {
            Renderer::styled()
        } else {
            Renderer::plain()
        };
        renderer.render(&[group])
    }

    fn snippet<'a>(&'a self, text: &'a str) -> Snippet<'a, annotate_snippets::Annotation<'a>> {
        let primary = AnnotationKind::Primary
            .span(clip(text, self.span.clone()))
            .label(self.label.as_deref());
        let others = self.labels.iter().map(|label| {
            AnnotationKind::Context
                .span(clip(text, label.span.clone()))
                .label(label.text.as_str())
        });
        Snippet::source(text)
            .path(self.file.as_str())
            .annotation(primary)
            .annotations(others)
    }

    /// One line for editors: `file:line:column: error: message (label)`.
    pub fn short(&self) -> String {
        let place = format!("{}:{}:{}", self.file, self.line, self.column);
        match &self.label {
            Some(label) => format!("{place}: {}: {} ({label})", self.severity, self.message),
            None => format!("{place}: {}: {}", self.severity, self.message),
        }
    }
}

impl fmt::Display for Diagnostic {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(&self.short())
    }
}

/// The texts that pictures quote from, by the file names the diagnostics carry.
#[derive(Debug, Clone, Default)]
pub struct Sources<'a> {
    files: Vec<(&'a str, &'a str)>,
}

impl<'a> Sources<'a> {
    /// Sources from (file name, text) pairs.
    pub fn new(files: impl IntoIterator<Item = (&'a str, &'a str)>) -> Sources<'a> {
        Sources {
            files: files.into_iter().collect(),
        }
    }

    /// The text of `file`, if it is known.
    pub fn text(&self, file: &str) -> Option<&'a str> {
        self.files
            .iter()
            .find(|(name, _)| *name == file)
            .map(|(_, text)| *text)
    }
}

/// All pictures one below the other, ending in a line that counts them.
pub fn render_all(diagnostics: &[Diagnostic], sources: &Sources<'_>, color: bool) -> String {
    let mut picture = String::new();
    for diagnostic in diagnostics {
        picture.push_str(&diagnostic.render(sources, color));
        picture.push('\n');
    }
    let errors = diagnostics.iter().filter(|d| d.is_error()).count();
    let warnings = diagnostics.len() - errors;
    picture.push_str(&summary(errors, warnings));
    picture
}

/// "2 errors, 1 warning".
fn summary(errors: usize, warnings: usize) -> String {
    let counted = |count: usize, word: &str| match count {
        1 => format!("1 {word}"),
        _ => format!("{count} {word}s"),
    };
    match (errors, warnings) {
        (0, 0) => "no errors".to_owned(),
        (_, 0) => counted(errors, "error"),
        (0, _) => counted(warnings, "warning"),
        _ => format!(
            "{}, {}",
            counted(errors, "error"),
            counted(warnings, "warning")
        ),
    }
}

/// Line and column (in characters) of the byte `offset`, both from 1.
pub fn line_column(text: &str, offset: usize) -> (usize, usize) {
    let before = &text[..floor(text, offset)];
    let line = memchr::memchr_iter(b'\n', before.as_bytes()).count() + 1;
    let line_start = memchr::memrchr(b'\n', before.as_bytes()).map_or(0, |at| at + 1);
    (line, before[line_start..].chars().count() + 1)
}

/// `span` inside `text` and on character boundaries, whatever it was.
fn clip(text: &str, span: Range<usize>) -> Range<usize> {
    let start = floor(text, span.start);
    let end = floor(text, span.end.max(start));
    start..end
}

/// The last character boundary of `text` at or before `offset`.
fn floor(text: &str, offset: usize) -> usize {
    let mut offset = offset.min(text.len());
    while !text.is_char_boundary(offset) {
        offset -= 1;
    }
    offset
}
