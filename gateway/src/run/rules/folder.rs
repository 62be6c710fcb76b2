//! The folder of `*.rules` files: read as a whole and compiled as a whole.

use std::fs::File;
use std::hash::{DefaultHasher, Hash, Hasher};
use std::io::{self, Read};
use std::path::{Path, PathBuf};

use tidegate_rules::diagnostic::Diagnostic;
use tidegate_rules::{Checked, Destinations, RuleFile, RuleSet};

use super::ignored::{self, Ignored};
use crate::config::value::text::{BYTE_ORDER_MARK, utf8};

/// The largest rule file, in bytes.
pub const FILE_BYTES_MAX: u64 = 1024 * 1024;
/// The most that all rule files of a folder may hold, in bytes.
pub const FOLDER_BYTES_MAX: u64 = 8 * 1024 * 1024;
/// The most rule files in a folder.
pub const FILES_MAX: usize = 1000;
/// The most names in a folder.
const NAMES_MAX: usize = 10_000;

/// Why a folder could not be read.
#[derive(Debug)]
pub struct FolderError {
    /// The file or folder.
    pub path: PathBuf,
    /// What went wrong.
    pub message: String,
}

impl std::fmt::Display for FolderError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{}: {}", self.path.display(), self.message)
    }
}

impl std::error::Error for FolderError {}

impl FolderError {
    /// The same among other mistakes.
    pub fn diagnostic(&self) -> Diagnostic {
        Diagnostic::error(&self.path.display().to_string(), "", 0..0, &*self.message)
    }
}

/// What a folder holds.
#[derive(Debug, Default)]
pub struct FolderContent {
    /// All rule files, by name.
    pub files: Vec<RuleFile>,
    /// What is not read, by name; editors' leftovers are not among it.
    pub ignored: Vec<Ignored>,
}

/// Reads all rule files of `folder`. Editors' leftovers (`.x.rules.swp`, `x.rules~`, `x.rules.save`) are no
/// rule files.
///
/// # Errors
/// [`FolderError`] for a folder or file that cannot be read, is too large, or is not UTF-8.
pub fn read(folder: &Path) -> Result<FolderContent, FolderError> {
    let mut paths = Vec::new();
    let mut ignored = Vec::new();
    let entries = std::fs::read_dir(folder).map_err(|e| failed(folder, &e))?;
    for (at, entry) in entries.enumerate() {
        let path = entry.map_err(|e| failed(folder, &e))?.path();
        if at >= NAMES_MAX {
            return Err(error(folder, format!("more than {NAMES_MAX} names")));
        }
        match is_rule_file(&path) {
            true => paths.push(path),
            false => ignored.extend(ignored::look_at(&path)),
        }
    }
    if paths.len() > FILES_MAX {
        let why = format!("{} rule files, at most {FILES_MAX} are read", paths.len());
        return Err(error(folder, why));
    }
    paths.sort();
    ignored.sort();
    let mut files = Vec::new();
    let mut bytes = 0;
    for path in &paths {
        let file = read_file(folder, path)?;
        bytes += file.text.len() as u64;
        if bytes > FOLDER_BYTES_MAX {
            let why = format!("more than {FOLDER_BYTES_MAX} bytes of rules, at most that are read");
            return Err(error(folder, why));
        }
        files.push(file);
    }
    Ok(FolderContent { files, ignored })
}

fn read_file(folder: &Path, path: &Path) -> Result<RuleFile, FolderError> {
    let meta = std::fs::metadata(path).map_err(|e| failed(path, &e))?;
    if !meta.is_file() {
        return Err(error(path, "it is no file".to_owned()));
    }
    let file = File::open(path).map_err(|e| failed(path, &e))?;
    let mut bytes = Vec::new();
    file.take(FILE_BYTES_MAX + 1)
        .read_to_end(&mut bytes)
        .map_err(|e| failed(path, &e))?;
    if bytes.len() as u64 > FILE_BYTES_MAX {
        let size = meta.len().max(bytes.len() as u64);
        let why = format!("{size} bytes, a rule file has at most {FILE_BYTES_MAX}");
        return Err(error(path, why));
    }
    let text = utf8(bytes).map_err(|not_utf8| error(path, not_utf8.to_string()))?;
    let shown = folder.file_name().map_or_else(PathBuf::new, PathBuf::from);
    let shown = shown.join(path.file_name().unwrap_or_default());
    Ok(RuleFile {
        path: shown.display().to_string(),
        text,
    })
}

