//! Everything that is wrong with the rules of a folder, without running them.

use std::path::Path;

use tidegate_rules::diagnostic::{Diagnostic, Sources, render_all};
use tidegate_rules::{Destinations, RuleFile};

use super::findings::{FindingsFormat, write_findings};
use crate::cli::Failure;
use crate::cli::terminal::color;
use crate::run::config::Config;
use crate::run::rules::folder;

/// What a check of the rules found.
pub(in crate::cli) struct RuleFindings {
    /// All files that were read.
    pub(in crate::cli) files: Vec<RuleFile>,
    /// Errors and warnings, by file and place.
    pub(in crate::cli) found: Vec<Diagnostic>,
    /// Rules, when there is no error.
    pub(in crate::cli) rules: Option<usize>,
}

/// Reads and checks all rules of `folder`.
///
/// # Errors
/// When a file cannot be read.
pub(in crate::cli) fn check(folder: &Path, config: &Config) -> Result<RuleFindings, Failure> {
    let files = read(folder)?;
    let names = config
        .upstreams
        .iter()
        .map(|upstream| upstream.name.as_str());
    Ok(
        match tidegate_rules::compile(&files, &Destinations::new(names)) {
            Ok(checked) => RuleFindings {
                rules: Some(checked.rules.rule_count()),
                found: checked.warnings,
                files,
            },
            Err(found) => RuleFindings {
                rules: None,
                found,
                files,
            },
        },
    )
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

/// All rule files of `folder`, under the paths an editor can open.
fn read(folder: &Path) -> Result<Vec<RuleFile>, Failure> {
    let files = folder::read(folder).map_err(|error| Failure::new(error.to_string()))?;
    let openable = |mut file: RuleFile| {
        if let Some(name) = Path::new(&file.path).file_name() {
            file.path = folder.join(name).display().to_string();
        }
        file
    };
    Ok(files.into_iter().map(openable).collect())
}
