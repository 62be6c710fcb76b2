//! All keys of `gateway.toml` under their headings: what the table in `gateway/README.md` is made from.

use super::api::ApiKeys;
use super::gateway::GatewayKeys;
use super::key::{AnyKey, Rows};
use super::kinds::{KeyGroup, Kinds, Listed};
use super::lane::LaneKeys;
use super::store::StoreKeys;
use super::store::dead_letters::DeadLetterKeys;

/// One heading of the table.
#[derive(Debug, Clone)]
pub struct Reference {
    /// The section, and the kind where the keys depend on it.
    pub heading: String,
    /// Its keys.
    pub keys: Vec<&'static AnyKey>,
}

/// Everything, with the sources `S` and the upstreams `U`, in the order of the README: kinds that share the same keys
/// stand together, and what they share follows the last of them.
pub(crate) fn all<S: Kinds, U: Kinds>() -> Vec<Reference> {
    let mut table = Table::default();
    table.push("[gateway]", GatewayKeys::ROWS);
    table.push("[store]", StoreKeys::ROWS);
    table.push("[dead_letters]", DeadLetterKeys::ROWS);
    table.push("[api]", ApiKeys::ROWS);
    let later: Vec<SharedSections> = U::ALL.iter().map(shared).collect();
    table.push_kinds::<S>(&[], &later);
    table.push_kinds::<U>(LaneKeys::ROWS, &[]);
    table.0
}

/// Headings of what a kind has in common with others.
type SharedSections = Vec<&'static str>;

fn shared<K>(kind: &Listed<K>) -> SharedSections {
    groups(kind).map(|group| group.heading).collect()
}

fn groups<K>(kind: &Listed<K>) -> impl Iterator<Item = &'static KeyGroup> {
    kind.shared.iter().chain(kind.tables)
}

#[derive(Default)]
struct Table(Vec<Reference>);

impl Table {
    fn push(&mut self, heading: impl Into<String>, keys: Rows) {
        let heading = heading.into();
        if !self.0.iter().any(|there| there.heading == heading) {
            let keys = keys.to_vec();
            self.0.push(Reference { heading, keys });
        }
    }

    /// The keys of a whole list; `later` says what the kinds of lists to come share.
    fn push_kinds<K: Kinds>(&mut self, common: Rows, later: &[SharedSections]) {
        let keys = std::iter::once(K::TYPE).chain(common.iter().copied());
        self.0.push(Reference {
            heading: format!("[{}.NAME]", K::LIST.key),
            keys: keys.collect(),
        });
        for kind in K::ALL {
            let shares = shared(kind);
            let alike = |other: &&Listed<K>| {
                other.name == kind.name || (!shares.is_empty() && shared(other) == shares)
            };
            for kind in K::ALL.iter().filter(alike) {
                self.push(format!("{} {}", K::LIST.one, kind.name), kind.keys);
            }
            if !later.contains(&shares) {
                for group in groups(kind) {
                    self.push(group.heading, group.keys);
                }
            }
        }
    }
}