/// What is wrong with the rules of the configuration in the file `config`, which has mistakes itself, as far as it
/// tells of them: one line each.
pub fn lines_beside(config: &Path) -> Vec<String> {
    let Some(sketch) = crate::run::config::sketch(config) else {
        return Vec::new();
    };
    let names = sketch.upstreams.iter().map(String::as_str);
    match read(&sketch.rules) {
        Ok(content) => match compile(&content.files, &Destinations::new(names)) {
            Ok(_) => Vec::new(),
            Err(mistakes) => lines(&mistakes),
        },
        Err(error) => vec![error.to_string()],
    }
}

/// What is wrong at `path`.
pub(super) fn error(path: &Path, message: String) -> FolderError {
    FolderError {
        path: path.into(),
        message,
    }
}

fn failed(path: &Path, error: &io::Error) -> FolderError {
    self::error(path, format!("cannot be read: {error}"))
}

fn is_rule_file(path: &Path) -> bool {
    let hidden = path
        .file_name()
        .is_some_and(|name| name.as_encoded_bytes().starts_with(b"."));
    !hidden && path.extension().is_some_and(|ending| ending == "rules")
}

/// Compiles what was read; a folder without rules sends every event to every upstream.
///
/// # Errors
/// All mistakes of all files.
pub fn compile(
    files: &[RuleFile],
    destinations: &Destinations,
) -> Result<Checked, Vec<Diagnostic>> {
    compile_while(files, destinations, &|| true).unwrap_or_else(|| Err(Vec::new()))
}

/// [`compile`] for as long as `goes_on` says so; `None` once it does not.
pub(super) fn compile_while(
    files: &[RuleFile],
    destinations: &Destinations,
    goes_on: &dyn Fn() -> bool,
) -> Option<Result<Checked, Vec<Diagnostic>>> {
    let compiled = tidegate_rules::compile_while(files, destinations, goes_on)?;
    Some(compiled.map(|checked| match checked.rules.is_empty() {
        false => checked,
        true => Checked {
            rules: RuleSet::pass_all(destinations),
            warnings: checked.warnings,
        },
    }))
}

/// Mistakes that are told one by one.
const MISTAKES_TOLD_MAX: usize = 20;

/// One line for each error among `found`, and one that counts the others where there are many. Warnings keep
/// no set from being run.
pub(super) fn lines(found: &[Diagnostic]) -> Vec<String> {
    let errors: Vec<&Diagnostic> = found.iter().filter(|found| found.is_error()).collect();
    let (told, others) = errors.split_at(errors.len().min(MISTAKES_TOLD_MAX));
    let mut lines: Vec<String> = told.iter().map(|error| error.short()).collect();
    if !others.is_empty() {
        lines.push(format!(
            "and {} more: see `tidegate rules check`",
            others.len()
        ));
    }
    lines
}

/// A file without a word in it that had some among the files `before`: it is being saved, or was cut off.
pub(super) fn emptied<'f>(files: &'f [RuleFile], before: &[RuleFile]) -> Option<&'f str> {
    let is_blank = |file: &RuleFile| {
        // A byte order mark is no word.
        let no_word = |c: char| c.is_whitespace() || c == '\0' || c == BYTE_ORDER_MARK;
        file.text.chars().all(no_word)
    };
    let had_words = |path: &str| {
        before
            .iter()
            .any(|file| file.path == path && !is_blank(file))
    };
    let blank = files.iter().filter(|file| is_blank(file));
    blank.map(|file| &*file.path).find(|path| had_words(path))
}

