//! Recovery: from the directories of the generations to the catalog in memory.
//!
//! The newest generation that was begun completely is the one to go on with; it holds the cursors, lanes and marks, and
//! is read through. Older ones are known from their summary files. What cannot be used goes to quarantine, and the next
//! older one takes its place: its cursors are older too, so that records are delivered again, none skipped.

mod directories;
pub(crate) mod scan;
pub(crate) mod unacknowledged;

use crate::Sequence;
use crate::api::error::OpenError;
use crate::api::options::Options;
use crate::api::status::{Counters, Damage, OpenProgress, OpenReport};
use crate::catalog::Catalog;
use crate::catalog::small_keys::SmallKeys;
use crate::catalog::tail::Tail;
use crate::engine::clock;
use crate::engine::database_files::has_failed;
use crate::engine::failure::EngineError;
use crate::engine::sled::Engine;
use crate::engine::sled::looking::How;
use crate::format::directory::quarantine_dir;
use crate::generation::high_water::HighWater;
use crate::generation::quarantine::{described, isolate};
use crate::generation::ranges::Ranges;
use crate::generation::running_time::{self, RunningTime};
use crate::generation::summary::Summary;
use crate::generation::survivors::Survivors;
use crate::generation::{Generation, holes};
use crate::read::frames;
use directories::{GenerationDir, discard};
use scan::{Scan, scan};
use std::collections::VecDeque;
use std::sync::Arc;

/// The outcome.
pub(crate) struct Recovered {
    pub(crate) catalog: Catalog,
    /// The generation to go on with; `None` if a new one must be begun.
    pub(crate) engine: Option<Arc<Engine>>,
    /// Its number, or the highest ever seen.
    pub(crate) generation: u64,
    pub(crate) report: OpenReport,
}

/// The newest usable generation, read through.
struct Newest {
    found: GenerationDir,
    engine: Engine,
    small_keys: SmallKeys,
    scan: Scan,
    survivors: Option<Survivors>,
}

/// See the module.
pub(crate) struct Recovery<'a> {
    options: &'a Options,
    report: OpenReport,
    high_water: HighWater,
    /// Sequences below this may have been given out, in a generation that could not be used.
    given_out: Sequence,
    /// Ranges that went from the middle of the log on purpose.
    holes: Ranges,
    told: &'a mut dyn FnMut(OpenProgress),
    progress: OpenProgress,
    how: How<'a>,
}

