//! What several subcommands take: which configuration or data they work with, and how they write their answer.

use std::path::{Path, PathBuf};

use clap::{Args, ValueEnum};

use super::Failure;
use crate::run::config::{self, Place};

const VARIABLE: &str = "TIDEGATE_CONFIG";
const HERE: &str = "gateway.toml";
const SYSTEM: &str = "/etc/tidegate/gateway.toml";

/// How a subcommand that people read and programs parse writes its answer.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, ValueEnum)]
pub(super) enum OutputFormat {
    /// For people
    #[default]
    Text,
    /// For programs
    Json,
}

/// Which configuration a subcommand works with.
#[derive(Debug, Args)]
pub(super) struct ConfigArgument {
    /// Configuration file [default: $TIDEGATE_CONFIG, ./gateway.toml or /etc/tidegate/gateway.toml]
    #[arg(long, short, value_name = "FILE", global = true)]
    config: Option<PathBuf>,
}

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
}

/// Which gateway's data a subcommand works with: where the configuration says that it lies, of which nothing else is read.
#[derive(Debug, Args)]
pub(super) struct PlaceArgument {
    #[command(flatten)]
    config: ConfigArgument,
    /// Data folder of the gateway; without it the configuration says where that is
    #[arg(long, value_name = "DIR", global = true)]
    data_dir: Option<PathBuf>,
}

impl PlaceArgument {
    /// The configuration, where one is named or found.
    ///
    /// # Errors
    /// Where it was looked for.
    pub(super) fn config_path(&self) -> Result<PathBuf, Failure> {
        self.config.path()
    }

    /// The folder, where it can be known; nobody is told why not.
    pub(super) fn quietly(&self) -> Option<Place> {
        match &self.data_dir {
            Some(data_dir) => Some(Place::of_folder(data_dir.clone())),
            None => config::place(&self.config.path().ok()?).ok(),
        }
    }

    /// Finds the folder. Secrets of the service are not read.
    ///
    /// # Errors
    /// Where it was looked for, or what keeps it from being known.
    pub(super) fn find(&self) -> Result<Place, Failure> {
        let instead =
            || Some("`--data-dir DIR` names the data folder without a configuration".to_owned());
        if let Some(data_dir) = &self.data_dir {
            return Ok(Place::of_folder(data_dir.clone()));
        }
        let path = self
            .config
            .path()
            .map_err(|failure| failure.and(instead()))?;
        config::place(&path).map_err(|found| Failure::BadConfig(found).and(instead()))
    }
}
