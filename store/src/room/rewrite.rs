//! Rewriting: sled gives no space back, so a generation of which little is still needed is written anew with just that.
//!
//! The new one is a revision in a directory of its own, with the same number, the same sequences and the small keys of
//! the old one. It counts from the moment its file `kept` is there, which is written when everything else is on the
//! disk; an opening takes the newest revision that counts and deletes the others. Before that moment the cursors are
//! written: what is left out was done with, and the disk says so too.

use crate::api::lane::Route;
use crate::append::appender::Appender;
use crate::append::commit::{Append, Commit};
use crate::append::packing::pack;
use crate::catalog::Catalog;
use crate::catalog::acknowledged::Acknowledged;
use crate::catalog::lane::Lane;
use crate::catalog::open_generations::OpenGenerations;
use crate::engine::disk;
use crate::engine::failure::EngineError;
use crate::engine::free_space::FreeSpace;
use crate::engine::lock::locked;
use crate::engine::sled::{Engine, Writes};
use crate::format::compression::Compressor;
use crate::format::directory::generations_dir;
use crate::format::route::{route_byte, route_parts};
use crate::generation::beginnings::Beginnings;
use crate::generation::name::{parse_revision, revision_name};
use crate::generation::ranges::Ranges;
use crate::generation::removal::delete_dir;
use crate::generation::summary::Summary;
use crate::generation::survivors::Survivors;
use crate::generation::{Generation, running_time};
use crate::read::records::{Record, each_record};
use crate::{LaneId, Sequence};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex};

/// Bytes that are written at once.
const STEP_BYTES: usize = 256 << 10;

/// Less is not worth a new directory.
const GAIN_BYTES_MIN: u64 = 16 << 10;

/// What is to be rewritten.
struct RewritePlan {
    id: u64,
    dir: PathBuf,
    first: Sequence,
    end: Sequence,
    payload_bytes: u64,
    /// It pays if so many bytes of blocks are left out.
    gain_bytes_min: u64,
    done: BTreeMap<u8, Acknowledged>,
}

impl RewritePlan {
    /// True if somebody waits for the record.
    fn waits(&self, sequence: Sequence, routes: &[u8]) -> bool {
        let waits = |route: &u8| {
            let done = self.done.get(route);
            done.is_some_and(|done| !done.contains(sequence))
        };
        routes.iter().any(waits)
    }
}

/// A new revision while it is written.
struct Revision<'a> {
    plan: &'a RewritePlan,
    engine: &'a Engine,
    summary: Summary,
    survivors: Ranges,
    /// Records that follow each other, not written yet.
    run: Commit,
    run_first: Sequence,
    writes: Writes,
    writes_bytes: usize,
    compressor: Compressor,
    failed: Option<EngineError>,
}

/// Rewrites generations.
pub(crate) struct Rewriting {
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) open: Arc<OpenGenerations>,
    pub(crate) space: Arc<FreeSpace>,
    /// The store's directory.
    pub(crate) dir: PathBuf,
    pub(crate) cache_bytes: u64,
    pub(crate) compress: bool,
}

impl Rewriting {
    /// Rewrites the generation that gives the most room. `false`: none is worth it, or it could not be done.
    pub(crate) fn rewrite_one(&self, appender: &mut Appender) -> bool {
        let Some(plan) = plan(&mut locked(&self.catalog)) else {
            return false;
        };
        match self.rewrite(appender, &plan) {
            Err(EngineError::NoSpace(_)) if self.space.release_ballast() => {
                self.rewrite(appender, &plan).unwrap_or(false)
            }
            // One that does not pay is not looked at again before more of it is done; others may pay.
            Ok(false) => self.rewrite_one(appender),
            other => other.unwrap_or(false),
        }
    }

    fn rewrite(&self, appender: &mut Appender, plan: &RewritePlan) -> Result<bool, EngineError> {
        let old = self
            .open
            .open(plan.id)
            .map_err(|error| EngineError::Failed(error.to_string()))?;
        let Some(old) = old else {
            return Ok(true);
        };
        let dir = next_revision(&plan.dir)?;
        if dir.exists() {
            std::fs::remove_dir_all(&dir)?;
        }
        let rewritten = self.write_revision(appender, plan, &old, &dir);
        drop(old);
        match rewritten {
            Ok(Some((summary, survivors))) => {
                self.put_in_place(plan, &dir, summary, survivors);
                Ok(true)
            }
            other => {
                let _ = delete_dir(&dir);
                other.map(|_| false)
            }
        }
    }

