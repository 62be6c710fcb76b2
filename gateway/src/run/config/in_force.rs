//! What was in force last, by its digest, so that a change is told whenever it was made: while the gateway ran or while
//! it did not. It is kept in the store, beside what was changed by hand while no gateway ran, which the next start tells.

mod waiting;

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Mutex, MutexGuard, PoisonError};

use rustls::crypto::ring::default_provider;
use serde::{Deserialize, Serialize};
use tidegate_rules::RuleFile;
use tidegate_store::Store;

use tokio::sync::Notify;
use waiting::Waiting;

use super::Config;
use crate::observe::audit::digest::Digest;
use crate::observe::audit::who::Who;
use crate::observe::audit::{Change, What};

/// Under which name the store keeps it.
const DOCUMENT: &str = "audit";
/// The layout that is written; others are not read.
const VERSION: u32 = 1;
/// Bytes of the key for digests of secrets.
const KEY_BYTES: usize = 32;
/// Changes made by hand that wait for the next start.
const NOTED_MAX: usize = 100;
/// What the sets are called of which there is one each.
const RULES: &str = "rules";
const CONFIGURATION: &str = "configuration";
/// How the names of variables of the environment begin.
const VARIABLE: &str = "variable ";

/// What is in force, and the audit of its changes.
pub struct InForce {
    store: Store,
    kept: Mutex<Kept>,
    more: Notify,
}

/// What the store keeps.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
struct Kept {
    version: u32,
    /// In hexadecimal digits, drawn at the first start.
    key: String,
    digests: BTreeMap<String, Digest>,
    /// Changes made by hand while no gateway ran.
    noted: Vec<Change>,
    /// Changes that are not in the log yet.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    waiting: Vec<Waiting>,
    /// Whether variables of the environment are among the digests, which earlier releases did not look at.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    with_variables: bool,
}

/// What is in force now, by name, with whom it is from.
struct Found {
    name: String,
    what: What,
    subject: String,
    digest: Digest,
}

impl InForce {
    /// What was in force when the gateway that `store` is of ran last. At a first start nothing is known, and all that is
    /// found is no change.
    pub fn open(store: &Store) -> InForce {
        let kept = Kept::load(store).unwrap_or_else(|error| {
            tracing::warn!(%error, "what was in force last cannot be read: changes since then are not told");
            None
        });
        let mut kept = kept.unwrap_or_else(Kept::first);
        kept.waiting.retain(|waiting| !waiting.is_told(store));
        InForce {
            store: store.clone(),
            kept: Mutex::new(kept),
            more: Notify::new(),
        }
    }

    /// The change that waits for longest to be told.
    pub fn next(&self) -> Option<Change> {
        let kept = self.kept();
        kept.waiting.first().map(|waiting| waiting.change.clone())
    }

    /// How many wait.
    pub fn waiting(&self) -> usize {
        self.kept().waiting.len()
    }

    /// Until more wait.
    pub async fn more(&self) {
        self.more.notified().await;
    }

    /// The event of the change that waited for longest is on disk.
    pub fn told(&self, change: &Change) {
        let mut kept = self.kept();
        if kept
            .waiting
            .first()
            .is_some_and(|first| first.change == *change)
        {
            kept.waiting.remove(0);
            self.keep(&kept);
        }
    }

    /// Keeps a change that the log does not take; it is on disk when this returns.
    ///
    /// # Errors
    /// When it cannot be kept; then it waits in memory alone.
    pub fn wait(&self, change: Change) -> io::Result<()> {
        let mut kept = self.kept();
        waiting::add(&mut kept.waiting, change, self.store.end());
        self.more.notify_one();
        kept.save(&self.store)
    }

    fn kept(&self) -> MutexGuard<'_, Kept> {
        self.kept.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The configuration, its secrets and the rules are in force as they are given, from `who`, or from their files where
    /// nobody told the gateway to read them. What differs from before is told and kept.
    pub fn settle(&self, config: &Config, rules: Option<&[RuleFile]>, who: Option<&Who>) {
        self.are(config, Some(rules), who);
    }

    /// The same of the configuration and its secrets alone, while the gateway runs.
    pub fn configuration(&self, config: &Config, who: Option<&Who>) {
        self.are(config, None, who);
    }

    fn are(&self, config: &Config, rules: Option<Option<&[RuleFile]>>, who: Option<&Who>) {
        let mut kept = self.kept();
        let found = all_of(config, rules.flatten(), &kept.key);
        let is_first = kept.digests.is_empty();
        let mut changes = std::mem::take(&mut kept.noted);
        let mut before = std::mem::take(&mut kept.digests);
        if rules.is_none()
            && let Some(as_they_are) = before.remove(RULES)
        {
            kept.digests.insert(RULES.to_owned(), as_they_are);
        }
        for found in found {
            let was = before.remove(&found.name);
            let is_known = !is_first && (kept.with_variables || !found.name.starts_with(VARIABLE));
            if was.as_ref() != Some(&found.digest) && is_known {
                let who = who.cloned().unwrap_or_else(|| Who::file(&found.subject));
                changes.push(Change {
                    before: was,
                    after: Some(found.digest.clone()),
                    ..Change::new(found.what, found.subject, "changed", &who)
                });
            }
            kept.digests.insert(found.name, found.digest);
        }
        // That a secret is not asked for any more says the change of the configuration.
        if let Some(was) = before.remove(RULES) {
            let who = who.cloned().unwrap_or_else(|| Who::file(&config.path));
            changes.push(Change {
                before: Some(was),
                ..Change::new(What::Rules, RULES, "removed", &who)
            });
        }
        let was_without = !std::mem::replace(&mut kept.with_variables, true);
        if is_first || was_without || !changes.is_empty() || !before.is_empty() {
            self.keep_with(&mut kept, changes);
        }
    }

