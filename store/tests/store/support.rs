//! What the integration tests share: a store in a directory of its own that can be closed and opened again.

use std::path::PathBuf;
use std::time::{Duration, Instant};
use tempfile::TempDir;
use tidegate_store::{
    Append, Commit, CommitError, Committed, LaneId, Options, ReadLimit, Route, Store, Writer, open,
    restore,
};

/// No limit worth speaking of.
pub(crate) const ALL: ReadLimit = ReadLimit {
    records: usize::MAX,
    bytes: usize::MAX,
};

/// A store under test.
pub(crate) struct Case {
    _dir: TempDir,
    pub(crate) options: Options,
    open: Option<(Writer, Store)>,
    time_ms: u64,
}

impl Case {
    pub(crate) fn new() -> Case {
        Case::with(|_| {})
    }

    /// A store with changed settings; the ballast is small to begin with.
    pub(crate) fn with(change: impl FnOnce(&mut Options)) -> Case {
        let dir = tempfile::tempdir().unwrap();
        let mut options = Options {
            ballast_bytes: 1 << 20,
            free_bytes_min: 1 << 20,
            ..Options::new(dir.path().join("store"))
        };
        change(&mut options);
        let open = Some(open(options.clone()).unwrap());
        Case {
            _dir: dir,
            options,
            open,
            time_ms: 1_700_000_000_000,
        }
    }

    pub(crate) fn dir(&self) -> PathBuf {
        self.options.dir.clone()
    }

    pub(crate) fn store(&self) -> &Store {
        &self.open.as_ref().unwrap().1
    }

    pub(crate) fn writer(&mut self) -> &mut Writer {
        &mut self.open.as_mut().unwrap().0
    }

    pub(crate) fn close(&mut self) {
        self.open = None;
    }

    pub(crate) fn reopen(&mut self) {
        self.close();
        self.open = Some(open(self.options.clone()).unwrap());
    }

    /// Goes on in a store restored from a backup of this one.
    pub(crate) fn restore_a_copy(&mut self) {
        let copy = self.dir().with_file_name("copy");
        self.store().backup(&copy, |_, _| {}).unwrap();
        let restored = self.dir().with_file_name("restored");
        restore(&copy, &restored, |_, _| {}).unwrap();
        self.close();
        self.options.dir = restored;
        self.reopen();
    }

    /// Appends one record in a commit of its own.
    pub(crate) fn append(&mut self, routes: &[Route], bytes: &[u8]) -> u64 {
        self.try_append(routes, bytes).unwrap().first
    }

    pub(crate) fn try_append(
        &mut self,
        routes: &[Route],
        bytes: &[u8],
    ) -> Result<Committed, CommitError> {
        let mut commit = Commit::new();
        self.time_ms += 1;
        commit.push(Append {
            routes,
            time_ms: self.time_ms,
            bytes,
        });
        self.writer().commit(&commit)
    }

    /// Appends `count` records of `size` bytes in one commit; their content is [`bytes_of`] their sequence.
    pub(crate) fn append_many(
        &mut self,
        routes: &[Route],
        count: u64,
        size: usize,
    ) -> Result<Committed, CommitError> {
        let mut commit = Commit::new();
        let first = self.writer().next_sequence();
        for n in first..first + count {
            self.time_ms += 1;
            commit.push(Append {
                routes,
                time_ms: self.time_ms,
                bytes: &bytes_of(n, size),
            });
        }
        self.writer().commit(&commit)
    }

    /// Everything a lane has in a class.
    pub(crate) fn read_all(&self, lane: LaneId, class: u8) -> Vec<Vec<u8>> {
        self.read_from(lane, class, 1)
            .into_iter()
            .map(|(_, bytes)| bytes)
            .collect()
    }

    pub(crate) fn read_from(&self, lane: LaneId, class: u8, mut from: u64) -> Vec<(u64, Vec<u8>)> {
        let mut found = Vec::new();
        while from < self.store().end() {
            let batch = self
                .store()
                .read(
                    lane,
                    class,
                    from,
                    ReadLimit {
                        records: 100,
                        bytes: 1 << 20,
                    },
                )
                .unwrap();
            assert!(batch.next > from, "a read must get on");
            from = batch.next;
            found.extend(
                batch
                    .records
                    .into_iter()
                    .map(|record| (record.sequence, record.bytes.to_vec())),
            );
        }
        found
    }

    /// Confirms everything a lane has in a class.
    pub(crate) fn drain(&self, lane: LaneId, class: u8) -> u64 {
        let from = self.store().cursor(lane, class).low;
        let sequences: Vec<_> = self
            .read_from(lane, class, from)
            .into_iter()
            .map(|(sequence, _)| sequence)
            .collect();
        self.store().confirm(lane, class, &sequences);
        sequences.len() as u64
    }

    pub(crate) fn disk_bytes(&self) -> u64 {
        self.store().stats().disk_bytes
    }
}

/// Bytes that belong to a number: no two numbers share them.
pub(crate) fn bytes_of(n: u64, size: usize) -> Vec<u8> {
    let mut state = n.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let mut out = n.to_le_bytes().to_vec();
    while out.len() < size {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(&state.to_le_bytes());
    }
    out.truncate(size.max(8));
    out
}

/// Looks every 20 ms until there is something to give; patient enough for a machine with much else to do.
pub(crate) fn wait_for<T>(what: &str, mut look: impl FnMut() -> Option<T>) -> T {
    let patience = Duration::from_secs(60);
    let started = Instant::now();
    loop {
        std::thread::sleep(Duration::from_millis(20));
        if let Some(found) = look() {
            return found;
        }
        let waited = started.elapsed();
        assert!(waited < patience, "waited {waited:?} for {what}");
    }
}
