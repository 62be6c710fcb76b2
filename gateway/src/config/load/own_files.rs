//! Which file a path names, whatever it is called there, and which files are the gateway's own: no upstream may write
//! into those.

use std::path::{Component, Path, PathBuf};

use super::Read;
use crate::config::context::Context;
use crate::config::kinds::{Claim, Kinds};
use crate::config::{Gateway, SOCKET, store_dir};

/// Links to links that are followed where nothing is at their end.
const LINKS_MAX: usize = 8;

/// The file that `path` names: links are followed, those to what is not there yet too.
pub(super) fn named(path: &Path) -> PathBuf {
    let mut plain = without_dots(&std::path::absolute(path).unwrap_or_else(|_| path.to_owned()));
    for _ in 0..LINKS_MAX {
        let Ok(target) = plain.read_link() else { break };
        let folder = plain.parent().unwrap_or(Path::new("/"));
        plain = without_dots(&folder.join(target));
    }
    let mut there = plain.as_path();
    let mut rest = Vec::new();
    loop {
        if let Ok(found) = there.canonicalize() {
            return rest.iter().rev().fold(found, |path, name| path.join(name));
        }
        let (Some(parent), Some(name)) = (there.parent(), there.file_name()) else {
            return plain;
        };
        rest.push(name.to_owned());
        there = parent;
    }
}

/// `a/./b/../c` → `a/c`
fn without_dots(path: &Path) -> PathBuf {
    let mut plain = PathBuf::new();
    for component in path.components() {
        match component {
            Component::CurDir => {}
            Component::ParentDir => {
                plain.pop();
            }
            other => plain.push(other),
        }
    }
    plain
}

/// Reports upstreams that would write into what the gateway lives on.
pub(super) fn check<U: Kinds>(
    context: &Context<'_>,
    config: &Path,
    gateway: &Gateway,
    upstreams: &[Read<U>],
) {
    for upstream in upstreams {
        let Some(Claim::File(path)) = upstream.kind.claim() else {
            continue;
        };
        let Some(what) = own(&named(path), config, gateway) else {
            continue;
        };
        let name = &upstream.name;
        let message = format!("[upstreams.{}] would write into {what}", name.value);
        let error = context.error(name.span.clone(), message);
        context.report(error.with_note("name another `path`"));
    }
}

/// What of the gateway's own `file` is.
fn own(file: &Path, config: &Path, gateway: &Gateway) -> Option<&'static str> {
    if file == named(config) {
        return Some("the configuration");
    }
    let data_dir = named(&gateway.data_dir);
    if file.starts_with(store_dir(&data_dir)) {
        return Some("the event store");
    }
    if file.starts_with(data_dir.join(SOCKET)) {
        return Some("the control socket");
    }
    let rules = named(gateway.rules.as_deref()?);
    let is_rules = file.starts_with(rules) && file.extension().is_some_and(|end| end == "rules");
    is_rules.then_some("the rules")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_file_under_several_names_is_one() {
        let dir = tempfile::tempdir().expect("a folder");
        let at = |name: &str| dir.path().join(name);
        std::fs::create_dir(at("folder")).expect("a folder");
        std::fs::write(at("file"), "").expect("a file");
        std::os::unix::fs::symlink("file", at("link")).expect("a link");
        std::os::unix::fs::symlink("folder", at("other")).expect("a link");
        std::os::unix::fs::symlink("new", at("ahead")).expect("a link");
        std::os::unix::fs::symlink("round", at("round")).expect("a link");
        assert_eq!(named(&at("round")), named(&at("round")));
        for (one, another) in [
            ("file", "./file"),
            ("file", "link"),
            ("new", "ahead"),
            ("file", "folder/../file"),
            ("file", "missing/../file"),
            ("folder/new", "other/new"),
            ("folder/deep/new", "other/./deep/new"),
        ] {
            assert_eq!(named(&at(one)), named(&at(another)), "{one}, {another}");
        }
        for (one, another) in [("file", "files"), ("folder/new", "new")] {
            assert_ne!(named(&at(one)), named(&at(another)), "{one}, {another}");
        }
    }
}
