//! What one half of the link has seen: every byte that did not become an event has its count here.

/// Counts since the link was made. All saturate.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Counters {
    /// Frames whose checksum and message were good.
    pub frames: u32,
    /// Frames whose COBS encoding or checksum was wrong, truncated ones among them.
    pub crc_errors: u32,
    /// Runs of bytes longer than a frame may be.
    pub oversize: u32,
    /// Frames of another protocol version.
    pub foreign_version: u32,
    /// Frames with a good checksum that say nothing this side knows.
    pub unknown: u32,
    /// Frames of another session, stale ones among them.
    pub foreign_session: u32,
    /// Events that had been received before.
    pub duplicates: u32,
    /// Events that came before their predecessor.
    pub out_of_order: u32,
    /// Events sent again.
    pub retransmits: u32,
    /// Refusals sent or received.
    pub refusals: u32,
    /// Records dropped from the ring unacknowledged (node), or reported missing by the node (gateway).
    pub lost: u32,
    /// Log lines dropped because the one before had not left yet.
    pub log_lost: u32,
}

impl Counters {
    /// Frames that came since, good and bad ones.
    pub fn received_since(&self, before: &Self) -> usize {
        let all = |of: &Self| {
            [
                of.frames,
                of.crc_errors,
                of.oversize,
                of.foreign_version,
                of.unknown,
            ]
            .map(u64::from)
            .iter()
            .sum::<u64>()
        };
        usize::try_from(all(self).saturating_sub(all(before))).unwrap_or(usize::MAX)
    }
}

pub(crate) fn count(counter: &mut u32) {
    *counter = counter.saturating_add(1);
}