    /// Writes all of it, `kept` last. `None` if it does not pay.
    fn write_revision(
        &self,
        appender: &mut Appender,
        plan: &RewritePlan,
        old: &Engine,
        dir: &Path,
    ) -> Result<Option<(Summary, Survivors)>, EngineError> {
        let engine = Engine::open(dir, self.cache_bytes)?;
        let mut copy = Revision::begin(plan, &engine, self.compress);
        let range = plan.first..plan.end;
        let waits = |sequence: Sequence, routes: &[u8]| plan.waits(sequence, routes);
        let missing = each_record(old, range, waits, |record| copy.take(record))?;
        if !missing.is_empty() && locked(&self.catalog).note_missing(plan.id, &missing) {
            // Rewritten, what is lost would pass for let go on purpose.
            return Ok(None);
        }
        let Some((summary, survivors)) = copy.finish(old)? else {
            return Ok(None);
        };
        Beginnings::save(&engine, &summary);
        drop(engine);
        appender
            .write_cursors()
            .map_err(|error| EngineError::Failed(error.to_string()))?;
        if let Some(reading_ms) = running_time::load(&plan.dir) {
            running_time::save(dir, reading_ms)?;
        }
        summary.save(dir)?;
        disk::sync_dir(&generations_dir(&self.dir))?;
        survivors.save(dir)?;
        Ok(Some((summary, survivors)))
    }

    /// From now on the revision is the generation.
    fn put_in_place(&self, plan: &RewritePlan, dir: &Path, summary: Summary, survivors: Survivors) {
        let _nobody_opens_it = self.open.hold();
        let disk_bytes = disk::allocated_bytes(dir);
        let old = {
            let mut catalog = locked(&self.catalog);
            catalog.counters.rewritten += 1;
            catalog.tail.forget_below(plan.end);
            catalog.generation_mut(plan.id).map(|generation| {
                generation.dir = dir.to_path_buf();
                generation.summary = summary;
                generation.survivors = Some(Arc::new(survivors));
                generation.disk_bytes = disk_bytes;
                generation.engine.take()
            })
        };
        drop(old);
        // What cannot be deleted now is deleted at the next opening.
        let _ = delete_dir(&plan.dir);
    }
}

impl<'a> Revision<'a> {
    fn begin(plan: &'a RewritePlan, engine: &'a Engine, compress: bool) -> Revision<'a> {
        Revision {
            plan,
            engine,
            summary: Summary::empty(plan.first),
            survivors: Ranges::default(),
            run: Commit::new(),
            run_first: plan.first,
            writes: Writes::to(engine),
            writes_bytes: 0,
            compressor: Compressor::new(!compress),
            failed: None,
        }
    }

    fn take(&mut self, record: Record<'_>) {
        if !self.pays() {
            return;
        }
        if self.run_first + self.run.len() as u64 != record.sequence {
            self.end_run();
            self.run_first = record.sequence;
        }
        let routes: Vec<Route> = record.routes.iter().map(|route| route_of(*route)).collect();
        self.run.push(Append {
            routes: &routes,
            time_ms: record.time_ms,
            bytes: record.bytes,
        });
        if self.run.bytes() >= STEP_BYTES {
            self.end_run();
            self.run_first = record.sequence + 1;
        }
    }

    fn pays(&self) -> bool {
        let kept_bytes = self.summary.payload_bytes;
        self.failed.is_none() && kept_bytes + self.plan.gain_bytes_min <= self.plan.payload_bytes
    }

    fn end_run(&mut self) {
        if self.run.is_empty() {
            return;
        }
        let packed = pack(
            &self.run,
            self.run_first,
            false,
            &mut self.compressor,
            &mut self.writes,
        );
        self.writes_bytes += packed.summary.payload_bytes as usize;
        self.survivors.push(self.run_first, packed.summary.end - 1);
        self.summary.extend(&packed.summary);
        self.run.clear();
        if self.writes_bytes >= STEP_BYTES {
            self.flush();
        }
    }

    fn flush(&mut self) {
        self.writes_bytes = 0;
        if let Err(error) = self.engine.write(std::mem::take(&mut self.writes)) {
            self.failed.get_or_insert(error);
        }
        self.writes = Writes::to(self.engine);
    }

    /// The last records, and the small keys as they were.
    fn finish(mut self, old: &Engine) -> Result<Option<(Summary, Survivors)>, EngineError> {
        self.end_run();
        if self.failed.is_none() && !self.pays() {
            return Ok(None);
        }
        let writes = &mut self.writes;
        old.small_keys(|key, value| writes.put_small_key(key, value))?;
        self.flush();
        self.summary.end = self.plan.end;
        self.summary.forget_tags();
        match self.failed {
            Some(error) => Err(error),
            None => Ok(Some((
                self.summary,
                Survivors {
                    ranges: self.survivors,
                    end: self.plan.end,
                },
            ))),
        }
    }
}

