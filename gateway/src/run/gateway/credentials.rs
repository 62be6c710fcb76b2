//! Looks now and then at the files of certificates and secrets: what they hold counts, not when they were
//! written, and what is changed must stay as it is from one look to the next.

use std::collections::BTreeMap;
use std::convert::Infallible;
use std::path::PathBuf;
use std::time::Duration;

use tokio::sync::{mpsc, watch};

use crate::config::{ReadFile, SourceSection, UpstreamSection, digest_now};
use crate::run::config::{self, Config, SourceKind, UpstreamKind};
use crate::run::sources::Sources;
use crate::run::tasks::Tasks;
use crate::run::upstreams::Upstreams;
use crate::time::shutdown::stopped;
use crate::time::task;

/// The troubles of a source or upstream whose certificates or secrets cannot be read.
pub(super) const CREDENTIALS: &str = "credentials";

/// How often it is looked.
const EVERY: Duration = Duration::from_secs(1);

/// What the files held that are in use.
type InUse = BTreeMap<PathBuf, Vec<String>>;
/// What each file holds; nothing where it cannot be read.
type Seen = BTreeMap<PathBuf, Option<String>>;

/// The end that is told of changes.
pub(super) struct CredentialsWatch {
    in_use: watch::Sender<InUse>,
    changes: mpsc::Receiver<()>,
}

impl CredentialsWatch {
    /// Starts to look, at nothing yet.
    pub(super) fn start(tasks: &mut Tasks, stop: &watch::Receiver<bool>) -> CredentialsWatch {
        let (in_use, looked_at) = watch::channel(InUse::new());
        let (changed, changes) = mpsc::channel(1);
        tasks.spawn("credentials", look(looked_at, changed, stop.clone()));
        CredentialsWatch { in_use, changes }
    }

    /// Looks at the files of what runs now.
    pub(super) fn watch(&self, sources: &Sources, upstreams: &Upstreams) {
        let of_sources = sources.sections().flat_map(|section| &section.files);
        let of_upstreams = upstreams.sections().flat_map(|section| &section.files);
        let mut in_use = InUse::new();
        for ReadFile { path, digest, .. } in of_sources.chain(of_upstreams) {
            in_use.entry(path.clone()).or_default().push(digest.clone());
        }
        self.in_use.send_replace(in_use);
    }

    /// Until a file holds something else than what is in use, and than what was told of before.
    pub(super) async fn changed(&mut self) {
        if self.changes.recv().await.is_none() {
            std::future::pending().await
        }
    }
}

/// A section of the configuration.
pub(super) enum Section {
    Source(SourceSection<SourceKind>),
    Upstream(UpstreamSection<UpstreamKind>),
}

impl Section {
    /// In the place of the one of its name.
    pub(super) fn put_into(self, config: &mut Config) {
        match self {
            Section::Source(section) => {
                let mut all = config.sources.iter_mut();
                if let Some(before) = all.find(|of| of.name == section.name) {
                    *before = section;
                }
            }
            Section::Upstream(section) => {
                let mut all = config.upstreams.iter_mut();
                if let Some(before) = all.find(|of| of.name == section.name) {
                    *before = section;
                }
            }
        }
    }
}

/// Each section of `running` as its files are now, by what troubles call it; or what is wrong with them.
pub(super) fn read_again(running: &Config) -> Vec<(String, Result<Section, Vec<String>>)> {
    let sources = running.sources.iter().map(|of| {
        let read = one_again(running, &of.files).map(|config| {
            let read = config
                .and_then(|config| config.sources.into_iter().find(|new| new.name == of.name));
            Section::Source(read.unwrap_or_else(|| of.clone()))
        });
        (format!("source {}", of.name), read)
    });
    let upstreams = running.upstreams.iter().map(|of| {
        let read = one_again(running, &of.files).map(|config| {
            let read = config
                .and_then(|config| config.upstreams.into_iter().find(|new| new.name == of.name));
            Section::Upstream(read.unwrap_or_else(|| of.clone()))
        });
        (format!("upstream {}", of.name), read)
    });
    sources.chain(upstreams).collect()
}

