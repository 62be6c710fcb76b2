//! The memory that packets under way share, over all connections of all listeners: however many clients send large packets at
//! once, what is buffered of them is bounded. A few bytes each connection has for itself, so that small packets wait for
//! nobody.

use std::io;
use std::time::Duration;

use tokio::sync::{Semaphore, SemaphorePermit};

/// Bytes of all connections together. A buffer that grows may take twice what is in it.
const SHARED_BYTES: usize = 8 << 20;
/// Bytes that each connection has beside that.
const OWN_BYTES: usize = 64 << 10;
/// What is taken at once.
const STEP_BYTES: usize = 32 << 10;
/// How long a connection waits for others to need less.
const WAIT_MAX: Duration = Duration::from_secs(10);

static SHARED: Semaphore = Semaphore::const_new(SHARED_BYTES / STEP_BYTES);

/// The share of one connection.
#[derive(Default)]
pub(in crate::source) struct BufferShare {
    held: Option<SemaphorePermit<'static>>,
}

impl BufferShare {
    /// Waits until the connection may hold `bytes`, and gives back what it needs no more. Dropping the future loses
    /// nothing.
    ///
    /// # Errors
    /// When others need their memory for too long: then this connection gives way, and its client sends again.
    pub(in crate::source) async fn hold(&mut self, bytes: usize) -> io::Result<()> {
        // The largest packets have all of it, one at a time.
        let wanted = bytes.saturating_sub(OWN_BYTES).div_ceil(STEP_BYTES);
        let wanted = wanted.min(SHARED_BYTES / STEP_BYTES);
        let held = self.held.as_ref().map_or(0, SemaphorePermit::num_permits);
        if wanted <= held {
            let surplus = held - wanted;
            drop(self.held.as_mut().and_then(|held| held.split(surplus)));
            return Ok(());
        }
        let more = u32::try_from(wanted - held).unwrap_or(u32::MAX);
        let Ok(Ok(more)) = tokio::time::timeout(WAIT_MAX, SHARED.acquire_many(more)).await else {
            let why = "too many large packets come at once: this client has to send again";
            return Err(io::Error::other(why));
        };
        match &mut self.held {
            Some(held) => held.merge(more),
            None => self.held = Some(more),
        }
        Ok(())
    }

    /// Whether more is held than each connection has for itself.
    pub(in crate::source) fn is_large(&self) -> bool {
        self.held
            .as_ref()
            .is_some_and(|held| held.num_permits() > 0)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn what_is_not_needed_any_more_is_there_for_others() {
        let all = SHARED_BYTES + OWN_BYTES;
        let (mut one, mut other) = (BufferShare::default(), BufferShare::default());
        other.hold(OWN_BYTES).await.expect("its own");
        assert!(!other.is_large());
        one.hold(all).await.expect("nobody else has any");
        let waiting = tokio::time::timeout(Duration::from_millis(50), other.hold(all)).await;
        assert!(waiting.is_err(), "there is none left");
        other.hold(OWN_BYTES).await.expect("its own all the same");
        one.hold(1).await.expect("less");
        other.hold(all).await.expect("all of it again");
    }
}
