//! A source that talks at its port until shutdown, opening it again whenever it is lost.

use std::sync::Arc;

use tokio::sync::watch;

use super::SerialContext;
use super::config::Serial;
use super::host::SerialHost;
use super::session::SerialSession;
use crate::event::inlet::{Closed, Inlet};
use crate::source::serial_port::{Openings, SerialPort};
use crate::time::clock;
use crate::time::shutdown::stopped;

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
            settings: config.settings,
            reopen_max: config.reopen_max,
            budget: Arc::clone(&context.budget),
            metrics: context.metrics.clone(),
            last: Openings::default(),
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
            self.host.port_lost(&why, clock::monotonic());
            self.port.lost(&why);
        }
        Ok(())
    }
}
