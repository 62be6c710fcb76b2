//! How a run of the gateway stands with the gate: whether its program is on trial, and what it leaves for the next start.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering};

use super::digest::{self, OWN};
use super::file_identity::FileIdentity;
use super::gate::state::{PutBack, State, folder};
use super::gate::store_copy::StoreCopy;
use super::mark::{LastWords, ReadyMark};

/// See the module.
#[derive(Debug)]
pub struct Standing {
    data_dir: PathBuf,
    /// Digest of this program and number of this start, while it is on trial.
    trial: Option<(String, u32)>,
    put_back: Option<PutBack>,
    /// A backup waits for the word that it is not needed.
    is_backed_up: bool,
    was_ready: AtomicBool,
}

/// What a run that is ready has to tell.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Told {
    /// This program was put back in the place of another.
    pub put_back: PutBack,
    /// No start before told it.
    pub is_new: bool,
}

impl Standing {
    /// That of a run over `data_dir`.
    ///
    /// # Errors
    /// In words, that a program is being put back and nothing may run before that is done.
    pub fn find(data_dir: &Path) -> Result<Standing, String> {
        let data_dir = std::path::absolute(data_dir).unwrap_or_else(|_| data_dir.to_owned());
        // Rubbish is the gate's to tell and set aside; what only it can read keeps this run from knowing of its trial.
        let state = State::read(&folder(), &data_dir).unwrap_or_else(|error| {
            if error.kind() == io::ErrorKind::PermissionDenied {
                let folder = folder();
                tracing::warn!("what the start gate remembers cannot be read ({error}), and so nothing of it is told: `sudo chmod -R a+rX {}`", folder.display());
            }
            None
        });
        let (trial, put_back) = state.map_or((None, None), |state| (state.trial, state.put_back));
        if trial.as_ref().is_some_and(|trial| trial.putting_back) {
            return Err(format!(
                "the program before is being put back over {} and nothing may run meanwhile: `tidegate self gate` does the rest",
                data_dir.display()
            ));
        }
        let trial = trial.and_then(|trial| {
            let own = digest::of_file(Path::new(OWN)).ok()?;
            (own == trial.program.digest).then_some((own, trial.starts))
        });
        Ok(Standing {
            is_backed_up: StoreCopy::of(&data_dir).is_there(),
            data_dir,
            trial,
            put_back,
            was_ready: AtomicBool::new(false),
        })
    }

    /// Whether this program was never ready, and another one is kept to be put back.
    pub fn is_on_trial(&self) -> bool {
        self.trial.is_some()
    }

    /// Whether nothing may be acknowledged before the mark is on the disk: else a backup would lack it.
    pub fn needs_mark(&self) -> bool {
        self.is_on_trial() || self.is_backed_up
    }

    /// Leaves the mark that this program is ready, and gives what is to be told.
    ///
    /// # Errors
    /// When it cannot be written.
    pub fn leave_mark(&self) -> io::Result<Option<Told>> {
        // As it is before it is read.
        let file = FileIdentity::of(Path::new(OWN));
        let own = match &self.trial {
            Some((own, _)) => own.clone(),
            None => self.own_digest(file.as_ref())?,
        };
        let put_back = self.put_back.as_ref();
        let put_back = put_back.filter(|put_back| put_back.to.digest == own);
        let name = put_back.map(PutBack::name);
        let was_told = ReadyMark::leave(&self.data_dir, &own, file, name.as_deref())?;
        self.was_ready.store(true, Ordering::Relaxed);
        Ok(put_back.map(|put_back| Told {
            put_back: put_back.clone(),
            is_new: !was_told,
        }))
    }

    /// The digest of this program: that of the last mark where it is the same file.
    fn own_digest(&self, file: Option<&FileIdentity>) -> io::Result<String> {
        let last = file.and_then(|_| ReadyMark::read(&self.data_dir));
        match last.filter(|last| last.file.as_ref() == file) {
            Some(last) => Ok(last.program),
            None => digest::of_file(Path::new(OWN)),
        }
    }

    /// Leaves the last words of a run on trial that was not ready.
    pub fn leave_words(&self, why: &str, told_to_end: bool) {
        let Some((program, attempt)) = &self.trial else {
            return;
        };
        if self.was_ready.load(Ordering::Relaxed) {
            return;
        }
        let words = LastWords {
            program: program.clone(),
            attempt: *attempt,
            told_to_end,
            why: why.to_owned(),
        };
        // Without them the next start counts this one, and says that it ended without a word.
        let _ = words.leave(&self.data_dir);
    }
}
