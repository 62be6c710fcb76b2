//! The names that generations have on disk.
//!
//! A directory is called `<id>-<first>`, both zero-padded decimal: `00000007-00000000000000120001`. The id only grows;
//! `first` is the first sequence that may be inside. A generation that was rewritten has a revision behind a dot:
//! `00000007-00000000000000120001.1`.

use crate::Sequence;

/// Suffix of a directory that is being deleted.
pub(crate) const DEAD: &str = ".dead";

/// The name of a generation's directory.
pub(crate) fn dir_name(id: u64, first: Sequence) -> String {
    format!("{id:08}-{first:020}")
}

/// Reads a directory name; `None` for anything that [`dir_name`] did not make.
pub(crate) fn parse_name(name: &str) -> Option<(u64, Sequence)> {
    parse_revision(name).map(|(id, first, _)| (id, first))
}

/// The name of a revision of a generation's directory; revision 0 is the one that was written to.
pub(crate) fn revision_name(id: u64, first: Sequence, revision: u32) -> String {
    match revision {
        0 => dir_name(id, first),
        _ => format!("{}.{revision}", dir_name(id, first)),
    }
}

/// Reads what [`revision_name`] made.
pub(crate) fn parse_revision(name: &str) -> Option<(u64, Sequence, u32)> {
    let (own, revision) = name.split_once('.').unwrap_or((name, "0"));
    let (id, first) = own.split_once('-')?;
    let (id, first) = (id.parse().ok()?, first.parse().ok()?);
    let revision = revision.parse().ok()?;
    (revision_name(id, first, revision) == name).then_some((id, first, revision))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_names_of_our_own_making_are_generations() {
        assert_eq!(parse_name(&dir_name(7, 120_001)), Some((7, 120_001)));
        for name in [
            "",
            "7-1",
            "lost+found",
            "00000007-00000000000000120001.dead",
            "+0000007-00000000000000120001",
            "00000007-00000000000000120001.0",
            "00000007-00000000000000120001.01",
            "00000007-00000000000000120001.1.dead",
        ] {
            assert_eq!(parse_name(name), None, "{name}");
        }
    }

    #[test]
    fn a_revision_is_told_from_the_generation_it_replaces() {
        let name = revision_name(7, 120_001, 3);
        assert_eq!(name, "00000007-00000000000000120001.3");
        assert_eq!(parse_revision(&name), Some((7, 120_001, 3)));
        assert_eq!(parse_name(&name), Some((7, 120_001)));
        assert_eq!(parse_revision(&dir_name(7, 1)), Some((7, 1, 0)));
    }

    #[test]
    fn names_sort_by_age() {
        assert!(dir_name(9, 999) < dir_name(10, 1000));
    }
}