    /// Keeps what is in force together with the changes to it, which are told from there: a kill loses none.
    fn keep_with(&self, kept: &mut Kept, changes: Vec<Change>) {
        let end = self.store.end();
        for change in changes {
            waiting::add(&mut kept.waiting, change, end);
        }
        self.keep(kept);
        self.more.notify_one();
    }

    /// Another set of rules is in force, from its files.
    pub fn rules(&self, folder: &Path, files: &[RuleFile]) {
        let mut kept = self.kept();
        let after = digest_of(files);
        let before = match files.is_empty() {
            true => kept.digests.remove(RULES),
            false => kept.digests.insert(RULES.to_owned(), after.clone()),
        };
        let after = (!files.is_empty()).then_some(after);
        if before == after {
            return;
        }
        let who = Who::file(folder);
        let change = Change {
            before,
            after,
            ..Change::new(What::Rules, folder.display().to_string(), "changed", &who)
        };
        self.keep_with(&mut kept, vec![change]);
    }

    fn keep(&self, kept: &Kept) {
        if let Err(error) = kept.save(&self.store) {
            tracing::warn!(%error, "what is in force cannot be kept in the store: the next start may tell a change once more");
        }
    }
}

/// Notes in `store` what was changed by hand while no gateway runs; the next start tells it.
///
/// # Errors
/// When it cannot be kept.
pub fn note(store: &Store, change: Change) -> io::Result<()> {
    let mut kept = Kept::load(store)?.unwrap_or_else(Kept::first);
    if kept.noted.len() >= NOTED_MAX {
        let why = format!("{NOTED_MAX} changes wait already for a start of the gateway");
        return Err(io::Error::new(io::ErrorKind::QuotaExceeded, why));
    }
    kept.noted.push(change);
    kept.save(store)
}

impl Kept {
    fn first() -> Kept {
        let mut key = [0; KEY_BYTES];
        // Without random numbers no gateway starts; until then a key of zeros keeps nothing secret that is told.
        let _ = default_provider().secure_random.fill(&mut key);
        Kept {
            version: VERSION,
            key: key.iter().map(|byte| format!("{byte:02x}")).collect(),
            digests: BTreeMap::new(),
            noted: Vec::new(),
            waiting: Vec::new(),
            with_variables: true,
        }
    }

    fn load(store: &Store) -> io::Result<Option<Kept>> {
        let Some(bytes) = store.document(DOCUMENT)? else {
            return Ok(None);
        };
        let kept: Kept = serde_json::from_slice(&bytes)?;
        match kept.version {
            VERSION => Ok(Some(kept)),
            other => Err(io::Error::new(
                io::ErrorKind::InvalidData,
                format!("version {other} is not known"),
            )),
        }
    }

    fn save(&self, store: &Store) -> io::Result<()> {
        store.put_document(DOCUMENT, &serde_json::to_vec(self)?)
    }
}

/// Everything that is in force.
fn all_of(config: &Config, rules: Option<&[RuleFile]>, key: &str) -> Vec<Found> {
    let path = |path: &Path| {
        let whole = path.canonicalize();
        whole.as_deref().unwrap_or(path).display().to_string()
    };
    let mut all = vec![Found {
        name: CONFIGURATION.to_owned(),
        what: What::Configuration,
        subject: path(&config.path),
        digest: Digest::of(config.text.as_bytes()),
    }];
    let of_sources = config.sources.iter().flat_map(|section| &section.files);
    let of_upstreams = config.upstreams.iter().flat_map(|section| &section.files);
    for file in of_sources.chain(of_upstreams) {
        let subject = path(&file.path);
        let name = format!("file {subject}");
        if all.iter().all(|found| found.name != name) {
            all.push(Found {
                name,
                what: What::Secret,
                subject,
                digest: Digest::of_secret(key.as_bytes(), file.digest.as_bytes()),
            });
        }
    }
    for (variable, digest) in &config.variables {
        all.push(Found {
            name: format!("{VARIABLE}{variable}"),
            what: What::Secret,
            subject: format!("${{{variable}}}"),
            digest: Digest::of_secret(key.as_bytes(), digest.as_bytes()),
        });
    }
    if let Some(files) = rules {
        let folder = config.gateway.rules.as_deref();
        all.push(Found {
            name: RULES.to_owned(),
            what: What::Rules,
            subject: folder.map_or_else(|| RULES.to_owned(), path),
            digest: digest_of(files),
        });
    }
    all
}

/// Of the texts of the files in their order.
fn digest_of(files: &[RuleFile]) -> Digest {
    Digest::of_pieces(files.iter().map(|file| file.text.as_bytes()))
}

#[cfg(test)]
mod tests;
