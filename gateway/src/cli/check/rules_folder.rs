//! Everything that is wrong with the rules of a folder, without running them.

use std::path::Path;

use tidegate_rules::diagnostic::{Diagnostic, Sources, render_all};
use tidegate_rules::{Destinations, RuleFile};

use super::findings::{FindingsFormat, write_findings};
use crate::cli::Failure;
use crate::cli::terminal::color;
use crate::run::config::{self, Config};
use crate::run::rules::folder::{self, FolderContent, FolderError};

/// What a check of the rules found.
pub(in crate::cli) struct RuleFindings {
    /// All files that were read.
    pub(in crate::cli) files: Vec<RuleFile>,
    /// Errors and warnings, by file and place.
    pub(in crate::cli) found: Vec<Diagnostic>,
    /// Rules, when there is no error.
    pub(in crate::cli) rules: Option<usize>,
    /// Names of what is not read and hardly was meant to be.
    pub(in crate::cli) others: Vec<String>,
}

/// Reads and checks all rules of `folder`. What cannot be read is an error among them.
pub(in crate::cli) fn check(folder: &Path, config: &Config) -> RuleFindings {
    let upstreams = config.upstreams.iter();
    check_for(folder, upstreams.map(|upstream| upstream.name.as_str()))
}

/// The rules of a configuration that has mistakes itself, as far as it tells of them.
pub(in crate::cli) fn check_beside(config: &Path) -> Option<RuleFindings> {
    let sketch = config::sketch(config)?;
    let upstreams = sketch.upstreams.iter().map(String::as_str);
    Some(check_for(&sketch.rules, upstreams))
}

/// Those of `folder`, which may name these upstreams.
fn check_for<'a>(folder: &Path, names: impl Iterator<Item = &'a str>) -> RuleFindings {
    let FolderContent { files, ignored } = match read(folder) {
        Ok(content) => content,
        Err(error) => {
            return RuleFindings {
                files: Vec::new(),
                found: vec![error.diagnostic()],
                rules: None,
                others: Vec::new(),
            };
        }
    };
    let (rules, mut found) = match tidegate_rules::compile(&files, &Destinations::new(names)) {
        Ok(checked) if checked.rules.is_empty() => {
            let mut found = checked.warnings;
            found.push(holds_none(folder));
            (Some(0), found)
        }
        Ok(checked) => (Some(checked.rules.rule_count()), checked.warnings),
        Err(found) => (None, found),
    };
    let (suspects, others): (Vec<_>, Vec<_>) = ignored.into_iter().partition(|one| one.is_suspect);
    found.extend(suspects.iter().map(|one| {
        let path = folder.join(&one.name).display().to_string();
        Diagnostic::warning(&path, "", 0..0, format!("this is not read: {}", one.why()))
    }));
    RuleFindings {
        files,
        found,
        rules,
        others: others.into_iter().map(|one| one.name).collect(),
    }
}

fn holds_none(folder: &Path) -> Diagnostic {
    let message = "this folder holds no rules: a gateway that had some keeps them, a new one sends every event to every upstream";
    Diagnostic::warning(&folder.display().to_string(), "", 0..0, message)
        .with_note("write rules, or take `rules` out of the configuration")
}

impl RuleFindings {
    /// Writes what was found: pictures to standard error, what programs read to standard output.
    ///
    /// # Errors
    /// When the output is closed.
    pub(in crate::cli) fn write(&self, format: FindingsFormat) -> Result<(), Failure> {
        if format != FindingsFormat::Text || self.found.is_empty() {
            return write_findings(&self.found, format);
        }
        let texts = self
            .files
            .iter()
            .map(|file| (file.path.as_str(), file.text.as_str()));
        let sources = Sources::new(texts);
        eprintln!(
            "{}",
            render_all(&self.found, &sources, color::errors_in_color())
        );
        Ok(())
    }
}

/// The path of a rule file of `folder` under which an editor can open it.
pub(in crate::cli) fn openable(folder: &Path, file: &str) -> String {
    let name = Path::new(file).file_name().unwrap_or_default();
    folder.join(name).display().to_string()
}

/// All rule files of `folder`, under the paths an editor can open.
fn read(folder: &Path) -> Result<FolderContent, FolderError> {
    let content = folder::read(folder)?;
    let with_path = |file: RuleFile| RuleFile {
        path: openable(folder, &file.path),
        ..file
    };
    Ok(FolderContent {
        files: content.files.into_iter().map(with_path).collect(),
        ignored: content.ignored,
    })
}
