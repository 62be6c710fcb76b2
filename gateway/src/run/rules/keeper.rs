//! Keeps the rules while the gateway runs: has their folder watched, and takes orders where the
//! configuration names other upstreams or another folder.
//!
//! An order comes in two steps. First the rules are compiled for the destinations to come: an upstream that
//! they name and that is to go is refused before anything has changed. Then, once the lanes are there, they
//! come into force as a whole.

use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

use tidegate_rules::Destinations;
use tidegate_store::Store;
use tokio::sync::{mpsc, oneshot, watch};

use super::changes;
use super::told::Told;
use super::watcher::RulesWatcher;
use super::{Chosen, Found, NothingToRun};
use crate::intake::evaluator::ActiveRules;
use crate::observe::Observe;
use crate::observe::rules::RulesActivated;
use crate::observe::status::RulesStatus;
use crate::run::config::in_force::InForce;
use crate::run::upstreams::lanes::Lanes;
use crate::time::shutdown::stopped;
use crate::time::task;

/// Where orders are given.
pub(in crate::run) struct RulesOrders(mpsc::Sender<Order>);

pub(super) enum Order {
    /// Look at the folder now.
    Look,
    /// Make a set for these destinations out of this folder, and say what is wrong with it.
    Prepare {
        folder: Option<PathBuf>,
        destinations: Destinations,
        prepared: oneshot::Sender<Result<(), Vec<String>>>,
    },
    /// Put it in force.
    Take {
        lanes: Lanes,
        taken: oneshot::Sender<()>,
    },
    /// Leave what is in force.
    Leave,
}

impl RulesOrders {
    pub(super) fn open() -> (RulesOrders, mpsc::Receiver<Order>) {
        let (orders, ordered) = mpsc::channel(1);
        (RulesOrders(orders), ordered)
    }

    /// Has the folder looked at now.
    pub(in crate::run) async fn look(&self) {
        let _ = self.0.send(Order::Look).await;
    }

    /// Makes a set for `destinations` out of `folder`; [`RulesOrders::take`] or [`RulesOrders::leave`] is to follow.
    ///
    /// # Errors
    /// A line for each mistake; nothing is to follow then.
    pub(in crate::run) async fn prepare(
        &self,
        folder: Option<PathBuf>,
        destinations: Destinations,
    ) -> Result<(), Vec<String>> {
        let (prepared, answer) = oneshot::channel();
        let order = Order::Prepare {
            folder,
            destinations,
            prepared,
        };
        let _ = self.0.send(order).await;
        let gone = || Err(vec!["the rules cannot be looked at any more".to_owned()]);
        answer.await.unwrap_or_else(|_| gone())
    }

    /// Puts in force what was prepared, with these lanes.
    pub(in crate::run) async fn take(&self, lanes: Lanes) {
        let (taken, answer) = oneshot::channel();
        let _ = self.0.send(Order::Take { lanes, taken }).await;
        let _ = answer.await;
    }

    /// Leaves what is in force.
    pub(in crate::run) async fn leave(&self) {
        let _ = self.0.send(Order::Leave).await;
    }
}

/// Owns the watch over the folder.
pub(super) struct RulesKeeper {
    pub(super) orders: mpsc::Receiver<Order>,
    /// None where the configuration names no folder.
    pub(super) watcher: Option<RulesWatcher>,
    pub(super) lanes: Lanes,
    pub(super) active: watch::Sender<Arc<ActiveRules>>,
    pub(super) status: watch::Sender<RulesStatus>,
    pub(super) observe: Arc<Observe>,
    pub(super) in_force: Arc<InForce>,
    pub(super) store: Store,
}

impl RulesKeeper {
    /// Watches and takes orders until `shutdown`; what is being compiled then is given up.
    pub(super) async fn run(mut self, mut shutdown: watch::Receiver<bool>) {
        tokio::select! {
            () = stopped(&mut shutdown) => {}
            () = self.serve() => {}
        }
    }

    async fn serve(&mut self) {
        loop {
            let order = match &mut self.watcher {
                None => self.orders.recv().await,
                Some(watcher) => tokio::select! {
                    order = self.orders.recv() => order,
                    () = watcher.watch() => None,
                },
            };
            if let Some(watcher) = &mut self.watcher {
                watcher.look_again();
            }
            match order {
                // The gateway is going.
                None => return std::future::pending().await,
                Some(Order::Prepare {
                    folder,
                    destinations,
                    prepared,
                }) => self.prepare(folder, destinations, prepared).await,
                Some(Order::Look | Order::Take { .. } | Order::Leave) => {}
            }
        }
    }

