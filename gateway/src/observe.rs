//! What happens in the gateway is a type: emitting it is one log line and, where the architecture
//! names it, one system event. Beside these types stand the metrics and the status.

pub mod audit;
pub mod forward;
pub mod intake;
pub mod log;
pub mod process;
pub mod refusing;
pub mod rules;
pub mod source;
pub mod status;
pub mod store;
pub mod trouble;
pub mod wear;

use std::sync::{Mutex, OnceLock};

use prometheus_client::encoding::text::encode;
use prometheus_client::registry::Registry;
use tokio::sync::mpsc;

use crate::time::clock::Now;

/// Something that happened. Implementations live in `observe/`, beside the metrics of their room.
pub trait Happening {
    /// Writes its one structured log line.
    fn log(&self);

    /// The system event it raises, where the architecture names one.
    fn system_event(&self) -> Option<SystemEvent> {
        None
    }
}

/// A system event on its way into the intake.
#[derive(Debug, Clone, PartialEq)]
pub struct SystemEvent {
    /// CloudEvents `type`, such as `dev.tidegate.upstream.down`.
    pub kind: &'static str,
    /// What it is about: the source's or upstream's name, the device id.
    pub subject: String,
    /// Members of its JSON payload.
    pub data: serde_json::Value,
}

/// The metrics registry and the way of system events into the intake, shared by every room.
pub struct Observe {
    registry: Mutex<Registry>,
    system: OnceLock<mpsc::Sender<SystemEvent>>,
    changes: OnceLock<mpsc::Sender<audit::Awaited>>,
    /// What a person should look at.
    pub troubles: trouble::Troubles,
    /// Why events are refused.
    pub refusing: refusing::Refusing,
    looks: Mutex<Vec<Look>>,
    refusals: Mutex<audit::refusals::Refusals>,
}

/// What a room wants looked at now and then.
type Look = Box<dyn FnMut(&Observe, Now) + Send>;

impl Default for Observe {
    fn default() -> Self {
        let mut registry = Registry::with_prefix("tidegate");
        let troubles = trouble::Troubles::default();
        troubles.register(&mut registry);
        Observe {
            registry: Mutex::new(registry),
            system: OnceLock::new(),
            changes: OnceLock::new(),
            troubles,
            refusing: refusing::Refusing::default(),
            looks: Mutex::default(),
            refusals: Mutex::default(),
        }
    }
}

impl Observe {
    /// Registers metrics; each room keeps its own handles and registers them once.
    pub fn register(&self, add: impl FnOnce(&mut Registry)) {
        add(&mut self.registry.lock().unwrap_or_else(|e| e.into_inner()));
    }

    /// Where system events go from now on; set once, before anything happens that raises one.
    pub fn route_system_events(&self, sender: mpsc::Sender<SystemEvent>) {
        let _ = self.system.set(sender);
    }

    /// Lets it have happened: log line and system event. A full queue of system events drops
    /// the event, not the caller.
    pub fn emit(&self, happening: &dyn Happening) {
        happening.log();
        if let (Some(event), Some(sender)) = (happening.system_event(), self.system.get()) {
            let _ = sender.try_send(event);
        }
    }

    /// The same for a change of state, which is told however often it comes: who tells it bounds it.
    pub fn emit_change(&self, happening: &dyn Happening) {
        log::repeats::always(|| self.emit(happening));
    }

    /// Has `look` looked once a second from now on. It may raise and clear troubles, and waits for
    /// nothing.
    pub fn look_at(&self, look: impl FnMut(&Observe, Now) + Send + 'static) {
        let mut looks = self.looks.lock().unwrap_or_else(|e| e.into_inner());
        looks.push(Box::new(look));
    }

    /// Looks once at everything.
    pub fn look(&self, now: Now) {
        let mut looks = self.looks.lock().unwrap_or_else(|e| e.into_inner());
        looks.iter_mut().for_each(|look| look(self, now));
        drop(looks);
        self.clear_past(now.instant);
        self.look_at_refusals(now);
    }

    /// All metrics in the OpenMetrics text format.
    pub fn metrics_text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(|e| e.into_inner());
        let _ = encode(&mut text, &registry);
        text
    }
}
