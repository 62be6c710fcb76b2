//! The gate at each start of the service: a program that was never ready gets three starts, then the one before it is put
//! back, with the store as it was before.
//!
//! | what there is | what the gate does |
//! |---|---|
//! | the program was ready before | nothing |
//! | no other program is kept | nothing: there is no way back |
//! | a new program | a backup of the store, where its formats are others or not known; then its first start |
//! | it had a start and left no mark | its next start, or the previous program in its place |
//! | the gate was cut off while it put back | the rest of that, before anything starts |
//!
//! A start does not count that somebody ended while it waited for room on the disk, or that a reboot cut off, up to ten of
//! these. No clock decides. A program that was put back is tried again only once somebody installs it anew.

mod program;
pub mod state;
pub mod store_copy;

use std::io;
use std::path::PathBuf;

use super::bounded::Identity;
use super::digest;
use super::durable;
use super::file_identity::FileIdentity;
use super::formats::Formats;
use super::image;
use super::mark::{LastWords, ReadyMark};
pub use program::Programs;
use state::{Program, PutBack, State, StoreFate, Trial};
use store_copy::StoreCopy;

/// Starts that a new program has to become ready.
pub const STARTS_MAX: u32 = 3;
/// Starts that a reboot cut off and that do not count.
const CUT_OFF_MAX: u32 = 10;
/// What a program is called that is not there.
const MISSING: &str = "missing";

/// What is done at the store, by its owner.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Step {
    /// A backup is made, unless there is one of this moment.
    BackUp,
    /// Whether it can be as it was when it had this format.
    Check(Option<u32>),
    /// It becomes so again.
    Restore(Option<u32>),
    /// The backup is removed.
    Forget,
}

/// What came of a start of the service.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Outcome {
    /// The program was ready before.
    Known,
    /// There is nothing that could be put back; why.
    NoWayBack(String),
    /// A new program has its start of this number.
    Starts(Program, u32),
    /// Another program was put back.
    PutBack(Box<PutBack>),
    /// It cannot be put back, and so it goes on trying; why.
    GoesOn(String),
}

/// Why the service must not start now.
#[derive(Debug)]
pub struct Halfway(pub String);

/// The gate of one gateway.
pub struct Gate<'a> {
    /// The folder of its state.
    pub folder: PathBuf,
    /// The gateway's data.
    pub data_dir: PathBuf,
    /// The programs.
    pub programs: Programs,
    /// As whom a program is asked for its formats.
    pub identity: Option<Identity>,
    /// Which boot of the machine this is.
    pub boot: Option<String>,
    /// Does the steps.
    pub step: &'a dyn Fn(Step) -> Result<StoreFate, String>,
    /// Hears what is wrong but stops nothing.
    pub warn: &'a dyn Fn(&str),
}

