//! What was in force last, by its digest, so that a change is told whenever it was made: while the gateway ran or while
//! it did not. It is kept in the store, beside what was changed by hand while no gateway ran, which the next start tells.

use std::collections::BTreeMap;
use std::io;
use std::path::Path;
use std::sync::{Arc, Mutex, PoisonError};

use rustls::crypto::ring::default_provider;
use serde::{Deserialize, Serialize};
use tidegate_rules::RuleFile;
use tidegate_store::Store;

use super::Config;
use crate::observe::Observe;
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

/// What is in force, and the audit of its changes.
pub struct InForce {
    store: Store,
    observe: Arc<Observe>,
    kept: Mutex<Kept>,
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
    pub fn open(store: &Store, observe: &Arc<Observe>) -> InForce {
        let kept = Kept::load(store).unwrap_or_else(|error| {
            tracing::warn!(%error, "what was in force last cannot be read: changes since then are not told");
            None
        });
        InForce {
            store: store.clone(),
            observe: Arc::clone(observe),
            kept: Mutex::new(kept.unwrap_or_else(Kept::first)),
        }
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
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
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
            if was.as_ref() != Some(&found.digest) && !is_first {
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
        if is_first || !changes.is_empty() || !before.is_empty() {
            self.keep(&kept);
        }
        drop(kept);
        changes
            .iter()
            .for_each(|change| self.observe.audited(change));
    }

    /// Another set of rules is in force, from its files.
    pub fn rules(&self, folder: &Path, files: &[RuleFile]) {
        let mut kept = self.kept.lock().unwrap_or_else(PoisonError::into_inner);
        let after = digest_of(files);
        let before = match files.is_empty() {
            true => kept.digests.remove(RULES),
            false => kept.digests.insert(RULES.to_owned(), after.clone()),
        };
        self.keep(&kept);
        drop(kept);
        let after = (!files.is_empty()).then_some(after);
        if before == after {
            return;
        }
        let subject = folder.display().to_string();
        let who = Who::file(folder);
        self.observe
            .audit(What::Rules, &subject, &who, before, after);
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
mod tests {
    use super::*;
    use crate::observe::SystemEvent;
    use tokio::sync::mpsc;

    struct Bench {
        folder: tempfile::TempDir,
        store: Store,
        _writer: tidegate_store::Writer,
    }

    impl Bench {
        fn new() -> Bench {
            let folder = tempfile::tempdir().expect("a folder");
            let options = tidegate_store::Options::new(folder.path().join("store"));
            let (writer, store) = tidegate_store::open(options).expect("a store");
            Bench {
                folder,
                store,
                _writer: writer,
            }
        }

        fn write(&self, name: &str, text: &str) {
            use std::os::unix::fs::PermissionsExt;
            let path = self.folder.path().join(name);
            std::fs::write(&path, text).expect("it is ours");
            let closed = std::fs::Permissions::from_mode(0o600);
            std::fs::set_permissions(path, closed).expect("it is ours");
        }

        /// What a start tells that finds these, as kind, last part of the subject, whether before and after are known.
        fn start(&self, rules: Option<&[RuleFile]>) -> Vec<(String, String, bool, bool)> {
            let observe = Arc::new(Observe::default());
            let (sender, mut events) = mpsc::channel(16);
            observe.route_system_events(sender);
            let config = super::super::load_to_run(&self.folder.path().join("gateway.toml"));
            let config = config.expect("a configuration");
            InForce::open(&self.store, &observe).settle(&config, rules, None);
            let told = std::iter::from_fn(|| events.try_recv().ok());
            let shown = |event: SystemEvent| {
                let kind = event.kind.trim_start_matches("dev.tidegate.audit.");
                let name = event.subject.rsplit('/').next().unwrap_or_default();
                let is_there = |member: &str| event.data[member].is_string();
                (
                    kind.to_owned(),
                    name.to_owned(),
                    is_there("before"),
                    is_there("after"),
                )
            };
            told.map(shown).collect()
        }
    }

    /// A configuration that names no file.
    const LEAST: &str =
        "[gateway]\nid = \"a\"\ndata_dir = \".\"\n[upstreams.c]\ntype = \"file\"\npath = \"out\"\n";

    fn told(kind: &str, name: &str, before: bool, after: bool) -> (String, String, bool, bool) {
        (kind.to_owned(), name.to_owned(), before, after)
    }

    #[test]
    fn what_changed_between_two_runs_is_told_once() {
        let bench = Bench::new();
        let rules = |text: &str| {
            [RuleFile {
                path: "rules/a.rules".to_owned(),
                text: text.to_owned(),
            }]
        };
        let config = |more: &str| {
            format!(
                "[gateway]\nid = \"a\"\ndata_dir = \".\"\n[upstreams.c]\ntype = \"mqtt\"\nurl = \"mqtt://127.0.0.1\"\nuser = \"u\"\npassword_file = \"p\"\n{more}"
            )
        };
        bench.write("p", "one");
        bench.write("gateway.toml", &config(""));
        let (one, two) = (rules("one"), rules("two"));
        assert_eq!(bench.start(Some(&one)), [], "a first start is no change");
        assert_eq!(bench.start(Some(&one)), []);
        bench.write("p", "two");
        let secret = told("secret", "p", true, true);
        assert_eq!(bench.start(Some(&one)), std::slice::from_ref(&secret));
        assert_eq!(bench.start(Some(&one)), []);
        bench.write("gateway.toml", &config("# another\n"));
        let configuration = told("configuration", "gateway.toml", true, true);
        assert_eq!(bench.start(Some(&one)), [configuration]);
        assert_eq!(
            bench.start(Some(&two)),
            [told("rules", "rules", true, true)]
        );
        assert_eq!(bench.start(None), [told("rules", "rules", true, false)]);
        assert_eq!(
            bench.start(Some(&two)),
            [told("rules", "rules", false, true)]
        );
        bench.write("p", "three");
        bench.write("gateway.toml", &config(""));
        let both = [told("configuration", "gateway.toml", true, true), secret];
        assert_eq!(bench.start(Some(&two)), both);
        let kept = bench.store.document(DOCUMENT).expect("a store");
        let kept = String::from_utf8(kept.expect("a document")).expect("JSON");
        for secret in ["one", "two", "three"] {
            assert!(!kept.contains(&format!("\"{secret}\"")), "{kept}");
        }
    }

    #[test]
    fn what_was_done_by_hand_is_told_by_the_next_start() {
        let bench = Bench::new();
        bench.write("gateway.toml", LEAST);
        let who = Who::local(0, Some(1));
        let dropped = || Change::new(What::DeadLetters, "all", "dropped", &who).of(3);
        note(&bench.store, dropped()).expect("room");
        assert_eq!(
            bench.start(None),
            [told("dead_letters", "all", false, false)]
        );
        assert_eq!(bench.start(None), []);
        for _ in 0..NOTED_MAX {
            note(&bench.store, dropped()).expect("room");
        }
        assert!(note(&bench.store, dropped()).is_err());
    }

    #[test]
    fn what_cannot_be_read_keeps_no_gateway_from_starting() {
        let bench = Bench::new();
        bench.write("gateway.toml", LEAST);
        for broken in [
            "",
            "{}",
            "[1]",
            "{\"version\":2,\"key\":\"\",\"digests\":{},\"noted\":[]}",
        ] {
            bench
                .store
                .put_document(DOCUMENT, broken.as_bytes())
                .expect("room");
            assert_eq!(bench.start(None), [], "{broken}");
            bench
                .store
                .document(DOCUMENT)
                .expect("it is new")
                .expect("it is there");
        }
    }

    /// What this version writes, frozen: later versions read it.
    const FROZEN: &str = r#"{"version":1,"key":"00ff","digests":{"rules":"9f86d081884c7d65"},"noted":[{"what":"dead_letters","subject":"all","action":"dropped","who":{"by":"local","uid":0,"user":"root","pid":7},"before":null,"after":null,"count":3,"to":null,"why":null,"others":[]}]}"#;

    #[test]
    fn the_layout_is_frozen() {
        let who = Who::Local {
            uid: 0,
            user: Some("root".to_owned()),
            pid: Some(7),
        };
        let kept = Kept {
            version: VERSION,
            key: "00ff".to_owned(),
            digests: BTreeMap::from([(RULES.to_owned(), Digest::of(b"test"))]),
            noted: vec![Change::new(What::DeadLetters, "all", "dropped", &who).of(3)],
        };
        assert_eq!(serde_json::to_string(&kept).expect("JSON"), FROZEN);
        let read: Kept = serde_json::from_str(FROZEN).expect("it is ours");
        assert_eq!(read, kept);
    }
}