    async fn prepare(
        &mut self,
        folder: Option<PathBuf>,
        destinations: Destinations,
        prepared: oneshot::Sender<Result<(), Vec<String>>>,
    ) {
        let (store, looked_at) = (self.store.clone(), folder.clone());
        let choosing = task::blocking(
            "the choice of rules",
            task::contained(move || {
                Chosen::from(looked_at.as_deref(), &destinations, &store).map_err(lines)
            }),
        );
        let chosen = choosing
            .await
            .unwrap_or_else(|error| Err(vec![format!("the rules could not be compiled: {error}")]));
        let chosen = match chosen {
            Ok(chosen) => chosen,
            Err(lines) => return drop(prepared.send(Err(lines))),
        };
        let _ = prepared.send(Ok(()));
        if let Some(Order::Take { lanes, taken }) = self.orders.recv().await {
            self.take(folder.as_deref(), chosen, lanes).await;
            let _ = taken.send(());
        }
    }

    /// Puts a set in force.
    async fn take(&mut self, folder: Option<&Path>, mut chosen: Chosen, lanes: Lanes) {
        let (store, before) = (self.store.clone(), Arc::clone(&self.active.borrow()));
        let working = task::blocking("the keeping of rules", move || {
            chosen.keep(&store);
            let handover = chosen.rules.handover(&before.rules);
            (chosen, handover)
        });
        let Ok((chosen, handover)) = working.await else {
            return tracing::error!("the rules that were prepared are lost: those before go on");
        };
        let Chosen {
            rules,
            warnings,
            status,
            found,
            ..
        } = chosen;
        let fingerprint = format!("{:016x}", rules.fingerprint());
        let active = ActiveRules::new(rules, lanes.ids.clone()).after(handover);
        self.lanes = lanes;
        self.active.send_replace(Arc::new(active));
        self.status.send_modify(|now| {
            *now = RulesStatus {
                generation: now.generation + 1,
                fingerprint,
                ..status
            };
        });
        let files = found.as_ref().map_or(&[][..], |found| &found.files);
        match (folder, &self.watcher) {
            (Some(folder), _) => self.in_force.rules(folder, files),
            (None, Some(before)) => self.in_force.rules(&before.told.folder, &[]),
            (None, None) => {}
        }
        self.watcher = None;
        self.observe.clear_subject("rules");
        let status = self.status.borrow().clone();
        self.observe.emit(&RulesActivated {
            generation: status.generation,
            fingerprint: &status.fingerprint,
            rules: status.rules,
            warnings,
        });
        if let (Some(folder), Some(found)) = (folder, found) {
            self.watch(folder, found);
        }
    }

    /// Tells what was found in the folder, and watches it from now on.
    pub(super) fn watch(&mut self, folder: &Path, found: Found) {
        let told = Told::new(folder.to_path_buf(), &self.observe);
        told.ignored(&found.ignored);
        told.none(found.files.is_empty());
        let is_kept = found.kept.is_ok();
        told.kept(found.kept);
        let status = self.status.borrow().clone();
        if !status.refused.is_empty() {
            told.refused(status.generation, &status.refused);
        }
        let (changes, view) = changes::watch(folder);
        self.watcher = Some(RulesWatcher {
            changes,
            view: Arc::new(Mutex::new(view)),
            seen: found.mark,
            decided: found.mark,
            files: found.files,
            is_kept,
            destinations: self.lanes.destinations.clone(),
            lanes: self.lanes.ids.clone(),
            active: self.active.clone(),
            status: self.status.clone(),
            told,
            in_force: Arc::clone(&self.in_force),
            store: self.store.clone(),
        });
    }
}

/// A line for each mistake.
fn lines((refused, of_kept): NothingToRun) -> Vec<String> {
    let mut lines = refused.lines();
    // The set that is kept is mostly what the folder holds.
    let of_kept = of_kept.filter(|why| !lines.contains(why));
    lines.extend(of_kept.map(|why| {
        format!("the last good rules that the store keeps cannot be used either: {why}")
    }));
    lines
}
