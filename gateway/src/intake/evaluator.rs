//! The rules in force and their state: the one place where events are decided about.
//!
//! Three look in: the intake thread for everything that arrives and for timers of the rules, the
//! commit thread for the gap records of what it gives up, and the metrics for the counters.
//! Each holds the lock for one event or one look and waits for nothing meanwhile, so none can
//! keep the others from going on.

use std::collections::HashSet;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

use bytes::Bytes;
use tidegate_rules::decision::{Decision, Destination, Output};
use tidegate_rules::event::{Event, UnixMs};
use tidegate_rules::{Counters, Handover, RuleSet, State};
use tidegate_store::LaneId;
use tokio::sync::{Notify, watch};

use crate::event::record::Routed;
use crate::event::system_topic::{is_of_gateway, is_system_topic};
use crate::time::task;

/// The rules in force, with the lanes their destinations stand for.
pub struct ActiveRules {
    /// The compiled rules.
    pub rules: RuleSet,
    /// Lane of each [`Destination`], by its number.
    pub lanes: Vec<LaneId>,
    /// From the rules before, worked out while those went on.
    handover: Mutex<Option<Handover>>,
}

impl ActiveRules {
    /// Rules that know of none before.
    pub fn new(rules: RuleSet, lanes: Vec<LaneId>) -> ActiveRules {
        ActiveRules {
            rules,
            lanes,
            handover: Mutex::default(),
        }
    }

    /// With the handover from those before.
    pub fn after(self, handover: Handover) -> ActiveRules {
        ActiveRules {
            handover: Mutex::new(Some(handover)),
            ..self
        }
    }

    /// The state under these rules, which was under those `before`, and what is left of it.
    fn take_over(&self, before: &RuleSet, state: State) -> (State, State) {
        let ready = self
            .handover
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .take();
        let ready = ready.filter(|ready| ready.is_from(before.fingerprint()));
        // Of two sets in a row the first may never have been in force.
        let handover = ready.unwrap_or_else(|| self.rules.handover(before));
        handover.apply(state)
    }
}

/// Decides about events; all clones are one.
#[derive(Clone)]
pub struct Evaluator {
    in_force: Arc<Mutex<RulesInForce>>,
    /// Told when another thread than the intake's may have armed a timer.
    timers: Arc<Notify>,
}

struct RulesInForce {
    newest: watch::Receiver<Arc<ActiveRules>>,
    /// `[gateway] id`: system events of any other are events like others.
    gateway: Option<Arc<str>>,
    active: Arc<ActiveRules>,
    state: State,
    decision: Decision,
}

impl Evaluator {
    /// The rules that `newest` holds, which have seen nothing yet.
    pub fn new(newest: watch::Receiver<Arc<ActiveRules>>) -> Evaluator {
        let active = Arc::clone(&newest.borrow());
        let in_force = RulesInForce {
            newest,
            gateway: None,
            active,
            state: State::default(),
            decision: Decision::default(),
        };
        Evaluator {
            in_force: Arc::new(Mutex::new(in_force)),
            timers: Arc::default(),
        }
    }

    /// Tells the system events of the gateway `id` from those that other gateways forward to it;
    /// without it, all are its own.
    pub fn of_gateway(self, id: &str) -> Evaluator {
        self.lock().gateway = Some(id.into());
        self
    }

    /// Lets the rules decide: `routed` is overwritten with what goes where.
    ///
    /// A system event of this gateway goes only where a rule asks for it by its topic: neither a gateway without
    /// rules nor an `unmatched` block sends it upstream.
    pub fn decide(&self, event: &Event, now: UnixMs, routed: &mut Vec<Routed>) {
        let in_force = &mut *self.lock();
        let rules = &in_force.active.rules;
        rules.step(&mut in_force.state, now, event, &mut in_force.decision);
        in_force.route(event, routed);
    }

    /// When the rules want to be woken next, if ever.
    pub fn next_wake(&self) -> Option<UnixMs> {
        let in_force = &*self.lock();
        in_force.active.rules.next_wake(&in_force.state)
    }

