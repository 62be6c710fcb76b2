//! What a configuration with mistakes still tells of its rules, so that theirs are shown with its own.

use std::path::{Path, PathBuf};

use toml_edit::{Document, Item};

use super::{FILE_BYTES_MAX, syntax};
use crate::config::value::files::bytes_of_file;

/// The rules of a configuration, and the upstreams that they may name.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(crate) struct Sketch {
    /// The rules folder, which is there.
    pub(crate) rules: PathBuf,
    /// Names of the upstreams, whatever is wrong with them.
    pub(crate) upstreams: Vec<String>,
}

impl Sketch {
    /// What the file at `path` tells, if it names a rules folder.
    pub(crate) fn of(path: &Path) -> Option<Sketch> {
        let bytes = bytes_of_file(path, FILE_BYTES_MAX).ok()?;
        let text = String::from_utf8(bytes).ok()?;
        let (sound, _) = syntax::sound("", &text);
        let document = Document::parse(sound.as_str()).ok()?;
        let rules = document.as_table().get("gateway")?.get("rules")?.as_str()?;
        if rules.is_empty() {
            return None;
        }
        let rules = path.parent().unwrap_or(Path::new("")).join(rules);
        if !rules.is_dir() {
            return None;
        }
        let table = document.as_table().get("upstreams");
        let table = table.and_then(Item::as_table_like);
        let named = table.into_iter().flat_map(|table| table.iter());
        let mut upstreams: Vec<String> = named.map(|(name, _)| name.to_owned()).collect();
        upstreams.extend(headings(&text));
        upstreams.sort();
        upstreams.dedup();
        Some(Sketch { rules, upstreams })
    }
}

/// Names in headings, those of sections that were left out too.
fn headings(text: &str) -> impl Iterator<Item = String> {
    text.lines().filter_map(|line| {
        let name = line.trim_start().strip_prefix("[upstreams.")?;
        let end = name.find([']', '.', ' ']).unwrap_or(name.len());
        Some(name[..end].trim_matches('"').to_owned())
    })
}
