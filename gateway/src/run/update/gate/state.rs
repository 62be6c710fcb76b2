//! What the gate remembers from one start to the next.

use std::fs::Permissions;
use std::io;
use std::os::unix::fs::PermissionsExt;
use std::path::{Path, PathBuf};

use serde::{Deserialize, Serialize};

use crate::run::update::durable;

/// The layout that is written; others are not read.
const VERSION: u32 = 1;
/// Where it lies, unless the environment says otherwise.
const FOLDER: &str = "/var/lib/tidegate-gate";
const VARIABLE: &str = "TIDEGATE_GATE_STATE";
const FOLDER_MODE: u32 = 0o755;

/// The folder that the gate and `run` share: `$TIDEGATE_GATE_STATE`, else that of the package.
pub fn folder() -> PathBuf {
    let given = std::env::var_os(VARIABLE).filter(|folder| !folder.is_empty());
    given.map_or_else(|| FOLDER.into(), PathBuf::from)
}

/// See the module.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct State {
    version: u32,
    /// The data that all this is about.
    pub data_dir: PathBuf,
    /// A program that was ready.
    pub confirmed: Option<String>,
    /// A program that was not ready yet.
    pub trial: Option<Trial>,
    /// What was put back, until another program is ready.
    pub put_back: Option<PutBack>,
}

/// One program, by its file and its release.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Program {
    /// SHA-256 of its file.
    pub digest: String,
    /// Its release, where it says so.
    pub version: Option<String>,
}

impl Program {
    /// Its release, or the beginning of its digest.
    pub fn name(&self) -> String {
        match &self.version {
            Some(version) => version.clone(),
            None => format!("of unknown version ({:.12})", self.digest),
        }
    }
}

/// A program on trial.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct Trial {
    /// Which.
    pub program: Program,
    /// What goes in its place if it fails.
    pub previous: Program,
    /// Format of the store before its first start.
    pub store_format: Option<u32>,
    /// Starts that failed, as far as they count.
    pub attempts: u32,
    /// All its starts: the last words of one bear its number.
    pub starts: u32,
    /// The boot of the machine in which the last one was.
    pub boot: Option<String>,
    /// Starts that a reboot of the machine cut off.
    pub cut_off: u32,
    /// Its last words.
    pub why: Option<String>,
    /// It failed and is being put back: no program may start before that is done.
    pub putting_back: bool,
}

/// A program that was put back.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
pub struct PutBack {
    /// The one that never became ready.
    pub from: Program,
    /// The one that runs again.
    pub to: Program,
    /// What became of the store.
    pub store: StoreFate,
    /// How the last start ended.
    pub why: Option<String>,
    /// How often a program had been ready by then.
    #[serde(default)]
    pub after: u64,
}

impl PutBack {
    /// What tells it from every other time, also from one with the same programs.
    pub fn name(&self) -> String {
        format!("{} after {}", self.from.digest, self.after)
    }

    /// What happened, in words.
    pub fn sentence(&self) -> String {
        let store = match self.store {
            StoreFate::Untouched => "the store is untouched",
            StoreFate::Restored => {
                "the store is the backup that was made before its first start, since which no event was acknowledged"
            }
        };
        let why = self.why.as_deref();
        let why = why.unwrap_or("it ended without a word, see `journalctl -u tidegate`");
        format!(
            "tidegate {} was not ready in three starts (last: {why}), and {} was put back in its place; {store}",
            self.from.name(),
            self.to.name()
        )
    }
}

/// What became of the store when a program was put back.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum StoreFate {
    /// It is as it was.
    Untouched,
    /// It is that of the backup which was made before the first start of the other program.
    Restored,
}

impl State {
    /// Nothing is known.
    pub fn new(data_dir: &Path) -> State {
        State {
            version: VERSION,
            data_dir: data_dir.to_owned(),
            confirmed: None,
            trial: None,
            put_back: None,
        }
    }

    fn path(folder: &Path) -> PathBuf {
        folder.join("state.json")
    }

    /// What is remembered about `data_dir` in `folder`, if anything.
    ///
    /// # Errors
    /// When it cannot be read, or is nothing that a gate wrote.
    pub fn read(folder: &Path, data_dir: &Path) -> io::Result<Option<State>> {
        let Some(bytes) = durable::read(&State::path(folder))? else {
            return Ok(None);
        };
        let state: State = serde_json::from_slice(&bytes)?;
        if state.version != VERSION {
            let why = format!("it is of version {}, which is not known", state.version);
            return Err(io::Error::new(io::ErrorKind::InvalidData, why));
        }
        Ok((state.data_dir == data_dir).then_some(state))
    }

    /// Remembers it: it is on the disk when this returns.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn write(&self, folder: &Path) -> io::Result<()> {
        std::fs::create_dir_all(folder)?;
        // The unit's umask is for secrets. This is none, and the gateway, which is not root, has to read it.
        std::fs::set_permissions(folder, Permissions::from_mode(FOLDER_MODE))?;
        durable::write_for_all(&State::path(folder), &serde_json::to_vec_pretty(self)?)
    }

    /// Puts what cannot be read out of the way, for whoever wants to look at it.
    pub fn set_aside(folder: &Path) {
        let path = State::path(folder);
        let _ = std::fs::rename(&path, durable::beside(&path, ".unreadable"));
    }
}