/// A number that is another as soon as a folder holds something else: of the bytes of its files, wherever
/// these lie and whatever their times say.
pub(super) fn mark(read: &Result<FolderContent, FolderError>) -> u64 {
    let mut hasher = DefaultHasher::new();
    match read {
        Ok(content) => {
            for file in &content.files {
                (&file.path, &file.text).hash(&mut hasher);
            }
            content.ignored.hash(&mut hasher);
        }
        Err(error) => (&error.path, &error.message).hash(&mut hasher),
    }
    hasher.finish()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn file(path: &str, text: &str) -> RuleFile {
        RuleFile {
            path: path.to_owned(),
            text: text.to_owned(),
        }
    }

    #[test]
    fn errors_are_told_up_to_a_number_and_warnings_are_not() {
        let warned = "rule r { on \"t\" when v > 1 send to cloud }\n".to_owned();
        let wrong = |at: usize| format!("rule r{at} {{ on \"t\" send to clod }}\n");
        for (count, told) in [(1, 1), (20, 20), (21, 21), (300, 21)] {
            let text = warned.clone() + &(0..count).map(wrong).collect::<String>();
            let mistakes = compile(&[file("a", &text)], &Destinations::new(["cloud"]));
            let lines = lines(&mistakes.expect_err("it is wrong"));
            assert_eq!(lines.len(), told);
            assert!(lines[0].contains("unknown destination"), "{}", lines[0]);
            let more = (count > 20).then(|| format!("and {} more", count - 20));
            assert!(
                more.is_none_or(|more| lines[20].starts_with(&more)),
                "{lines:?}"
            );
        }
    }

    #[test]
    fn a_file_counts_as_emptied_only_if_it_had_words() {
        let before = [file("a", "rule"), file("b", " \n")];
        let cases = [
            (vec![file("a", "")], Some("a")),
            (vec![file("a", " \n\t")], Some("a")),
            (vec![file("a", "\0\0\0\0")], Some("a")),
            (vec![file("a", "# rule")], None),
            (vec![file("b", "")], None),
            (vec![file("new", "")], None),
            (vec![], None),
        ];
        for (files, expected) in cases {
            assert_eq!(emptied(&files, &before), expected, "{files:?}");
        }
    }

    #[test]
    fn what_is_no_file_or_too_much_is_refused_before_it_is_read() {
        let folder = tempfile::tempdir().expect("a folder");
        let path = |name: &str| folder.path().join(name);
        let said = || match read(folder.path()) {
            Ok(_) => "fine".to_owned(),
            Err(error) => error.message,
        };
        std::fs::create_dir(path("d.rules")).expect("it is ours");
        assert_eq!(said(), "it is no file");
        std::fs::remove_dir(path("d.rules")).expect("it is ours");
        let made = std::process::Command::new("mkfifo")
            .arg(path("p.rules"))
            .status();
        assert!(made.is_ok_and(|made| made.success()));
        assert_eq!(said(), "it is no file", "nobody writes into it");
        std::fs::remove_file(path("p.rules")).expect("it is ours");
        std::os::unix::fs::symlink(path("nowhere"), path("l.rules")).expect("it is ours");
        assert!(said().starts_with("cannot be read: "), "{}", said());
        std::fs::remove_file(path("l.rules")).expect("it is ours");
        std::fs::write(path("u.rules"), b"# \xff").expect("it is ours");
        assert!(said().contains("UTF-8"), "{}", said());
        let large = vec![b' '; usize::try_from(FILE_BYTES_MAX).expect("it fits")];
        std::fs::write(path("u.rules"), &large).expect("it is ours");
        assert_eq!(said(), "fine");
        for number in 1..=8 {
            std::fs::write(path(&format!("{number}.rules")), &large).expect("it is ours");
        }
        assert!(said().contains("bytes of rules"), "{}", said());
        std::fs::write(path("u.rules"), [&large[..], b" "].concat()).expect("it is ours");
        for number in 1..=8 {
            std::fs::remove_file(path(&format!("{number}.rules"))).expect("it is ours");
        }
        assert!(said().starts_with("1048577 bytes"), "{}", said());
    }
}