    /// Lets the rules decide about the first timer due at `now`, as [`Evaluator::decide`] does;
    /// gives the event it is about. To be called until nothing is due.
    pub fn wake(&self, now: UnixMs, routed: &mut Vec<Routed>) -> Option<Arc<Event>> {
        let in_force = &mut *self.lock();
        let rules = &in_force.active.rules;
        let event = rules.wake(&mut in_force.state, now, &mut in_force.decision)?;
        in_force.route(&event, routed);
        Some(event)
    }

    /// Switches to the newest rules. Rules that say what they said before keep their state. To be
    /// called before each offer: whoever was told of new rules is decided about by them. What was
    /// is dropped elsewhere, for there may be much of it.
    pub fn refresh(&self) {
        let left = {
            let in_force = &mut *self.lock();
            if !in_force.newest.has_changed().unwrap_or(false) {
                return;
            }
            let newest = Arc::clone(&in_force.newest.borrow_and_update());
            let state = std::mem::take(&mut in_force.state);
            let (state, left) = newest.take_over(&in_force.active.rules, state);
            in_force.state = state;
            (std::mem::replace(&mut in_force.active, newest), left)
        };
        match tokio::runtime::Handle::try_current() {
            Ok(runtime) => drop(runtime.spawn_blocking(task::contained(move || drop(left)))),
            Err(_) => drop(left),
        }
    }

    /// What happened at the rules in force, and to events as a whole.
    pub fn counters(&self) -> Counters {
        let in_force = &*self.lock();
        in_force.active.rules.counters(&in_force.state)
    }

    /// Where events go that are set aside.
    pub fn dead_letter_lane(&self) -> LaneId {
        let Destination(number) = Destination::DEAD_LETTER;
        let in_force = &*self.lock();
        let lane = in_force.active.lanes.get(usize::from(number));
        lane.copied().unwrap_or_default()
    }

    /// To be called after deciding elsewhere than on the intake thread, which waits for timers.
    pub fn timers_may_differ(&self) {
        self.timers.notify_one();
    }

    /// Until [`Evaluator::timers_may_differ`].
    pub async fn timers_differ(&self) {
        self.timers.notified().await;
    }

    /// Arms a timer as a clause would.
    #[cfg(test)]
    pub(crate) fn arm(&self, rule: &str, due: UnixMs, event: Arc<Event>) {
        let in_force = &mut *self.lock();
        let rules = &in_force.active.rules;
        assert!(rules.arm(&mut in_force.state, rule, due, event), "{rule}");
    }

    fn lock(&self) -> MutexGuard<'_, RulesInForce> {
        let in_force = self.in_force.lock();
        in_force.unwrap_or_else(PoisonError::into_inner)
    }
}

/// What makes a dead letter of an event another one, apart from the rule.
type Said = (
    Option<Arc<str>>,
    Option<Arc<str>>,
    Option<Arc<str>>,
    Option<Bytes>,
);

fn what_is_said(output: &Output) -> Said {
    let Output {
        reason,
        topic,
        key,
        data,
        ..
    } = output;
    (reason.clone(), topic.clone(), key.clone(), data.clone())
}

impl RulesInForce {
    /// The lanes of what was decided. A destination the rules know but the gateway does not cannot
    /// occur: both come from the same list of names.
    fn route(&mut self, event: &Event, routed: &mut Vec<Routed>) {
        routed.clear();
        let asked_for = self.decision.matched && !self.active.rules.is_empty();
        let gateway = self.gateway.as_deref();
        let own = || gateway.is_none_or(|id| is_of_gateway(&event.source, id));
        if is_system_topic(&event.topic) && !asked_for && own() {
            return;
        }
        let lanes = &self.active.lanes;
        let mut set_aside = HashSet::new();
        for addressed in self.decision.outputs.drain(..) {
            let Destination(number) = addressed.destination;
            // What several rules set aside for one reason is one dead letter.
            if addressed.destination == Destination::DEAD_LETTER
                && !set_aside.insert(what_is_said(&addressed.output))
            {
                continue;
            }
            if let Some(lane) = lanes.get(usize::from(number)) {
                routed.push(Routed {
                    lane: *lane,
                    output: addressed.output,
                });
            }
        }
    }
}
