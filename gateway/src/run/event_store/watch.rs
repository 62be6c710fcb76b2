//! Tells of damage in the store: what the opening found at once, what readers come across later within seconds.

use std::collections::HashSet;
use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;

use tidegate_store::Store;
use tokio::sync::watch;

use crate::observe::Observe;
use crate::observe::store::{Quarantined, RecordsMissing};
use crate::time::shutdown::stopped;

/// How often the store is asked.
const EVERY: Duration = Duration::from_secs(2);

/// What lay in quarantine before this start; it was told then.
pub(in crate::run) fn quarantined_before(store: &Store) -> HashSet<String> {
    let names = |all: Vec<tidegate_store::Quarantined>| all.into_iter().map(|it| it.name);
    let mut before: HashSet<String> = names(store.stats().quarantined).collect();
    for name in names(store.open_report().quarantined.clone()) {
        before.remove(&name);
    }
    before
}

/// Watches until shutdown; `told` is what was told of already.
pub(in crate::run) async fn run(
    store: Store,
    mut told: HashSet<String>,
    observe: Arc<Observe>,
    mut stop: watch::Receiver<bool>,
) -> Result<(), Infallible> {
    let report = store.open_report();
    report
        .damage
        .iter()
        .for_each(|damage| observe.emit(&RecordsMissing(damage)));
    let mut missing = 0;
    loop {
        let stats = store.stats();
        for quarantined in report.quarantined.iter().chain(&stats.quarantined) {
            if told.insert(quarantined.name.clone()) {
                observe.emit(&Quarantined(quarantined));
            }
        }
        for damage in stats.damage.iter().skip(missing) {
            observe.emit(&RecordsMissing(damage));
        }
        missing = stats.damage.len();
        tokio::select! {
            () = stopped(&mut stop) => return Ok(()),
            () = tokio::time::sleep(EVERY) => {}
        }
    }
}