impl<'a> Recovery<'a> {
    pub(crate) fn new(
        options: &'a Options,
        report: OpenReport,
        how: How<'a>,
        told: &'a mut dyn FnMut(OpenProgress),
    ) -> Recovery<'a> {
        let high_water = HighWater::load(&options.dir).unwrap_or_default();
        Recovery {
            options,
            report,
            high_water,
            given_out: 0,
            holes: holes::load(&options.dir),
            told,
            progress: OpenProgress::default(),
            how,
        }
    }

    pub(crate) fn run(mut self) -> Result<Recovered, OpenError> {
        let mut found = directories::find(self.options, self.looks(), &mut self.report)?;
        self.progress.generations = found.len() as u64;
        (self.told)(self.progress);
        let highest = found
            .last()
            .map_or(0, |last| last.id)
            .max(self.high_water.generation);
        let newest = self.newest(&mut found)?;
        if newest.as_ref().map_or(0, |newest| newest.found.id) < self.high_water.generation {
            self.note_lost_generation();
        }
        let first_of_newest = newest.as_ref().map(|newest| newest.found.first);
        let sealed = self.sealed(&found, first_of_newest)?;
        let mut catalog = self.catalog(sealed, newest.as_ref());
        for generation in &catalog.generations {
            let (first, end) = (generation.summary.first, generation.summary.end);
            if first < end {
                // A crash came before it was deleted.
                catalog.holes.remove(first, end - 1);
            }
        }
        self.note_missing(&mut catalog);
        let mut generation = highest;
        let mut engine = None;
        if let Some(newest) = newest {
            // Sequences were lost behind this generation, or writing to it failed, or it was rewritten, or it is read from a
            // copy: a new one begins where the count goes on.
            let whole = newest.scan.summary.end == catalog.next && newest.survivors.is_none();
            let writable = !newest.engine.is_copy() && !has_failed(&newest.found.dir);
            let goes_on = whole && (writable || self.looks());
            generation = if goes_on { newest.found.id } else { highest };
            engine = self.adopt(&mut catalog, newest, goes_on)?;
        }
        unacknowledged::count(&mut catalog, self.options.cache_bytes);
        Ok(Recovered {
            catalog,
            engine,
            generation,
            report: self.report,
        })
    }

    /// Takes the newest usable generation off the list; unusable ones behind it are put aside.
    fn newest(&mut self, found: &mut Vec<GenerationDir>) -> Result<Option<Newest>, OpenError> {
        while let Some(candidate) = found.pop() {
            let engine = match self.open_engine(&candidate)? {
                Ok(engine) => engine,
                Err(why) => {
                    self.quarantine_newest(&candidate, &why)?;
                    continue;
                }
            };
            let small_keys = self.usable(&candidate, SmallKeys::read(&engine))?;
            match small_keys {
                Ok(small_keys) if small_keys.complete => {
                    match self.scan_newest(&candidate, &engine, &small_keys)? {
                        Ok(scan) => {
                            return Ok(Some(Newest {
                                survivors: Survivors::load(&candidate.dir),
                                found: candidate,
                                engine,
                                small_keys,
                                scan,
                            }));
                        }
                        Err(why) => {
                            drop(engine);
                            self.quarantine_newest(&candidate, &why)?;
                        }
                    }
                }
                // A crash came while it was begun: nothing in it was ever acknowledged.
                Ok(_) if candidate.id > self.high_water.generation => {
                    drop(engine);
                    self.discard(&candidate)?;
                }
                Ok(_) => {
                    drop(engine);
                    self.quarantine_newest(&candidate, "it has lost its small keys")?;
                }
                Err(why) => {
                    drop(engine);
                    self.quarantine_newest(&candidate, &why)?;
                }
            }
        }
        Ok(None)
    }

    fn open_engine(&self, found: &GenerationDir) -> Result<Result<Engine, String>, OpenError> {
        let opened = self.how.open(&found.dir, self.options.cache_bytes);
        self.usable(found, opened)
    }

    fn looks(&self) -> bool {
        matches!(self.how, How::ToLook(_))
    }

    /// Deletes a generation that holds nothing, unless nothing may be written.
    fn discard(&self, found: &GenerationDir) -> Result<(), OpenError> {
        match self.looks() {
            true => Ok(()),
            false => discard(&found.dir),
        }
    }

    /// Damage is an answer, to be dealt with; a failing disk ends the opening.
    fn usable<T>(
        &self,
        found: &GenerationDir,
        result: Result<T, EngineError>,
    ) -> Result<Result<T, String>, OpenError> {
        match result {
            Ok(value) => Ok(Ok(value)),
            Err(EngineError::Damaged(why)) => Ok(Err(why)),
            Err(EngineError::NoSpace(why)) => Err(OpenError::NoSpace {
                dir: self.options.dir.clone(),
                why,
            }),
            Err(EngineError::Failed(why)) => Err(OpenError::Io {
                path: found.dir.clone(),
                why,
            }),
        }
    }

    fn quarantine(
        &mut self,
        found: &GenerationDir,
        last: Sequence,
        why: &str,
    ) -> Result<(), OpenError> {
        let to = quarantine_dir(&self.options.dir);
        let isolated = match self.looks() {
            true => Ok(described(&found.dir, found.first, last, why)),
            false => isolate(&found.dir, &to, last, why),
        };
        self.report
            .quarantined
            .push(isolated.map_err(|error| OpenError::io(&found.dir, &error))?);
        Ok(())
    }

    /// Nobody knows how many sequences an unusable newest generation had given out: the count goes on behind all that can
    /// have been, for a record takes several bytes.
    fn quarantine_newest(&mut self, found: &GenerationDir, why: &str) -> Result<(), OpenError> {
        let end = self.beyond(found.first);
        self.given_out = self.given_out.max(end);
        self.quarantine(found, end - 1, why)
    }

    /// A sequence that a generation beginning with `first` cannot have given out.
    fn beyond(&self, first: Sequence) -> Sequence {
        first.saturating_add(self.options.generation_bytes.max(1 << 24))
    }

    /// The generation that the mark outside sled speaks of is not there. If it was not moved to quarantine just now,
    /// somebody emptied the directory.
    fn note_lost_generation(&mut self) {
        let first = self.high_water.next;
        if self.given_out == 0 {
            self.given_out = self.beyond(first);
            let generation = self.high_water.generation;
            let last = self.given_out - 1;
            self.report.damage.push(Damage {
                generation,
                first,
                last,
            });
        }
    }

    /// Reads the newest generation through, and takes back a last commit of which only the records arrived.
    fn scan_newest(
        &mut self,
        found: &GenerationDir,
        engine: &Engine,
        small_keys: &SmallKeys,
    ) -> Result<Result<Scan, String>, OpenError> {
        let tail_bytes = self.tail_bytes();
        let survivors = Survivors::load(&found.dir);
        let whole = scan(
            engine,
            found.first,
            Sequence::MAX,
            tail_bytes,
            survivors.as_ref(),
        );
        let whole = match self.usable(found, whole)? {
            Ok(whole) => whole,
            Err(why) => return Ok(Err(why)),
        };
        let Some(last) = whole.last else {
            return Ok(Ok(whole));
        };
        let start = last.place.first - Sequence::from(last.place.commit_offset);
        let is_torn = match last.place.with_small_keys {
            true => last.last() > small_keys.through,
            // The value log is synced at the same time. What was there at an orderly end is damaged if it is not there now.
            false => {
                start >= self.high_water.next && {
                    let found_all = frames::are_whole(engine, start..last.last() + 1);
                    self.usable(found, found_all)? == Ok(false)
                }
            }
        };
        if !is_torn {
            return Ok(Ok(whole));
        }
        if let Err(why) = self.usable(found, engine.cut_from(start))? {
            return Ok(Err(why));
        }
        self.report.taken_back += whole.summary.end.max(last.last() + 1) - start;
        self.usable(found, scan(engine, found.first, start, tail_bytes, None))
    }

    fn tail_bytes(&self) -> usize {
        usize::try_from(self.options.tail_bytes).unwrap_or(usize::MAX)
    }

    /// The generations before the newest, each ending where the next one begins.
    fn sealed(
        &mut self,
        found: &[GenerationDir],
        newest: Option<Sequence>,
    ) -> Result<VecDeque<Generation>, OpenError> {
        let mut sealed = VecDeque::new();
        for (at, candidate) in found.iter().enumerate() {
            self.progress.done = at as u64;
            (self.told)(self.progress);
            let behind = found
                .get(at + 1)
                .map(|next| next.first)
                .or(newest)
                .unwrap_or(Sequence::MAX);
            if behind <= candidate.first {
                self.discard(candidate)?;
                continue;
            }
            let of_this = |s: &Summary| s.first == candidate.first && s.end <= behind;
            let known = Summary::load(&candidate.dir)
                .filter(of_this)
                .map(|summary| (summary, false));
            let known = match known {
                Some(known) => Some(known),
                None => self.count_anew(candidate, behind)?,
            };
            let Some((summary, damaged)) = known else {
                continue;
            };
            let mut generation = Generation::new(candidate.id, &candidate.dir, summary, true);
            generation.damaged = damaged;
            generation.survivors = Survivors::load(&candidate.dir).map(Arc::new);
            generation.newest_ms = running_time::load(&candidate.dir).unwrap_or(u64::MAX);
            sealed.push_back(generation);
        }
        Ok(sealed)
    }

    fn count_anew(
        &mut self,
        found: &GenerationDir,
        behind: Sequence,
    ) -> Result<Option<(Summary, bool)>, OpenError> {
        let survivors = Survivors::load(&found.dir);
        let scanned = match self.open_engine(found)? {
            Ok(engine) => {
                let scanned = scan(&engine, found.first, behind, 0, survivors.as_ref());
                self.usable(found, scanned)?
            }
            Err(why) => Err(why),
        };
        match scanned {
            Ok(scan) => {
                self.report.rescanned += 1;
                if !self.looks() {
                    let _ = scan.summary.save(&found.dir);
                }
                // sled takes what it cannot read at the end of its log for the end.
                let cut_off = scan.summary.end < behind && survivors.is_none();
                Ok(Some((scan.summary, scan.damaged || cut_off)))
            }
            Err(why) => {
                self.quarantine(found, behind.saturating_sub(1), &why)?;
                Ok(None)
            }
        }
    }

    fn catalog(&self, mut sealed: VecDeque<Generation>, newest: Option<&Newest>) -> Catalog {
        let readings = sealed.iter().map(|generation| generation.newest_ms);
        let base_ms = readings.filter(|reading| *reading != u64::MAX).max();
        let running_time = RunningTime::from(base_ms.unwrap_or(0));
        for generation in &mut sealed {
            generation.newest_ms = generation.newest_ms.min(running_time.now_ms());
        }
        let end = newest
            .map(|newest| newest.scan.summary.end.max(newest.small_keys.through + 1))
            .or(sealed.back().map(|last| last.summary.end));
        let next = end
            .unwrap_or(1)
            .max(self.high_water.next)
            .max(self.given_out)
            .max(1);
        Catalog {
            generations: sealed,
            tail: Tail::new(self.tail_bytes()),
            next,
            lanes: newest
                .map(|newest| newest.small_keys.lanes(next))
                .unwrap_or_default(),
            marks: newest
                .map(|newest| newest.small_keys.marks.clone())
                .unwrap_or_default(),
            damage: Vec::new(),
            quarantined: Vec::new(),
            counters: Counters::default(),
            newest_record: None,
            running_time,
            holes: self.holes.clone(),
        }
    }

    /// Sequences between the generations that are nowhere.
    fn note_missing(&mut self, catalog: &mut Catalog) {
        for pair in catalog.generations.make_contiguous().windows(2) {
            if let [before, after] = pair {
                self.note_gap(before.id, before.summary.end, after.summary.first);
            }
        }
    }

    /// What lies between two generations and did not go on purpose.
    fn note_gap(&mut self, generation: u64, first: Sequence, end: Sequence) {
        if first >= end {
            return;
        }
        let lost = self.holes.outside(first, end - 1);
        self.report
            .damage
            .extend(lost.into_iter().map(|(first, last)| Damage {
                generation,
                first,
                last,
            }));
    }

    /// Puts the newest generation in place. Unless the log goes on in it, it is sealed and a new one must follow.
    fn adopt(
        &mut self,
        catalog: &mut Catalog,
        newest: Newest,
        goes_on: bool,
    ) -> Result<Option<Arc<Engine>>, OpenError> {
        let Newest {
            found,
            engine,
            small_keys,
            scan,
            survivors,
        } = newest;
        let before = catalog
            .generations
            .back()
            .map_or(found.first, |last| last.summary.end);
        self.note_gap(found.id, before, found.first);
        let lost = scan.summary.end < catalog.next && self.given_out == 0;
        let behind = lost.then(|| (scan.summary.end, catalog.next - 1));
        for (first, last) in scan.missing.into_iter().chain(behind) {
            self.report.damage.push(Damage {
                generation: found.id,
                first,
                last,
            });
        }
        let mut generation = Generation::new(found.id, &found.dir, scan.summary, !goes_on);
        generation.damaged = scan.damaged;
        generation.large_bytes = scan.large_bytes;
        generation.survivors = survivors.map(Arc::new);
        (generation.begun_ms, generation.newest_ms) =
            (catalog.running_time.now_ms(), catalog.running_time.now_ms());
        if goes_on && !engine.is_copy() {
            // Behind it is what a crash left of a commit.
            let cut = engine.values().cut(scan.values_end);
            cut.map_err(|error| OpenError::io(&found.dir, &error))?;
        }
        let engine = Arc::new(engine);
        generation.engine = Some(engine.clone());
        scan.tail
            .into_iter()
            .for_each(|block| catalog.tail.push(block));
        if !goes_on {
            catalog.tail.clear();
        }
        catalog.newest_record = (!generation.summary.is_empty())
            .then(|| (generation.summary.time_max_ms, clock::now()));
        unacknowledged::from_cursors(catalog, &small_keys);
        catalog.generations.push_back(generation);
        Ok((goes_on && !engine.is_copy()).then_some(engine))
    }
}