/// The configuration with these `files` as they are now and all others as they were; none where they are so, too.
fn one_again(running: &Config, files: &[ReadFile]) -> Result<Option<Config>, Vec<String>> {
    let is_same = |file: &ReadFile| digest_now(&file.path).as_ref() == Some(&file.digest);
    if files.iter().all(is_same) {
        return Ok(None);
    }
    let of_sources = running.sources.iter().flat_map(|of| &of.files);
    let of_upstreams = running.upstreams.iter().flat_map(|of| &of.files);
    let others = of_sources.chain(of_upstreams);
    let held = others.filter(|file| files.iter().all(|of| of.path != file.path));
    let held: Vec<ReadFile> = held.cloned().collect();
    let read = config::read_files_again(running, &held);
    read.map(Some).map_err(|found| config::lines(&found))
}

async fn look(
    mut in_use: watch::Receiver<InUse>,
    changed: mpsc::Sender<()>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Infallible> {
    let (mut last, mut told) = (Seen::new(), Seen::new());
    loop {
        tokio::select! {
            () = stopped(&mut stop) => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
        let files = in_use.borrow_and_update().clone();
        let paths: Vec<PathBuf> = files.keys().cloned().collect();
        let reading = task::blocking("the look at secrets", move || {
            let with_digest = |path: PathBuf| (path.clone(), digest_now(&path));
            paths.into_iter().map(with_digest).collect::<Seen>()
        });
        let Ok(seen) = reading.await else { continue };
        if is_news(&files, &seen, &last, &told) {
            told.clone_from(&seen);
            let _ = changed.try_send(());
        }
        last = seen;
    }
}

/// Whether what is seen is to be told: it stays, and is other than what is in use or was told of before.
fn is_news(in_use: &InUse, seen: &Seen, last: &Seen, told: &Seen) -> bool {
    let is_used = |(path, digest): (&PathBuf, &Option<String>)| {
        let used = in_use.get(path).into_iter().flatten();
        digest
            .as_ref()
            .is_some_and(|seen| used.clone().all(|used| used == seen))
    };
    let was_told = told.keys().any(|path| in_use.contains_key(path));
    let differs = !seen.iter().all(is_used);
    seen == last && seen != told && (differs || was_told)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_stays_and_is_other_than_before_is_told_once() {
        let files = |pairs: &[(&str, &str)]| -> Seen {
            let pair = |(path, digest): &(&str, &str)| {
                let digest = (!digest.is_empty()).then(|| (*digest).to_owned());
                (PathBuf::from(path), digest)
            };
            pairs.iter().map(pair).collect()
        };
        let in_use: InUse = [("a", "1"), ("b", "1")]
            .map(|(path, digest)| (PathBuf::from(path), vec![digest.to_owned()]))
            .into();
        let (same, other) = (
            files(&[("a", "1"), ("b", "1")]),
            files(&[("a", "2"), ("b", "1")]),
        );
        let (next, gone) = (
            files(&[("a", "3"), ("b", "1")]),
            files(&[("a", "1"), ("b", "")]),
        );
        let none = Seen::new();
        for (name, seen, last, told, expected) in [
            ("nothing is another", &same, &same, &none, false),
            ("it is being written", &other, &same, &none, false),
            ("it stays", &other, &other, &none, true),
            ("it was told of", &other, &other, &other, false),
            ("another one again", &next, &next, &other, true),
            ("one is gone", &gone, &gone, &none, true),
            ("as it was", &same, &same, &other, true),
            ("as it was, and told", &same, &same, &same, false),
        ] {
            assert_eq!(is_news(&in_use, seen, last, told), expected, "{name}");
        }
    }
}