impl Gate<'_> {
    /// Decides about a start.
    ///
    /// # Errors
    /// When a program is put back half-way and the rest cannot be done: nothing may start then.
    pub fn start(&self) -> Result<Outcome, Halfway> {
        let mut state = self.read();
        if let Some(trial) = state.trial.clone().filter(|trial| trial.putting_back) {
            return self.put_back(&mut state, trial);
        }
        let present = self.known_at_a_look(&state);
        let present = present.unwrap_or_else(|| self.present());
        if self.was_ready(&state, &present) {
            return self.confirm(state, present);
        }
        let Ok(previous) = digest::of_file(&self.programs.previous) else {
            let where_to = self.programs.previous.display();
            return Ok(Outcome::NoWayBack(format!(
                "no program from before is kept at {where_to}"
            )));
        };
        if previous == present {
            return self.confirm(state, present);
        }
        let trial = match state.trial.take() {
            Some(trial) if trial.program.digest == present && trial.previous.digest == previous => {
                self.judged(trial)
            }
            before => match self.begin(present, previous, before) {
                Ok(trial) => trial,
                Err(trial) => return self.put_back(&mut state, *trial),
            },
        };
        if trial.attempts >= STARTS_MAX {
            return self.put_back(&mut state, trial);
        }
        self.attempt(state, trial)
    }

    /// Keeps the present program as the one to go back to, if it was ever ready; `false` where it was not, and another
    /// is kept.
    ///
    /// # Errors
    /// When it cannot be kept.
    pub fn keep(&self) -> io::Result<bool> {
        let present = digest::of_file(&self.programs.present)?;
        let mut state = self.read();
        if self.programs.previous.exists() && !self.was_ready(&state, &present) {
            return Ok(false);
        }
        if state.put_back.take().is_some() {
            // Whoever installs another one has seen it.
            self.remember(&state);
        }
        self.programs.keep().map(|()| true)
    }

    fn read(&self) -> State {
        match State::read(&self.folder, &self.data_dir) {
            Ok(found) => found.unwrap_or_else(|| State::new(&self.data_dir)),
            Err(error) => {
                (self.warn)(&format!(
                    "what was remembered in {} cannot be read ({error}): it is set aside, and the starts count anew",
                    self.folder.display()
                ));
                State::set_aside(&self.folder);
                State::new(&self.data_dir)
            }
        }
    }

    fn present(&self) -> String {
        digest::of_file(&self.programs.present).unwrap_or_else(|_| MISSING.to_owned())
    }

    /// The digest of the present program, where its file is the one that was ready last and that the gate has read once.
    /// Reading all of it takes a small machine the better part of a second. It is read all the same after a start that was
    /// not ready: a damaged disk gives other bytes under the same name and times.
    fn known_at_a_look(&self, state: &State) -> Option<String> {
        let is_settled = state.trial.is_none() && !StoreCopy::of(&self.data_dir).is_there();
        let mark = ReadyMark::read(&self.data_dir).filter(|_| is_settled)?;
        let is_it = mark.file.is_some() && mark.file == FileIdentity::of(&self.programs.present);
        let is_confirmed = state.confirmed.as_ref() == Some(&mark.program);
        (is_it && is_confirmed && self.is_first_look()).then_some(mark.program)
    }

    /// Whether a program was ready since the last look at a file. A power cut may take what is remembered of that, and
    /// then a look is had once more.
    fn is_first_look(&self) -> bool {
        let path = self.folder.join("last-look");
        let (Ok(now), Ok(last)) = (ReadyMark::fingerprint(&self.data_dir), durable::read(&path))
        else {
            return false;
        };
        last.as_deref() != Some(now.as_bytes()) && std::fs::write(&path, now).is_ok()
    }

    fn was_ready(&self, state: &State, present: &str) -> bool {
        let mark = ReadyMark::read(&self.data_dir);
        state.confirmed.as_deref() == Some(present)
            || mark.is_some_and(|mark| mark.program == present)
    }

    /// The present program is one that works.
    fn confirm(&self, mut state: State, present: String) -> Result<Outcome, Halfway> {
        let before = state.clone();
        let copy = StoreCopy::of(&self.data_dir);
        state.trial = None;
        if let Some(format) = copy.format_before() {
            // No program was ready since the backup. So somebody took a failed one back by hand, and what that made of the
            // store is not for this one.
            match (self.step)(Step::Check(format)) {
                Ok(_) => {
                    let restored = (self.step)(Step::Restore(format));
                    restored.map_err(|why| self.halfway(&why))?;
                }
                Err(why) => (self.warn)(&format!("the store stays as it is: {why}")),
            }
        }
        let is_another = |put_back: &PutBack| put_back.to.digest != present;
        if state.put_back.as_ref().is_some_and(is_another) {
            state.put_back = None;
        }
        state.confirmed = Some(present);
        if state != before {
            self.remember(&state);
        }
        if copy.is_there() {
            self.forget();
        }
        Ok(Outcome::Known)
    }

    fn forget(&self) {
        if let Err(why) = (self.step)(Step::Forget) {
            (self.warn)(&format!("the backup cannot be removed: {why}"));
        }
    }

    fn remember(&self, state: &State) -> bool {
        let written = state.write(&self.folder);
        if let Err(error) = &written {
            (self.warn)(&format!(
                "nothing can be remembered in {}: {error}",
                self.folder.display()
            ));
        }
        written.is_ok()
    }

    /// A trial of a new program, or what is put back at once: without a backup it must not touch the store.
    fn begin(
        &self,
        present: String,
        previous: String,
        before: Option<Trial>,
    ) -> Result<Trial, Box<Trial>> {
        let formats = |of: &PathBuf| -> Option<Formats> {
            image::of_file(of).ok()?.formats(self.identity).ok()
        };
        let (new, old) = (
            formats(&self.programs.present),
            formats(&self.programs.previous),
        );
        let is_alike = match (&new, &old) {
            (Some(new), Some(old)) => new.written_otherwise(old).is_empty(),
            _ => false,
        };
        let store = crate::config::store_dir(&self.data_dir);
        let store_format = match &before {
            Some(before) => before.store_format,
            None => StoreCopy::of(&self.data_dir)
                .format_before()
                .unwrap_or_else(|| tidegate_store::format_of(&store)),
        };
        let program = |digest, formats: Option<Formats>| Program {
            digest,
            version: formats.map(|formats| formats.version),
        };
        let mut trial = Trial {
            program: program(present, new),
            previous: program(previous, old),
            store_format,
            attempts: 0,
            starts: 0,
            boot: None,
            cut_off: 0,
            why: None,
            putting_back: false,
        };
        if !is_alike && let Err(why) = (self.step)(Step::BackUp) {
            trial.why = Some(format!(
                "its formats are others or not known, and no backup of the store could be made: {why}"
            ));
            return Err(Box::new(trial));
        }
        Ok(trial)
    }

    /// The trial with its last start judged.
    fn judged(&self, mut trial: Trial) -> Trial {
        if trial.starts == 0 {
            return trial;
        }
        let words = LastWords::read(&self.data_dir)
            .filter(|words| words.program == trial.program.digest && words.attempt == trial.starts);
        let is_cut_off = trial.boot != self.boot;
        match words {
            Some(words) if words.told_to_end => {}
            Some(words) => {
                trial.attempts += 1;
                trial.why = Some(words.why);
            }
            None if is_cut_off && trial.cut_off < CUT_OFF_MAX => trial.cut_off += 1,
            None => {
                trial.attempts += 1;
                trial.why = None;
            }
        }
        trial
    }

    fn attempt(&self, mut state: State, mut trial: Trial) -> Result<Outcome, Halfway> {
        trial.starts += 1;
        trial.boot.clone_from(&self.boot);
        let (program, number) = (trial.program.clone(), trial.attempts + 1);
        state.trial = Some(trial);
        self.remember(&state);
        Ok(Outcome::Starts(program, number))
    }

    fn put_back(&self, state: &mut State, mut trial: Trial) -> Result<Outcome, Halfway> {
        let format = trial.store_format;
        if !trial.putting_back {
            if let Err(why) = (self.step)(Step::Check(format)) {
                state.trial = Some(trial);
                self.remember(state);
                return Ok(Outcome::GoesOn(why));
            }
            trial.putting_back = true;
            state.trial = Some(trial.clone());
            if !self.remember(state) {
                let why = "its state cannot be written".to_owned();
                return Ok(Outcome::GoesOn(why));
            }
        }
        if let Err(error) = self.programs.put_back(&trial.previous.digest) {
            let why = format!("{}: {error}", self.programs.present.display());
            if self.present() == trial.previous.digest {
                return Err(self.halfway(&why));
            }
            trial.putting_back = false;
            state.trial = Some(trial);
            self.remember(state);
            return Ok(Outcome::GoesOn(why));
        }
        let restored = (self.step)(Step::Restore(format));
        let store = restored.map_err(|why| self.halfway(&why))?;
        let put_back = PutBack {
            from: trial.program,
            to: trial.previous,
            store,
            why: trial.why,
            after: ReadyMark::read(&self.data_dir).map_or(0, |mark| mark.count),
        };
        state.confirmed = Some(put_back.to.digest.clone());
        state.trial = None;
        state.put_back = Some(put_back.clone());
        let is_written = state.write(&self.folder);
        is_written.map_err(|error| self.halfway(&error.to_string()))?;
        self.forget();
        Ok(Outcome::PutBack(Box::new(put_back)))
    }

    fn halfway(&self, why: &str) -> Halfway {
        Halfway(format!(
            "the program before is being put back, and that cannot go on: {why}. Nothing starts before that is mended; the \
             store lies in {}, its backup, if there is one, in before-upgrade beside it",
            crate::config::store_dir(&self.data_dir).display()
        ))
    }
}

/// Which boot of the machine this is, where the kernel says so.
pub fn boot() -> Option<String> {
    let id = std::fs::read_to_string("/proc/sys/kernel/random/boot_id").ok()?;
    Some(id.trim().to_owned())
}
