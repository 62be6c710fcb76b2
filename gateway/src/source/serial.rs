//! Devices that speak the framed link over a serial port.
//!
//! Every event a device holds is stored once, in order, before the device is told that it may
//! forget it. The parts:
//!
//! | file | noun |
//! |---|---|
//! | `config` | what its keys say |
//! | `source` | the port, opened again and again |
//! | `session` | one opening of the port: bytes in, bytes out, verdicts back |
//! | `host` | what the link hands on, made into arrivals; what outlives a session |
//! | `device` | the device at the other end and its sequence numbers |
//! | `device_event` | records and gaps as events |
//! | `device_clock` | a device's uptime on the gateway's clock |
//! | `schema` | names and units of readings, and their values as JSON |
//! | `turned_away` | a device that is not taken, and why |
//! | `receipts` | what was handed to the intake and what came back |
//!
//! Whatever happens on the line, a session can be begun anew: the durable mark of the device,
//! written in the same commit as its events, says where it goes on. Before a device is told to go
//! on, everything that was handed to the intake earlier is settled, so that the mark is true.
//!
//! The configuration is read by every program; the rest needs the feature `serial`.

pub mod config;
#[cfg(feature = "serial")]
mod device;
#[cfg(feature = "serial")]
mod device_clock;
#[cfg(feature = "serial")]
mod device_event;
#[cfg(feature = "serial")]
mod host;
#[cfg(feature = "serial")]
mod receipts;
#[cfg(feature = "serial")]
mod schema;
#[cfg(feature = "serial")]
mod session;
#[cfg(feature = "serial")]
mod source;
#[cfg(all(test, feature = "serial"))]
mod tests;
#[cfg(feature = "serial")]
mod turned_away;
#[cfg(all(test, feature = "serial"))]
mod twins;

use std::sync::Arc;

use tidegate_store::Store;

use super::device_claims::DeviceClaims;
use super::open::{OpenSource, Opening, Running};
use super::port_budget::PortBudget;
use crate::event::inlet::Inlet;
use crate::observe::source::SourceMetrics;
#[cfg(feature = "serial")]
use crate::time::clock;
use config::Serial;
#[cfg(feature = "serial")]
pub use source::SerialSource;

/// What a serial source needs of the gateway.
pub struct SerialContext {
    /// Where its events go.
    pub inlet: Inlet,
    /// Where the marks of its devices are.
    pub store: Store,
    /// Which source each device is at.
    pub devices: Arc<DeviceClaims>,
    /// What its port may cost, and its voice.
    pub budget: Arc<PortBudget>,
    /// Its counts.
    pub metrics: SourceMetrics,
}

impl OpenSource for Serial {
    const WAITS_FOR_DEVICE: bool = true;
    const HAS_PORT: bool = true;

    #[cfg(feature = "serial")]
    async fn open(&self, opening: Opening<'_>) -> Result<Running, String> {
        let budget = PortBudget::new(
            opening.name,
            opening.observe,
            opening.metrics.clone(),
            clock::monotonic(),
        );
        let context = SerialContext {
            inlet: opening.inlet,
            store: opening.store,
            devices: opening.devices,
            budget: Arc::new(budget),
            metrics: opening.metrics,
        };
        let source = SerialSource::new(self, opening.name, opening.gateway_id, context);
        Ok(Box::pin(source.run(opening.stop)))
    }

    #[cfg(not(feature = "serial"))]
    async fn open(&self, opening: Opening<'_>) -> Result<Running, String> {
        Err(opening.not_built())
    }
}
