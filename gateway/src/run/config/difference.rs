//! What is another in a section of the configuration that is read once more.

use std::fmt::Debug;

/// What is said where only certificates or secrets are others, and cannot be used.
pub(in crate::run) const NOT_USABLE: &str =
    "its changed certificates or secrets cannot be used, and those before stay in use";

/// What is another.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::run) enum Difference {
    /// Nothing.
    None,
    /// Only what no message shows: certificates, keys, passwords.
    Credentials,
    /// Something else, too.
    More,
}

/// What is another in `new`. Secrets and the contents of files do not show in what `Debug` writes.
pub(in crate::run) fn difference<T: Debug + PartialEq>(old: &T, new: &T) -> Difference {
    if old == new {
        Difference::None
    } else if format!("{old:?}") == format!("{new:?}") {
        Difference::Credentials
    } else {
        Difference::More
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::config::ReadFile;
    use crate::config::secret::Secret;

    #[test]
    fn secrets_and_contents_of_files_are_told_from_everything_else() {
        let section = |user: &str, secret: &str, path: &str, digest: &str| {
            let file = ReadFile {
                path: path.into(),
                digest: digest.to_owned(),
                text: digest.into(),
            };
            (user.to_owned(), Secret::new(secret), vec![file])
        };
        let before = section("a", "s", "a.pem", "1");
        for (after, expected) in [
            (section("a", "s", "a.pem", "1"), Difference::None),
            (section("a", "t", "a.pem", "1"), Difference::Credentials),
            (section("a", "s", "a.pem", "2"), Difference::Credentials),
            (section("a", "t", "a.pem", "2"), Difference::Credentials),
            (section("b", "s", "a.pem", "1"), Difference::More),
            (section("a", "s", "b.pem", "1"), Difference::More),
            (section("b", "t", "b.pem", "2"), Difference::More),
        ] {
            assert_eq!(difference(&before, &after), expected, "{after:?}");
        }
    }
}
