//! Where a node keeps its records until the gateway has them for good.

use crate::message::BootId;
use crate::sequence::Sequence;

/// Records of one boot: those from `oldest` up to, not including, `next`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Run {
    /// The boot that made them.
    pub boot: BootId,
    /// Number of the oldest one.
    pub oldest: Sequence,
    /// Number after the newest one.
    pub next: Sequence,
}

impl Run {
    /// Records in it.
    pub fn count(&self) -> u32 {
        self.next.since(self.oldest)
    }

    /// Whether `sequence` is in it.
    pub fn contains(&self, sequence: Sequence) -> bool {
        sequence.since(self.oldest) < self.count()
    }
}

/// Why a record was not taken.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum RingError {
    /// It is longer than the ring, or than a frame can carry.
    TooLarge,
    /// The storage behind the ring failed.
    Storage,
}

/// A queue of records, oldest first. Full, it drops the oldest. A ring that survives a reset may hold runs of several
/// boots and shows them one after the other.
pub trait Ring {
    /// The present boot.
    fn boot(&self) -> BootId;
    /// The oldest run. With no records: an empty run of the present boot.
    fn run(&self) -> Run;
    /// Appends a record of the present boot. Returns how many of the oldest were dropped for it.
    fn push(&mut self, record: &[u8]) -> Result<u32, RingError>;
    /// Copies a record of the oldest run into `out` and returns its size; `None` if it is not there.
    fn read(&mut self, sequence: Sequence, out: &mut [u8]) -> Option<usize>;
    /// Forgets the records of the oldest run before `next`.
    fn release(&mut self, next: Sequence);
}

/// A ring of `N` bytes in RAM; each record takes two more than its own.
#[derive(Debug)]
pub struct RamRing<const N: usize> {
    bytes: [u8; N],
    head: usize,
    used: usize,
    run: Run,
}

const PREFIX_SIZE: usize = 2;

impl<const N: usize> RamRing<N> {
    /// An empty ring for this boot, numbered from 0.
    pub const fn new(boot: BootId) -> Self {
        Self::starting_at(boot, Sequence(0))
    }

    /// An empty ring for this boot, numbered from `first`.
    pub const fn starting_at(boot: BootId, first: Sequence) -> Self {
        Self {
            bytes: [0; N],
            head: 0,
            used: 0,
            run: Run {
                boot,
                oldest: first,
                next: first,
            },
        }
    }

    fn byte(&self, offset: usize) -> u8 {
        self.bytes[(self.head + offset) % N]
    }

    fn append(&mut self, byte: u8) {
        self.bytes[(self.head + self.used) % N] = byte;
        self.used += 1;
    }

    fn size_at(&self, offset: usize) -> usize {
        usize::from(u16::from_le_bytes([
            self.byte(offset),
            self.byte(offset + 1),
        ]))
    }

    fn drop_oldest(&mut self) {
        let size = PREFIX_SIZE + self.size_at(0);
        self.head = (self.head + size) % N;
        self.used -= size;
        self.run.oldest = self.run.oldest.next();
    }
}

impl<const N: usize> Ring for RamRing<N> {
    fn boot(&self) -> BootId {
        self.run.boot
    }

    fn run(&self) -> Run {
        self.run
    }

    fn push(&mut self, record: &[u8]) -> Result<u32, RingError> {
        let size = u16::try_from(record.len()).map_err(|_| RingError::TooLarge)?;
        if PREFIX_SIZE + record.len() > N {
            return Err(RingError::TooLarge);
        }
        let mut dropped = 0;
        while N - self.used < PREFIX_SIZE + record.len() {
            self.drop_oldest();
            dropped += 1;
        }
        for &byte in size.to_le_bytes().iter().chain(record) {
            self.append(byte);
        }
        self.run.next = self.run.next.next();
        Ok(dropped)
    }

    fn read(&mut self, sequence: Sequence, out: &mut [u8]) -> Option<usize> {
        if !self.run.contains(sequence) {
            return None;
        }
        let mut offset = 0;
        for _ in 0..sequence.since(self.run.oldest) {
            offset += PREFIX_SIZE + self.size_at(offset);
        }
        let out = out.get_mut(..self.size_at(offset))?;
        for (index, byte) in out.iter_mut().enumerate() {
            *byte = self.byte(offset + PREFIX_SIZE + index);
        }
        Some(out.len())
    }

    fn release(&mut self, next: Sequence) {
        while self.run.oldest.is_before(next) && self.run.count() > 0 {
            self.drop_oldest();
        }
    }
}
