//! Devices that speak the framed link over a serial port.
//!
//! Every event a device holds is stored once, in order, before the device is told that it may
//! forget it. The parts:
//!
//! | file | noun |
//! |---|---|
//! | `session` | one opening of the port: bytes in, bytes out, verdicts back |
//! | `host` | what the link hands on, made into arrivals; what outlives a session |
//! | `device` | the device at the other end and its sequence numbers |
//! | `device_event` | records and gaps as events |
//! | `device_clock` | a device's uptime on the gateway's clock |
//! | `schema` | names and units of readings, and their values as JSON |
//! | `receipts` | what was handed to the intake and what came back |
//!
//! Whatever happens on the line, a session can be begun anew: the durable mark of the device,
//! written in the same commit as its events, says where it goes on. Before a device is told to go
//! on, everything that was handed to the intake earlier is settled, so that the mark is true.

mod device;
mod device_clock;
mod device_event;
mod host;
mod receipts;
mod schema;
mod session;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use tidegate_store::Store;
use tokio::sync::watch;

use super::serial_port::SerialPort;
use crate::config::Serial;
use crate::event::inlet::{Closed, Inlet};
use crate::observe::Observe;
use crate::observe::source::SourceMetrics;
use crate::time::clock;
use crate::time::shutdown::stopped;
use host::SerialHost;
use session::SerialSession;

/// What a serial source needs of the gateway.
pub struct SerialContext {
    /// Where its events go.
    pub inlet: Inlet,
    /// Where the marks of its devices are.
    pub store: Store,
    /// Log lines and system events.
    pub observe: Arc<Observe>,
    /// Its counts.
    pub metrics: SourceMetrics,
}

/// A `serial` source.
pub struct SerialSource {
    port: SerialPort,
    inlet: Inlet,
    host: SerialHost,
    nonce: u16,
}

impl SerialSource {
    /// A source that will talk at `config.port`.
    pub fn new(
        config: &Serial,
        name: &str,
        gateway_id: &str,
        context: SerialContext,
    ) -> SerialSource {
        let port = SerialPort {
            source: name.into(),
            wanted: config.port.clone(),
            baud: config.baud,
            reopen_max: config.reopen_max,
            observe: Arc::clone(&context.observe),
            metrics: context.metrics.clone(),
        };
        SerialSource {
            port,
            inlet: context.inlet.clone(),
            host: SerialHost::new(config, name, gateway_id, context, clock::monotonic()),
            nonce: fastrand::u16(..),
        }
    }

    /// Talks to whatever device is there until shutdown.
    ///
    /// # Errors
    /// [`Closed`] when the intake is gone.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) -> Result<(), Closed> {
        while let Some(stream) = self.port.open(&mut shutdown).await {
            // Far enough from the sessions of the link before.
            self.nonce = self.nonce.wrapping_add(0x1001);
            let session = SerialSession::new(&mut self.host, &self.inlet, self.nonce);
            let why = tokio::select! {
                () = stopped(&mut shutdown) => return Ok(()),
                ended = session.run(stream) => ended?,
            };
            self.host.port_lost(&why);
            self.port.lost(&why);
        }
        Ok(())
    }
}
