//! What was in force last, over starts that change something and starts that do not.

use super::*;
use crate::observe::{Happening, SystemEvent};

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
        let config = crate::run::config::load_to_run(&self.folder.path().join("gateway.toml"));
        let config = config.expect("a configuration");
        let in_force = InForce::open(&self.store);
        in_force.settle(&config, rules, None);
        let told = std::iter::from_fn(|| {
            let change = in_force.next()?;
            in_force.told(&change);
            change.system_event()
        });
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

#[test]
fn a_change_waits_on_disk_until_its_event_is_there() {
    let bench = Bench::new();
    bench.write("gateway.toml", LEAST);
    bench.start(None);
    let who = Who::local(0, Some(1));
    let dropped = Change::new(What::Lane, "old", "dropped", &who);
    InForce::open(&bench.store).wait(dropped).expect("room");
    for _ in 0..3 {
        // Starts that are killed before they tell it.
        let in_force = InForce::open(&bench.store);
        assert_eq!(in_force.waiting(), 1);
    }
    assert_eq!(bench.start(None), [told("lane", "old", false, false)]);
    assert_eq!(bench.start(None), []);
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
        waiting: Vec::new(),
        with_variables: false,
    };
    assert_eq!(serde_json::to_string(&kept).expect("JSON"), FROZEN);
    let read: Kept = serde_json::from_str(FROZEN).expect("it is ours");
    assert_eq!(read, kept);
}
