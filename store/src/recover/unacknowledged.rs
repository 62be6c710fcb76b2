//! What each lane has still to acknowledge, found at an opening: in the older generations as its cursor says, in the
//! newest one, and where the cursor had no room to say it, from the records themselves.

use crate::catalog::Catalog;
use crate::catalog::lane::Lane;
use crate::catalog::small_keys::SmallKeys;
use crate::engine::failure::EngineError;
use crate::engine::sled::Engine;
use crate::format::block::{self, BlockHeader, header_of};
use crate::format::route;
use crate::generation::Generation;
use crate::read::frames::body_of;
use crate::{LaneId, Sequence};
use std::collections::BTreeMap;
use std::ops::ControlFlow;
use std::sync::Arc;

/// What each lane has left in the older generations, as its cursor says.
pub(crate) fn from_cursors(catalog: &mut Catalog, small_keys: &SmallKeys) {
    let Catalog {
        generations, lanes, ..
    } = catalog;
    for (&lane, found) in lanes.iter() {
        for (class, position) in (0..).zip(&found.positions) {
            let stored = small_keys.cursors.get(&(lane, class));
            let counts = stored.and_then(|stored| stored.unacknowledged.as_ref());
            for generation in generations.iter_mut() {
                let (first, end) = (generation.summary.first, generation.summary.end);
                let whole = generation.summary.share(lane, class).records;
                let listed =
                    counts.and_then(|unacknowledged| unacknowledged.get(&generation.id).copied());
                let done = end <= position.done.low()
                    || position.done.covers(first, end.saturating_sub(1));
                let left = match done {
                    true => 0,
                    false => listed.unwrap_or(whole).min(whole),
                };
                generation.set_unacknowledged(lane, class, left);
                generation.uncounted |= left > 0
                    && counts.is_none()
                    && stored.is_some_and(|stored| stored.done.touches(first, end));
            }
        }
    }
}

/// Counts what each lane has left in the newest generation, and in those whose cursors could not tell.
pub(crate) fn count(catalog: &mut Catalog, cache_bytes: u64) {
    let Catalog {
        generations, lanes, ..
    } = catalog;
    let newest = generations.len().saturating_sub(1);
    for (at, generation) in generations.iter_mut().enumerate() {
        let uncounted = std::mem::take(&mut generation.uncounted);
        if uncounted || (at == newest && generation.engine.is_some()) {
            count_in(generation, lanes, cache_bytes);
        }
    }
}

/// A generation that cannot be opened now keeps its full count: nothing in it is taken for delivered.
fn count_in(generation: &mut Generation, lanes: &BTreeMap<LaneId, Lane>, cache_bytes: u64) {
    let engine = match &generation.engine {
        Some(engine) => engine.clone(),
        None => match Engine::open_or_copy(&generation.dir, cache_bytes) {
            Ok(engine) => Arc::new(engine),
            Err(_) => return,
        },
    };
    let Some(unacknowledged) = unacknowledged_in(&engine, generation, lanes) else {
        return;
    };
    for (&lane, class) in lanes.keys().flat_map(|lane| (0..4).map(move |c| (lane, c))) {
        let left = unacknowledged.get(&(lane, class)).copied().unwrap_or(0);
        generation.set_unacknowledged(lane, class, left);
    }
}

fn unacknowledged_in(
    engine: &Engine,
    generation: &Generation,
    lanes: &BTreeMap<LaneId, Lane>,
) -> Option<BTreeMap<(LaneId, u8), u64>> {
    let is_open = |lane: LaneId, class: u8, sequence: Sequence| {
        let position = lanes
            .get(&lane)
            .and_then(|lane| lane.positions.get(usize::from(class)));
        position.is_some_and(|position| !position.done.contains(sequence))
    };
    let mut unacknowledged = BTreeMap::<(LaneId, u8), u64>::new();
    let mut count = |header: &BlockHeader, value: &[u8]| {
        let Some(body) = body_of(engine.values(), header, value)? else {
            return Ok(());
        };
        for record in block::records(header, &body).flatten() {
            let routes = record.routes.iter().map(|route| route::route_parts(*route));
            for (lane, class) in
                routes.filter(|(lane, class)| is_open(*lane, *class, record.sequence))
            {
                *unacknowledged.entry((lane, class)).or_default() += 1;
            }
        }
        Ok::<_, EngineError>(())
    };
    let mut counted = Ok(());
    let read = engine.blocks(generation.summary.first, |key, value| {
        if let Some((first, Ok(header))) = header_of(key, value)
            && first < generation.summary.end
        {
            counted = count(&header, value);
        }
        match counted {
            Ok(()) => ControlFlow::Continue(()),
            Err(_) => ControlFlow::Break(()),
        }
    });
    read.and(counted).is_ok().then_some(unacknowledged)
}
