//! The configuration, checked: what `gateway.toml` says with every default filled in.
//!
//! This room has the sections `[gateway]`, `[store]` and `[api]`, the settings of lanes, and what
//! several kinds of sources and upstreams share. What only one kind has stands in its own folder
//! below `source` or `upstream`; [`kinds`] is what it has to say there.

mod api;
pub(crate) mod connection;
pub(crate) mod context;
mod gateway;
pub(crate) mod key;
pub(crate) mod kinds;
mod lane;
pub(crate) mod load;
pub(crate) mod reference;
pub(crate) mod section;
mod store;
pub(crate) mod value;

use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Arc;

use tidegate_rules::diagnostic::Diagnostic;

pub use api::Api;
pub use connection::broker::{Broker, MqttVersion};
pub use connection::client_tls::ClientTls;
pub use connection::listener::User;
pub use connection::port::{Parity, PortMatch, PortSettings};
pub use connection::server_tls::ServerTls;
pub use context::ReadFile;
pub use gateway::Gateway;
pub(crate) use gateway::{SOCKET, store_dir};
pub use key::{AnyKey, Takes, unit};
pub use lane::{Backfill, LaneSettings};
pub use load::render;
pub use reference::Reference;
pub use store::dead_letters::{DeadLetters, WhenTooMany};
pub use store::{Store, WhenFull};
pub(crate) use value::files::digest_now;
pub(crate) use value::text::BYTE_ORDER_MARK;
pub use value::{secret, token};

/// One `gateway.toml`, with sources of the kinds `S` and upstreams of the kinds `U`.
#[derive(Debug, Clone)]
pub struct Config<S, U> {
    /// The file it was read from, for messages.
    pub path: PathBuf,
    /// `[gateway]`
    pub gateway: Gateway,
    /// `[store]`
    pub store: Store,
    /// `[dead_letters]`
    pub dead_letters: DeadLetters,
    /// `[api]`
    pub api: Api,
    /// `[sources.NAME]`, in the order of the file.
    pub sources: Vec<SourceSection<S>>,
    /// `[upstreams.NAME]`, in the order of the file.
    pub upstreams: Vec<UpstreamSection<U>>,
    /// The text of the file.
    pub text: Arc<str>,
    /// The variables of the environment that it names, with the digests of what they hold.
    pub variables: BTreeMap<String, String>,
    /// What is probably not meant, though it can be run.
    pub warnings: Vec<Diagnostic>,
    /// What is wrong where the rules folder is not there; see [`load::load_to_run`].
    pub rules_missing: Option<Diagnostic>,
}

/// `[sources.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct SourceSection<S> {
    /// `NAME`
    pub name: String,
    /// What was read with it.
    pub files: Vec<ReadFile>,
    /// What the keys `type` and following say.
    pub kind: S,
}

/// `[upstreams.NAME]`
#[derive(Debug, Clone, PartialEq)]
pub struct UpstreamSection<U> {
    /// `NAME`
    pub name: String,
    /// What was read with it.
    pub files: Vec<ReadFile>,
    /// What all kinds have in common.
    pub lane: LaneSettings,
    /// What the keys `type` and following say.
    pub kind: U,
}

impl<S, U> Config<S, U> {
    /// The keys that say something else than in `running`, which began with them: these need a restart.
    pub fn keys_for_a_restart(&self, running: &Self) -> Vec<String> {
        let sections = [
            ("gateway", self.gateway.differs_in(&running.gateway)),
            ("store", self.store.differs_in(&running.store)),
            (
                "dead_letters",
                self.dead_letters.differs_in(&running.dead_letters),
            ),
            ("api", self.api.differs_in(&running.api)),
        ];
        let named = sections.into_iter().flat_map(|(section, keys)| {
            let key = move |key| format!("`{key}` in [{section}]");
            keys.into_iter().map(key)
        });
        named.collect()
    }
}

/// The names among `pairs` whose two values are not the same.
fn differing(pairs: &[(&'static str, bool)]) -> Vec<&'static str> {
    let differing = pairs.iter().filter(|(_, is_same)| !is_same);
    differing.map(|(key, _)| *key).collect()
}
