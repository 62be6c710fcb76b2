//! What lies in a rules folder and is not read: what was probably meant to be.

use std::path::Path;

/// Something in a rules folder that is not read.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Ignored {
    /// Its name.
    pub name: String,
    /// Whether it was probably meant to be read.
    pub is_suspect: bool,
    is_folder: bool,
}

impl std::fmt::Display for Ignored {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "{} is not read: {}", self.name, self.why())
    }
}

impl Ignored {
    /// Why it is not read.
    pub fn why(&self) -> &'static str {
        match self.is_folder {
            true => "rule files lie in the folder itself, not in folders of it",
            false => "the name of a rule file ends in `.rules`",
        }
    }
}

/// Ends of names that editors, package managers and people give to what is out of use.
const LEFTOVERS: [&str; 20] = [
    "swp",
    "swo",
    "swx",
    "tmp",
    "temp",
    "part",
    "bak",
    "backup",
    "orig",
    "old",
    "save",
    "off",
    "disabled",
    "rej",
    "lock",
    "dpkg-old",
    "dpkg-new",
    "dpkg-dist",
    "rpmsave",
    "rpmnew",
];
/// Ends of names of what people write to people.
const DOCUMENTS: [&str; 5] = ["md", "rst", "adoc", "html", "pdf"];
/// How many names of a folder are looked at.
const NAMES_MAX: usize = 1000;

/// What is to be said of the file or folder at `path`, which is no rule file.
pub(super) fn look_at(path: &Path) -> Option<Ignored> {
    let name = path.file_name()?.to_string_lossy().into_owned();
    let lower = name.to_lowercase();
    let ending = lower.rsplit_once('.').map_or("", |(_, ending)| ending);
    // vim asks with a file of digits whether it may write.
    let is_number = lower.chars().all(|c| c.is_ascii_digit());
    if lower.starts_with(['.', '#']) || lower.ends_with('~') || is_number {
        return None;
    }
    if path.is_dir() {
        let entries = std::fs::read_dir(path).into_iter().flatten().flatten();
        let mut names = entries.take(NAMES_MAX).map(|entry| entry.path());
        let holds_rules = names.any(|path| path.extension().is_some_and(|end| end == "rules"));
        return holds_rules.then_some(Ignored {
            name,
            is_suspect: true,
            is_folder: true,
        });
    }
    if LEFTOVERS.contains(&ending) {
        return None;
    }
    let is_suspect = lower.contains("rule") && !DOCUMENTS.contains(&ending);
    Some(Ignored {
        name,
        is_suspect,
        is_folder: false,
    })
}

/// The names of what was probably meant to be read.
pub(super) fn names(ignored: &[Ignored]) -> Vec<String> {
    let suspects = ignored.iter().filter(|ignored| ignored.is_suspect);
    suspects.map(|ignored| ignored.name.clone()).collect()
}

/// One line of what was probably meant to be read; `None` where nothing was.
pub(super) fn suspects(ignored: &[Ignored]) -> Option<String> {
    let suspects = ignored.iter().filter(|ignored| ignored.is_suspect);
    let said: Vec<String> = suspects.map(Ignored::to_string).collect();
    let (first, more) = said.split_first()?;
    Some(match more.len() {
        0 => first.clone(),
        count => format!("{first}; nor are {count} others that `tidegate rules check` names"),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_probably_meant_is_told_and_leftovers_are_not() {
        let folder = tempfile::tempdir().expect("a folder");
        let suspects = [
            "hot.RULES",
            "hot.Rules",
            "hot.rule",
            "rules.txt",
            "hot.rules.txt",
            "rules",
            "hot rules",
            "Rules.toml",
            "hot.rules2",
            "hot.rules.1",
        ];
        let others = [
            "README.md",
            "rules.md",
            "notes.txt",
            "LICENSE",
            "Makefile",
            "hot.txt",
        ];
        let quiet = [
            ".hot.rules.swp",
            "hot.rules~",
            ".gitignore",
            "#hot.rules#",
            "4913",
            "hot.rules.bak",
            "hot.rules.save",
            "hot.rules.orig",
            "hot.rules.OLD",
            "hot.rules.disabled",
            ".hot.rules",
            "hot.rules.tmp",
            "hot.rules.dpkg-new",
        ];
        let of = |name: &str| {
            let path = folder.path().join(name);
            std::fs::write(&path, "").expect("it is ours");
            look_at(&path).map(|ignored| ignored.is_suspect)
        };
        for name in suspects {
            assert_eq!(of(name), Some(true), "{name}");
        }
        for name in others {
            assert_eq!(of(name), Some(false), "{name}");
        }
        for name in quiet {
            assert_eq!(of(name), None, "{name}");
        }
    }

    #[test]
    fn a_folder_is_told_if_it_holds_rule_files() {
        let folder = tempfile::tempdir().expect("a folder");
        let inner = folder.path().join("line1");
        std::fs::create_dir(&inner).expect("it is ours");
        assert_eq!(look_at(&inner), None);
        std::fs::write(inner.join("hot.rules"), "").expect("it is ours");
        let said = look_at(&inner).map(|ignored| ignored.to_string());
        let expected =
            "line1 is not read: rule files lie in the folder itself, not in folders of it";
        assert_eq!(said.as_deref(), Some(expected));
    }

    #[test]
    fn one_line_names_the_first_and_counts_the_others() {
        let ignored = |name: &str| Ignored {
            name: name.to_owned(),
            is_suspect: name.contains("rule"),
            is_folder: false,
        };
        let names = ["README.md", "a.rule", "b.rule", "c.rule"].map(ignored);
        assert_eq!(suspects(&names[..1]), None);
        let one = "a.rule is not read: the name of a rule file ends in `.rules`";
        assert_eq!(suspects(&names[..2]).as_deref(), Some(one));
        let all = format!("{one}; nor are 2 others that `tidegate rules check` names");
        assert_eq!(suspects(&names), Some(all));
    }
}
