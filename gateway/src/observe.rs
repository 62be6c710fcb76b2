//! What happens in the gateway is a type: emitting it is one log line and, where the architecture
//! names it, one system event. Beside these types stand the metrics and the status.

pub mod dead_letters;
pub mod forward;
pub mod gap;
pub mod intake;
pub mod log;
pub mod process;
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
    /// What a person should look at.
    pub troubles: trouble::Troubles,
}

impl Default for Observe {
    fn default() -> Self {
        Observe {
            registry: Mutex::new(Registry::with_prefix("tidegate")),
            system: OnceLock::new(),
            troubles: trouble::Troubles::default(),
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

    /// All metrics in the OpenMetrics text format.
    pub fn metrics_text(&self) -> String {
        let mut text = String::new();
        let registry = self.registry.lock().unwrap_or_else(|e| e.into_inner());
        let _ = encode(&mut text, &registry);
        text
    }
}
