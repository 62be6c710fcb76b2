//! Which source a device is at: two nodes with one name must not both be taken for it.
//!
//! The first source that a device joins at has it. When another one hears the same name, the first is asked to look
//! whether its device is still there: if it answers, the second is refused; if it does not, the device has moved.

use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// A device that does not answer for so long has moved, where another source hears its name. It is asked within a second,
/// and then every second, and its line may take two seconds each way.
const ANSWER_MAX: Duration = Duration::from_secs(7);

/// One device at one source.
#[derive(Debug)]
struct DeviceClaim {
    device: Arc<str>,
    source: Arc<str>,
    /// When it was last heard there.
    heard: Instant,
    /// When another source wanted to know whether it is still there.
    asked: Option<Instant>,
}

/// Why a device cannot be had.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum ClaimError {
    /// It is not known yet whether it is still at this source.
    Asked(Arc<str>),
    /// It is at this source.
    Held(Arc<str>),
}

/// The devices of all sources, one each at most.
#[derive(Debug, Default)]
pub struct DeviceClaims(Mutex<Vec<DeviceClaim>>);

impl DeviceClaims {
    fn all(&self) -> MutexGuard<'_, Vec<DeviceClaim>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The device is at this source from now on, and no other one.
    ///
    /// # Errors
    /// When another source has it, or may have it.
    pub fn claim(
        &self,
        device: &Arc<str>,
        source: &Arc<str>,
        now: Instant,
    ) -> Result<(), ClaimError> {
        let mut all = self.all();
        all.retain(|claim| claim.source != *source || claim.device == *device);
        let Some(claim) = all.iter_mut().find(|claim| claim.device == *device) else {
            all.push(DeviceClaim {
                device: Arc::clone(device),
                source: Arc::clone(source),
                heard: now,
                asked: None,
            });
            return Ok(());
        };
        if claim.source == *source {
            claim.heard = now;
            return Ok(());
        }
        let holder = Arc::clone(&claim.source);
        let asked = *claim.asked.get_or_insert(now);
        if claim.heard > asked {
            claim.asked = Some(now);
            return Err(ClaimError::Held(holder));
        }
        if now.saturating_duration_since(asked) < ANSWER_MAX {
            return Err(ClaimError::Asked(holder));
        }
        (claim.source, claim.heard, claim.asked) = (Arc::clone(source), now, None);
        Ok(())
    }

    /// The device of this source was heard.
    pub fn heard(&self, source: &str, now: Instant) {
        let mut all = self.all();
        if let Some(claim) = all.iter_mut().find(|claim| &*claim.source == source) {
            claim.heard = now;
        }
    }

    /// The other source that the device is at, if any.
    pub fn elsewhere(&self, device: &str, source: &str) -> Option<Arc<str>> {
        let all = self.all();
        let claim = all.iter().find(|claim| &*claim.device == device)?;
        (&*claim.source != source).then(|| Arc::clone(&claim.source))
    }

    /// Whether the source still has the device that joined there.
    pub fn holds(&self, source: &str) -> bool {
        self.all().iter().any(|claim| &*claim.source == source)
    }

    /// Whether somebody wants to know if this source's device is still there.
    pub fn is_asked(&self, source: &str) -> bool {
        let all = self.all();
        let claim = all.iter().find(|claim| &*claim.source == source);
        claim.is_some_and(|claim| claim.asked.is_some_and(|asked| asked >= claim.heard))
    }

    /// The source has no device any more.
    pub fn release(&self, source: &str) {
        self.all().retain(|claim| &*claim.source != source);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn names() -> [Arc<str>; 4] {
        ["node", "other", "one", "two"].map(Arc::from)
    }

    fn at(start: Instant, ms: u64) -> Instant {
        start + Duration::from_millis(ms)
    }

    #[test]
    fn a_device_that_answers_stays_where_it_is() {
        let (claims, [node, _, one, two]) = (DeviceClaims::default(), names());
        let start = crate::time::clock::monotonic();
        assert_eq!(claims.claim(&node, &one, start), Ok(()));
        for second in 1..20 {
            let found = claims.claim(&node, &two, at(start, second * 1_000));
            let expected = match second {
                1 => ClaimError::Asked(Arc::clone(&one)),
                _ => ClaimError::Held(Arc::clone(&one)),
            };
            assert_eq!(found, Err(expected), "{second} s");
            assert!(claims.is_asked("one"));
            claims.heard("one", at(start, second * 1_000 + 100));
            assert!(!claims.is_asked("one"));
        }
        claims.release("one");
        assert_eq!(claims.claim(&node, &two, at(start, 30_000)), Ok(()));
    }

    #[test]
    fn a_device_that_does_not_answer_has_moved() {
        let (claims, [node, other, one, two]) = (DeviceClaims::default(), names());
        let start = crate::time::clock::monotonic();
        assert_eq!(claims.claim(&node, &one, start), Ok(()));
        for ms in [10_000, 11_000, 13_000, 16_000] {
            let found = claims.claim(&node, &two, at(start, ms));
            assert_eq!(found, Err(ClaimError::Asked(Arc::clone(&one))));
        }
        assert_eq!(claims.claim(&node, &two, at(start, 17_000)), Ok(()));
        assert!(!claims.holds("one"), "it is not its any more");
        let found = claims.claim(&node, &one, at(start, 17_002));
        assert_eq!(found, Err(ClaimError::Asked(Arc::clone(&two))));
        // A source has one device: with the next one, it gives the first away.
        assert_eq!(claims.claim(&other, &two, at(start, 17_003)), Ok(()));
        assert_eq!(claims.claim(&node, &one, at(start, 17_004)), Ok(()));
        assert_eq!(claims.all().len(), 2);
    }
}
