//! What is known at the start of the way that events go.

use std::collections::HashSet;

use tidegate_store::Store;

use crate::config::kinds::Kinds;
use crate::event::way::{STARTS_KEY, Way};
use crate::intake::mint::StartMark;
use crate::run::config::Config;

/// With the marks of earlier starts from the store, and with the upstreams and sources that are at one broker.
pub(in crate::run) fn open(config: &Config, store: &Store, start: &StartMark) -> Way {
    let stored = store.mark(STARTS_KEY.as_bytes()).unwrap_or_default();
    Way::new(start.text(), &stored, one_broker(config))
}

/// The upstreams and sources that are at one broker.
pub(in crate::run) fn one_broker(config: &Config) -> HashSet<(String, String)> {
    let mut pairs = HashSet::new();
    for upstream in &config.upstreams {
        for source in &config.sources {
            if let (Some(gives), Some(takes)) = (upstream.kind.at_broker(), source.kind.at_broker())
                && gives.is_beside(&takes)
            {
                pairs.insert((upstream.name.clone(), source.name.clone()));
            }
        }
    }
    pairs
}
