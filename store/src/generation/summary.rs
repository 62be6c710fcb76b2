//! What a generation holds, small enough to keep in memory for every generation: its range, sizes, times, and how much
//! is routed to each lane in each class. Sealed generations carry it as a file so that opening the store does not open them.

use crate::format::bloom::{self, GENERATION_FILTER_BYTES};
use crate::format::checksummed::{verified, with_checksum};
use crate::format::pack::RecordIn;
use crate::format::varint::{Reader, put_varint};
use crate::{LaneId, Sequence};
use std::path::Path;

/// Version 1 had no filter.
const VERSION: u8 = 2;
const FILE: &str = "summary";

/// Records and bytes routed to one lane in one class.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Share {
    /// Class and lane as in a block: `class << 6 | lane`.
    pub(crate) route: u8,
    pub(crate) records: u64,
    pub(crate) bytes: u64,
}

/// See the module.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct Summary {
    pub(crate) first: Sequence,
    /// First sequence after the generation's last record.
    pub(crate) end: Sequence,
    /// Bytes of all blocks and parts.
    pub(crate) payload_bytes: u64,
    pub(crate) time_min_ms: u64,
    pub(crate) time_max_ms: u64,
    shares: Vec<Share>,
    /// Over the tags of all records; empty while there are none.
    filter: Vec<u8>,
}

impl Summary {
    pub(crate) fn empty(first: Sequence) -> Summary {
        Summary {
            first,
            end: first,
            time_min_ms: u64::MAX,
            ..Summary::default()
        }
    }

    #[cfg(test)]
    fn records(&self) -> u64 {
        self.end - self.first
    }

    pub(crate) fn is_empty(&self) -> bool {
        self.end == self.first
    }

    /// Counts one record, which must be the next in sequence.
    pub(crate) fn add(&mut self, record: &RecordIn<'_>) {
        self.count(record.time_ms, record.routes, record.bytes.len() as u64);
    }

    /// Counts one record of which only the size is at hand.
    pub(crate) fn count(&mut self, time_ms: u64, routes: &[u8], bytes: u64) {
        self.end += 1;
        self.time_min_ms = self.time_min_ms.min(time_ms);
        self.time_max_ms = self.time_max_ms.max(time_ms);
        for route in routes {
            let share = self.share_mut(*route);
            share.records += 1;
            share.bytes += bytes;
        }
    }

    /// Moves past records that are not there before `first`.
    pub(crate) fn skip_to(&mut self, first: Sequence) {
        self.end = self.end.max(first);
    }

    /// What is routed to the lane in the class.
    pub(crate) fn share(&self, lane: LaneId, class: u8) -> Share {
        let route = crate::format::route::route_byte(lane, class);
        let found = self.shares.iter().find(|share| share.route == route);
        found.copied().unwrap_or(Share {
            route,
            records: 0,
            bytes: 0,
        })
    }

    /// All shares that are not empty.
    pub(crate) fn shares(&self) -> &[Share] {
        &self.shares
    }

    /// Adds another summary that continues this one.
    pub(crate) fn extend(&mut self, other: &Summary) {
        self.end = other.end;
        self.payload_bytes += other.payload_bytes;
        self.time_min_ms = self.time_min_ms.min(other.time_min_ms);
        self.time_max_ms = self.time_max_ms.max(other.time_max_ms);
        for share in &other.shares {
            let own = self.share_mut(share.route);
            own.records += share.records;
            own.bytes += share.bytes;
        }
    }

    fn share_mut(&mut self, route: u8) -> &mut Share {
        let at = match self.shares.iter().position(|share| share.route == route) {
            Some(at) => at,
            None => {
                self.shares.push(Share {
                    route,
                    records: 0,
                    bytes: 0,
                });
                self.shares.len() - 1
            }
        };
        &mut self.shares[at]
    }

    /// Takes in the tags of records.
    pub(crate) fn add_tags(&mut self, tags: &[u64]) {
        if self.filter.is_empty() && !tags.is_empty() {
            self.filter = vec![0; GENERATION_FILTER_BYTES];
        }
        tags.iter()
            .for_each(|tag| bloom::add(&mut self.filter, *tag));
    }

    /// Nobody knows the tags of the records here: the filter lets everything through from now on.
    pub(crate) fn forget_tags(&mut self) {
        self.filter = vec![0xff; GENERATION_FILTER_BYTES];
    }

    /// False if no record here has this tag.
    pub(crate) fn may_have(&self, tag: u64) -> bool {
        bloom::may_have(&self.filter, tag)
    }

    /// Writes the summary file of a sealed generation.
    pub(crate) fn save(&self, dir: &Path) -> std::io::Result<()> {
        crate::engine::disk::write_atomically(&dir.join(FILE), &self.encode())
    }

    /// Reads the summary file; `None` if there is none that can be trusted.
    pub(crate) fn load(dir: &Path) -> Option<Summary> {
        Summary::decode(&std::fs::read(dir.join(FILE)).ok()?)
    }

    fn encode(&self) -> Vec<u8> {
        let mut out = vec![VERSION];
        let fields = [
            self.first,
            self.end,
            self.payload_bytes,
            self.time_min_ms,
            self.time_max_ms,
        ];
        fields
            .into_iter()
            .for_each(|field| put_varint(&mut out, field));
        put_varint(&mut out, self.shares.len() as u64);
        for share in &self.shares {
            out.push(share.route);
            put_varint(&mut out, share.records);
            put_varint(&mut out, share.bytes);
        }
        put_varint(&mut out, self.filter.len() as u64);
        out.extend_from_slice(&self.filter);
        with_checksum(out)
    }

    fn decode(bytes: &[u8]) -> Option<Summary> {
        let mut reader = Reader::new(verified(bytes)?);
        let version = reader
            .u8()
            .filter(|version| (1..=VERSION).contains(version))?;
        let mut summary = Summary {
            first: reader.varint()?,
            end: reader.varint()?,
            payload_bytes: reader.varint()?,
            time_min_ms: reader.varint()?,
            time_max_ms: reader.varint()?,
            shares: Vec::new(),
            filter: Vec::new(),
        };
        for _ in 0..reader.varint()?.min(256) {
            let share = Share {
                route: reader.u8()?,
                records: reader.varint()?,
                bytes: reader.varint()?,
            };
            summary.shares.push(share);
        }
        if version == 1 {
            summary.forget_tags();
        } else {
            let bytes = usize::try_from(reader.varint()?).ok()?;
            summary.filter = reader.take(bytes)?.to_vec();
        }
        (summary.first <= summary.end && reader.is_empty()).then_some(summary)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::format::route::route_byte;

    #[test]
    fn a_summary_comes_back_from_its_file_and_a_damaged_file_does_not() {
        let dir = tempfile::tempdir().unwrap();
        let mut summary = Summary::empty(100);
        summary.count(5, &[route_byte(1, 0), route_byte(2, 3)], 40);
        summary.count(3, &[route_byte(1, 0)], 60);
        summary.add_tags(&[17]);
        summary.save(dir.path()).unwrap();
        assert_eq!(Summary::load(dir.path()), Some(summary.clone()));
        let share = summary.share(1, 0);
        assert_eq!((share.records, share.bytes, summary.records()), (2, 100, 2));
        assert!(summary.may_have(17) && !summary.may_have(18 << 20));
        let mut bytes = std::fs::read(dir.path().join(FILE)).unwrap();
        bytes[3] ^= 1;
        std::fs::write(dir.path().join(FILE), bytes).unwrap();
        assert_eq!(Summary::load(dir.path()), None);
    }
}
