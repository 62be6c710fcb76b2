//! Giving up by age: what nobody took for too long, whatever its class.

use super::give_up::{GapWriter, GivingUp, Target};
use super::shed::Shed;
use crate::api::gap::GapReason;
use crate::append::appender::Appender;
use crate::catalog::Catalog;
use crate::engine::lock::locked;
use std::sync::{Arc, Mutex};

/// See the module.
pub(crate) struct Expiry {
    pub(crate) catalog: Arc<Mutex<Catalog>>,
    pub(crate) giving_up: GivingUp,
    pub(crate) expire_after_ms: Option<u64>,
}

impl Expiry {
    /// Gives up what is older than `expire_after`, whatever its class.
    pub(crate) fn expire(&self, appender: &mut Appender, gap_writer: &mut GapWriter<'_>) -> Shed {
        let mut gaps = Vec::new();
        let room = loop {
            let Some(expire_after_ms) = self.expire_after_ms else {
                break Ok(());
            };
            self.rotate_when_long(appender, expire_after_ms);
            let Some(target) = overdue(&locked(&self.catalog), expire_after_ms) else {
                break Ok(());
            };
            match self
                .giving_up
                .step(appender, target, GapReason::Expired, gap_writer)
            {
                Ok(gap) => gaps.extend(gap),
                Err(error) => break Err(error),
            }
        };
        Shed { gaps, room }
    }

    /// Records expire a generation at a time: one that is written to for long is ended, so that they go not much later
    /// than they should.
    fn rotate_when_long(&self, appender: &mut Appender, expire_after_ms: u64) {
        let long = {
            let catalog = locked(&self.catalog);
            let now_ms = catalog.running_time.now_ms();
            catalog.generations.back().is_some_and(|last| {
                let age_ms = now_ms.saturating_sub(last.begun_ms);
                !last.sealed && !last.summary.is_empty() && age_ms >= expire_after_ms / 4
            })
        };
        if long {
            // A failure leaves the writer where it was; the next call tries again.
            let _ = appender.rotate();
        }
    }
}

/// The oldest generation somebody waits for, if all of it is older than `expire_after_ms`.
fn overdue(catalog: &Catalog, expire_after_ms: u64) -> Option<Target> {
    let oldest = catalog.generations.iter().find(|g| !g.is_done())?;
    let age_ms = catalog
        .running_time
        .now_ms()
        .saturating_sub(oldest.newest_ms);
    let due = oldest.sealed && age_ms >= expire_after_ms;
    due.then_some(Target {
        id: oldest.id,
        first: oldest.summary.first,
        end: oldest.summary.end,
        classes: 0b1111,
    })
}
