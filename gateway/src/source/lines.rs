//! Text over a serial port, for sketches that print lines: JSON, CSV with named columns, text.
//!
//! The configuration is read by every program; the rest needs the feature `serial`.

pub mod config;
#[cfg(feature = "serial")]
mod csv;
#[cfg(feature = "serial")]
mod number;
#[cfg(feature = "serial")]
mod payload;
#[cfg(feature = "serial")]
mod reader;
#[cfg(feature = "serial")]
mod splitter;
#[cfg(feature = "serial")]
mod text;

#[cfg(feature = "serial")]
use reader::LinesSource;

use super::open::{OpenSource, Opening, Running};
use config::Lines;

impl OpenSource for Lines {
    const HAS_PORT: bool = true;

    #[cfg(feature = "serial")]
    async fn open(&self, opening: Opening<'_>) -> Result<Running, String> {
        let source = LinesSource::new(
            self.clone(),
            opening.name,
            opening.gateway_id,
            opening.inlet,
            opening.observe,
            opening.metrics,
        );
        Ok(Box::pin(source.run(opening.stop)))
    }

    #[cfg(not(feature = "serial"))]
    async fn open(&self, opening: Opening<'_>) -> Result<Running, String> {
        Err(opening.not_built())
    }
}
