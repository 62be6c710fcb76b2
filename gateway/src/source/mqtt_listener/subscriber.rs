//! A client as a reader of the log: a place of its own from its first SUBSCRIBE on, and a few records read ahead while its
//! window is full.

use std::collections::VecDeque;

use bytes::BytesMut;

use super::session::{ClientSession, Written};
use crate::event::committed_log::{CommittedLog, CommittedRecord, FollowError, Follower};
use crate::time::clock;

/// Bytes written to one client before it is given a chance to say something.
const OUT_BYTES_MAX: usize = 64 << 10;

/// Where a subscriber is.
#[derive(Default)]
pub(super) struct Subscriber {
    follower: Option<Follower>,
    ahead: VecDeque<CommittedRecord>,
}

impl Subscriber {
    /// Follows the log from now on while there are subscriptions.
    pub(super) fn follow(&mut self, subscribed: bool, log: &CommittedLog) {
        if !subscribed {
            *self = Subscriber::default();
        } else if self.follower.is_none() {
            self.follower = Some(log.follow());
        }
    }

    /// Reads on, unless something that was read still waits for the client. Dropping the future loses nothing.
    ///
    /// # Errors
    /// When the client lags beyond what is kept.
    pub(super) async fn read(&mut self) -> Result<(), FollowError> {
        match &mut self.follower {
            Some(follower) if self.ahead.is_empty() => {
                self.ahead.extend(follower.next().await?);
                Ok(())
            }
            _ => std::future::pending().await,
        }
    }

    /// Writes what the client has room for. Whether there is more that it has room for.
    pub(super) fn deliver(&mut self, session: &mut ClientSession, out: &mut BytesMut) -> bool {
        if self.ahead.is_empty() {
            return false;
        }
        let now = clock::now();
        while let Some(found) = self.ahead.front() {
            if out.len() >= OUT_BYTES_MAX {
                return true;
            }
            if session.deliver(found, now, out) == Written::WindowFull {
                return false;
            }
            self.ahead.pop_front();
        }
        false
    }
}
