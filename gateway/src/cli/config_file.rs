//! Finds the configuration file that a subcommand works with, and reads it.

use std::path::{Path, PathBuf};

use super::{ConfigArgument, Failure};
use crate::config::{self, Config};

const VARIABLE: &str = "TIDEGATE_CONFIG";
const HERE: &str = "gateway.toml";
const SYSTEM: &str = "/etc/tidegate/gateway.toml";

impl ConfigArgument {
    /// The file to use: `--config`, else `$TIDEGATE_CONFIG`, else the first that exists.
    ///
    /// # Errors
    /// Where it was looked for.
    pub(super) fn path(&self) -> Result<PathBuf, Failure> {
        if let Some(path) = &self.config {
            return Ok(path.clone());
        }
        if let Some(path) = std::env::var_os(VARIABLE).filter(|path| !path.is_empty()) {
            return Ok(path.into());
        }
        let found = [HERE, SYSTEM]
            .into_iter()
            .map(Path::new)
            .find(|path| path.exists());
        found.map(Path::to_owned).ok_or_else(|| {
            Failure::new(format!(
                "no configuration: looked at ${VARIABLE}, ./{HERE} and {SYSTEM}; name one with --config FILE"
            ))
        })
    }

    /// Reads the file.
    ///
    /// # Errors
    /// Where it was looked for, or everything that is wrong with it.
    pub(super) fn load(&self) -> Result<Config, Failure> {
        config::load(&self.path()?).map_err(Failure::BadConfig)
    }
}
