//! The last set of rules that was in force, kept in the store: what a gateway runs whose folder is broken
//! when it starts.

use std::io;

use serde::{Deserialize, Serialize};
use tidegate_rules::RuleFile;
use tidegate_rules::event::UnixMs;
use tidegate_store::Store;

/// Under which name the store keeps it.
const DOCUMENT: &str = "rules";
/// The layout that is written; others are not read.
const VERSION: u32 = 1;

/// The files of a set that was in force.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct LastGood {
    /// When it was kept.
    pub(super) kept_ms: UnixMs,
    /// Its files.
    pub(super) files: Vec<RuleFile>,
}

#[derive(Serialize, Deserialize)]
struct Document {
    version: u32,
    kept_ms: UnixMs,
    files: Vec<File>,
}

#[derive(Serialize, Deserialize)]
struct File {
    path: String,
    text: String,
}

impl LastGood {
    /// A set that is in force at `now`.
    pub(super) fn of(files: &[RuleFile], now: UnixMs) -> LastGood {
        LastGood {
            kept_ms: now,
            files: files.to_vec(),
        }
    }

    /// The one that the store keeps, if any.
    ///
    /// # Errors
    /// When it cannot be read or is damaged.
    pub(super) fn load(store: &Store) -> io::Result<Option<LastGood>> {
        let Some(bytes) = store.document(DOCUMENT)? else {
            return Ok(None);
        };
        decode(&bytes).map(Some)
    }

    /// Keeps it in place of the one before.
    ///
    /// # Errors
    /// When it cannot be written; the one before is kept then.
    pub(super) fn keep(&self, store: &Store) -> io::Result<()> {
        store.put_document(DOCUMENT, &self.encode()?)
    }

    fn encode(&self) -> io::Result<Vec<u8>> {
        let file = |file: &RuleFile| File {
            path: file.path.clone(),
            text: file.text.clone(),
        };
        let document = Document {
            version: VERSION,
            kept_ms: self.kept_ms,
            files: self.files.iter().map(file).collect(),
        };
        Ok(serde_json::to_vec(&document)?)
    }
}

/// Keeps none any more.
///
/// # Errors
/// When it cannot be removed.
pub(super) fn forget(store: &Store) -> io::Result<()> {
    store.remove_document(DOCUMENT)
}

fn decode(bytes: &[u8]) -> io::Result<LastGood> {
    let document: Document = serde_json::from_slice(bytes)?;
    if document.version != VERSION {
        let why = format!("version {} is not known", document.version);
        return Err(io::Error::new(io::ErrorKind::InvalidData, why));
    }
    let file = |file: File| RuleFile {
        path: file.path,
        text: file.text,
    };
    Ok(LastGood {
        kept_ms: document.kept_ms,
        files: document.files.into_iter().map(file).collect(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// What this version writes, frozen: later versions read it.
    const FROZEN: &str = r#"{"version":1,"kept_ms":1764493200000,"files":[{"path":"rules/a.rules","text":"rule r { on \"t\" send to cloud }\n# é\u0000"}]}"#;

    #[test]
    fn the_layout_is_frozen_and_others_are_refused() {
        let set = LastGood {
            kept_ms: 1_764_493_200_000,
            files: vec![RuleFile {
                path: "rules/a.rules".to_owned(),
                text: "rule r { on \"t\" send to cloud }\n# é\0".to_owned(),
            }],
        };
        assert_eq!(set.encode().expect("JSON"), FROZEN.as_bytes());
        assert_eq!(decode(FROZEN.as_bytes()).expect("it is ours"), set);
        for wrong in ["", "{}", "[1]", &FROZEN.replace(":1,", ":2,"), &FROZEN[1..]] {
            assert!(decode(wrong.as_bytes()).is_err(), "{wrong}");
        }
    }
}