fn route_of(route: u8) -> Route {
    let (lane, class) = route_parts(route);
    Route { lane, class }
}

/// The generation of which the most can be left out, by the share of its records that somebody waits for.
fn plan(catalog: &mut Catalog) -> Option<RewritePlan> {
    // On a full disk the newest one may be sealed, with none to follow it yet.
    let newest = catalog.generations.back()?.id;
    let gain = |generation: &Generation| {
        let (unacknowledged, most) = generation.unacknowledged_in_all();
        let same = generation
            .looked_at
            .is_some_and(|before| unacknowledged * 8 > before * 7);
        let records = u128::from(generation.records().max(1));
        let payload_bytes = u128::from(generation.summary.payload_bytes);
        let needed = payload_bytes * u128::from(most).min(records) / records;
        let sealed = generation.sealed && generation.id != newest;
        let may = sealed && !generation.damaged && unacknowledged > 0 && !same;
        let bytes = u64::try_from(payload_bytes.saturating_sub(needed)).unwrap_or(0);
        let pays = bytes >= gain_bytes_min(generation.summary.payload_bytes);
        (may && pays).then_some(bytes)
    };
    let gains = catalog.generations.iter().enumerate();
    let (_, at) = gains
        .filter_map(|(at, generation)| Some((gain(generation)?, at)))
        .max_by_key(|(bytes, at)| (*bytes, std::cmp::Reverse(*at)))?;
    let done = all_done(catalog);
    let generation = catalog.generations.get_mut(at)?;
    let (unacknowledged, _) = generation.unacknowledged_in_all();
    generation.looked_at = Some(unacknowledged);
    Some(RewritePlan {
        id: generation.id,
        dir: generation.dir.clone(),
        first: generation.summary.first,
        end: generation.summary.end,
        payload_bytes: generation.summary.payload_bytes,
        gain_bytes_min: gain_bytes_min(generation.summary.payload_bytes),
        done,
    })
}

/// What must be left out of so many bytes: with a quarter, all rewriting of a generation together costs no more than
/// four times its bytes.
fn gain_bytes_min(payload_bytes: u64) -> u64 {
    (payload_bytes / 4).max(GAIN_BYTES_MIN)
}

/// What each lane is done with, by route.
fn all_done(catalog: &Catalog) -> BTreeMap<u8, Acknowledged> {
    let of_lane = |(id, lane): (&LaneId, &Lane)| {
        let id = *id;
        let positions = (0..).zip(lane.positions.clone());
        positions.map(move |(class, position)| (route_byte(id, class), position.done))
    };
    catalog.lanes.iter().flat_map(of_lane).collect()
}

fn next_revision(dir: &Path) -> Result<PathBuf, EngineError> {
    let name = dir.file_name().unwrap_or_default().to_string_lossy();
    let (id, first, revision) = parse_revision(&name)
        .ok_or_else(|| EngineError::Failed(format!("{} is no generation", dir.display())))?;
    Ok(dir.with_file_name(revision_name(id, first, revision + 1)))
}
