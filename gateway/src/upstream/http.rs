//! Posts events to a webhook: one a request, or in batches.
//!
//! Requests keep no queue: the lane hands over as many deliveries as fit into the requests that
//! may be under way, so a pause holds everything back and order is kept. A batch that is refused
//! is posted again in halves until the event that the server refuses stands alone.
//!
//! A timeout or an answer such as 503 pauses the lane. A connection that breaks counts as
//! trouble only if the server cannot be reached right afterwards either.
//!
//! The configuration is read by every program; the rest needs the feature `http`.

pub mod config;

#[cfg(feature = "http")]
mod request;
#[cfg(feature = "http")]
mod response;
#[cfg(feature = "http")]
mod webhook;

use std::time::Duration;

use super::open::{OpenUpstream, Opening};
use config::HttpUpstream;
#[cfg(feature = "http")]
pub use webhook::HttpOut;

/// How much longer than a request may take until it counts as settled.
const SETTLE_MAX: Duration = Duration::from_secs(15);

impl OpenUpstream for HttpUpstream {
    #[cfg(feature = "http")]
    type Upstream = HttpOut;
    #[cfg(not(feature = "http"))]
    type Upstream = super::open::NotBuilt;

    #[cfg(feature = "http")]
    fn open(&self, _: Opening<'_>) -> Result<HttpOut, String> {
        HttpOut::new(self.clone())
    }

    #[cfg(not(feature = "http"))]
    fn open(&self, _: Opening<'_>) -> Result<super::open::NotBuilt, String> {
        Err("this build has no `http` feature".into())
    }

    /// A request that may take longer than `ack_timeout` is no sign of a dead connection.
    fn ack_timeout_min(&self) -> Duration {
        self.timeout + SETTLE_MAX
    }
}
