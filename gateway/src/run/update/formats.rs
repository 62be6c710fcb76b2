//! The formats that a program writes and reads, as `tidegate self formats` says them.

use std::collections::BTreeMap;

use serde::{Deserialize, Serialize};

use crate::event::{dead_letter, record};

/// The name of the store's format among them, which decides who can open a store.
pub const STORE: &str = "store";

/// One format.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Format {
    /// The version that is written.
    pub writes: u32,
    /// The versions that are read.
    pub reads: Vec<u32>,
}

/// A program's version and its formats by name.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Formats {
    /// The release.
    pub version: String,
    /// By name.
    pub formats: BTreeMap<String, Format>,
}

impl Formats {
    /// Those of this program.
    pub fn own() -> Formats {
        let up_to = |version: u32| Format {
            writes: version,
            reads: (1..=version).collect(),
        };
        let store = Format {
            writes: tidegate_store::FORMAT_WRITTEN,
            reads: tidegate_store::formats_read(),
        };
        let formats = [
            (STORE, store),
            ("record", up_to(record::VERSION.into())),
            ("dead_letter", up_to(dead_letter::VERSION.into())),
        ];
        Formats {
            version: env!("CARGO_PKG_VERSION").to_owned(),
            formats: formats.map(|(name, is)| (name.to_owned(), is)).into(),
        }
    }

    /// Those that the other writes in another version, or does not know.
    pub fn written_otherwise(&self, other: &Formats) -> Vec<&str> {
        let differs = |(name, own): &(&String, &Format)| {
            other.formats.get(*name).map(|there| there.writes) != Some(own.writes)
        };
        let names = self.formats.iter().filter(differs);
        names.map(|(name, _)| name.as_str()).collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn formats_that_are_written_otherwise_are_named() {
        let own = Formats::own();
        assert!(own.written_otherwise(&own).is_empty());
        let mut other = own.clone();
        other.formats.remove("record");
        other.formats.get_mut(STORE).expect("the store's").writes += 1;
        assert_eq!(own.written_otherwise(&other), ["record", STORE]);
    }

    #[test]
    fn every_format_that_is_written_is_read() {
        for (name, format) in Formats::own().formats {
            assert!(format.reads.contains(&format.writes), "{name}");
        }
    }
}
