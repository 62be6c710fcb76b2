//! A store at work, and what it promised by when: the oracle for every image.

use crate::recorder::note;
use std::fs::File;
use std::os::unix::fs::FileExt;
use std::path::Path;
use tidegate_store::{
    Append, Commit, Gap, GapWriter, GenerationInfo, GenerationState, LaneId, Options, ReadLimit,
    Route, Store, WhenFull, Writer, open,
};

/// What the driver knew or did, in order; an image of the disk knows those noted before the cut.
#[derive(Clone, Debug)]
pub(crate) enum Happened {
    /// Records `first..=last` were offered, with a mark if `marked`.
    Offered {
        first: u64,
        last: u64,
        marked: bool,
    },
    /// They were acknowledged.
    Acked {
        last: u64,
    },
    /// The upstream has this record.
    Delivered(u64),
    /// The account of a step of shedding was offered as record `sequence`: all of the class in `first..=last` that the
    /// upstream does not have yet is given up.
    GivingUp {
        sequence: u64,
        account: Account,
    },
    /// Something harms these records.
    Harmed {
        first: u64,
        last: u64,
    },
    /// A dead letter was offered, is promised, is to go, is gone.
    LetterOffered(u64),
    LetterKept(u64),
    LetterLeaving(u64),
    LetterGone(u64),
}

/// What a step of shedding gave up.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Account {
    pub(crate) class: u8,
    pub(crate) first: u64,
    pub(crate) last: u64,
}

impl Account {
    pub(crate) const CLASS: u8 = 3;

    fn of(gap: &Gap) -> Account {
        Account {
            class: gap.lanes[0].class,
            first: gap.first,
            last: gap.last,
        }
    }

    pub(crate) fn bytes(self) -> Vec<u8> {
        format!("{self:?}").into_bytes()
    }

    pub(crate) fn covers(self, sequence: u64, class: u8) -> bool {
        class == self.class && (self.first..=self.last).contains(&sequence)
    }
}

/// Which order is broken on purpose.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Wrong {
    /// Acknowledged before the commit.
    pub(crate) ack_first: bool,
    /// Confirmed, and the cursor written, before the upstream has it.
    pub(crate) confirm_first: bool,
}

/// Far more than is ever held: room gets scarce when the driver asks for much.
const MAX_SIZE_BYTES: u64 = 16 << 20;

pub(crate) fn options(dir: &Path) -> Options {
    Options {
        generation_bytes: 6_000,
        keep_for_ms: 0,
        ballast_bytes: 0,
        free_bytes_min: 0,
        tail_bytes: 3_000,
        cache_bytes: 1 << 18,
        max_size_bytes: MAX_SIZE_BYTES,
        when_full: WhenFull::Shed,
        ..Options::new(dir)
    }
}

/// The bytes of a record: long enough now and then to be stored in parts, or in the value log.
pub(crate) fn bytes_of(sequence: u64) -> Vec<u8> {
    let mut state = sequence.wrapping_mul(0x9e37_79b9_7f4a_7c15) | 1;
    let count = match sequence % 29 {
        7 => 5_500,
        19 => 33_000,
        _ => 40 + sequence as usize * 37 % 300,
    };
    let mut out = format!("{{\"sequence\":{sequence},\"noise\":\"").into_bytes();
    while out.len() < count {
        state ^= state << 13;
        state ^= state >> 7;
        state ^= state << 17;
        out.extend_from_slice(format!("{:02x}", state >> 56).as_bytes());
    }
    out
}

/// The key of the mark that comes with a commit that begins with this sequence.
pub(crate) fn mark_of(first: u64) -> Vec<u8> {
    format!("mark {first}").into_bytes()
}

pub(crate) fn letter_of(number: u64) -> Vec<u8> {
    bytes_of(number * 29 + 7 * (number % 2))
}

/// Class of a record in the lane.
pub(crate) fn class_of(sequence: u64) -> u8 {
    u8::from(sequence.is_multiple_of(5)) * 2
}

/// Runs a store for some lives; what happened is noted as it goes.
pub(crate) struct Driver {
    pub(crate) happened: Vec<Happened>,
    pub(crate) wrong: Wrong,
    /// Records the upstream does not have, each with its class.
    undelivered: Vec<(u64, u8)>,
    random: fn(&mut u64) -> u64,
    state: u64,
}

fn next(state: &mut u64) -> u64 {
    *state ^= *state << 13;
    *state ^= *state >> 7;
    *state ^= *state << 17;
    *state >> 11
}

impl Driver {
    pub(crate) fn new(seed: u64, wrong: Wrong) -> Driver {
        Driver {
            happened: Vec::new(),
            wrong,
            undelivered: Vec::new(),
            random: next,
            state: seed | 1,
        }
    }

    fn below(&mut self, most: u64) -> u64 {
        (self.random)(&mut self.state) % most
    }

    fn note(&mut self, happened: Happened) {
        self.happened.push(happened);
        note(self.happened.len() - 1);
    }

    /// Some lives of the process, each ended in order.
    pub(crate) fn run(&mut self, dir: &Path, lives: u64, commits: u64) {
        for life in 0..lives {
            let (mut writer, store) = open(options(dir)).unwrap();
            let lane = store.lane("cloud").unwrap();
            for turn in 0..commits {
                self.commit(&mut writer, lane);
                self.deliver(&mut writer, &store, lane);
                if turn % 4 == 1 {
                    self.letters(&store, life * commits + turn);
                }
                if turn % 5 == 4 {
                    self.shed(&mut writer, lane);
                }
            }
            if life == 0 {
                (0..12).for_each(|_| self.commit(&mut writer, lane));
                drop(writer);
                self.harm(dir, store);
            }
        }
    }

    /// Overwrites the database of the oldest generation that is complete: it will go to quarantine.
    fn harm(&mut self, dir: &Path, store: Store) {
        let generations = store.stats().generations;
        drop(store);
        let folders = std::fs::read_dir(dir.join("generations")).unwrap();
        let folders: Vec<_> = folders.map(|entry| entry.unwrap().path()).collect();
        // One that is needed no more may have been removed meanwhile.
        let there = |info: &GenerationInfo| {
            let of_it = format!("{:020}", info.first);
            let mut folders = folders.iter();
            folders.find(|folder| folder.to_string_lossy().ends_with(&of_it))
        };
        let sealed = |info: &&GenerationInfo| info.state != GenerationState::Writing;
        let mut complete = generations.iter().filter(sealed);
        let Some((oldest, folder)) = complete.find_map(|info| Some((info, there(info)?))) else {
            return;
        };
        let (first, last) = (oldest.first, oldest.end - 1);
        self.note(Happened::Harmed { first, last });
        let database = File::options().write(true).open(folder.join("db")).unwrap();
        let bytes = database.metadata().unwrap().len() as usize;
        database.write_all_at(&vec![0x5a; bytes], 0).unwrap();
        database.sync_all().unwrap();
    }

    fn commit(&mut self, writer: &mut Writer, lane: LaneId) {
        let first = writer.next_sequence();
        // Now and then so many small ones that they go to the value log, with a mark too.
        let last = first
            + match self.below(24) {
                0 => 180 + self.below(200),
                _ => self.below(12),
            };
        let marked = self.below(3) == 0;
        let mut commit = Commit::new();
        for sequence in first..=last {
            let class = class_of(sequence);
            let append = Append {
                routes: &[Route { lane, class }],
                time_ms: sequence,
                bytes: &bytes_of(sequence),
            };
            commit.push_tagged(append, &[sequence]);
        }
        if marked {
            commit.mark(&mark_of(first), &last.to_le_bytes());
        }
        self.note(Happened::Offered {
            first,
            last,
            marked,
        });
        if self.wrong.ack_first {
            self.note(Happened::Acked { last });
        }
        let committed = writer.commit(&commit).unwrap();
        assert_eq!((committed.first, committed.last), (first, last));
        if !self.wrong.ack_first {
            self.note(Happened::Acked { last });
        }
        let offered = (first..=last).map(|sequence| (sequence, class_of(sequence)));
        self.undelivered.extend(offered);
    }

    fn deliver(&mut self, writer: &mut Writer, store: &Store, lane: LaneId) {
        let count = self.below(self.undelivered.len() as u64 + 1);
        for _ in 0..count.min(15 + self.undelivered.len() as u64 / 8) {
            // Mostly in order, so that generations go.
            let at = match self.below(4) {
                0 => self.below(self.undelivered.len() as u64) as usize,
                _ => 0,
            };
            let (sequence, class) = self.undelivered.remove(at);
            if !self.wrong.confirm_first {
                self.note(Happened::Delivered(sequence));
            }
            store.confirm(lane, class, &[sequence]);
            if self.wrong.confirm_first {
                writer.persist_cursors_if_dirty().unwrap();
                self.note(Happened::Delivered(sequence));
            }
        }
        // Reading passes what is not routed here, and opens older generations.
        for class in [0, 2, Account::CLASS] {
            let limit = ReadLimit {
                records: 5,
                bytes: 4_000,
            };
            let from = store.cursor(lane, class).low;
            store.read(lane, class, from, limit).unwrap();
        }
        if self.below(2) == 0 {
            writer.persist_cursors_if_dirty().unwrap();
        }
    }

    /// Asks for more and more room until something is given up for it.
    fn shed(&mut self, writer: &mut Writer, lane: LaneId) {
        let mut accounts = Vec::new();
        for bytes in (0..MAX_SIZE_BYTES).step_by(64 << 10) {
            let next = writer.next_sequence();
            let mut record = |gap: &Gap, commit: &mut Commit| {
                let (sequence, account) = (next + accounts.len() as u64, Account::of(gap));
                self.note(Happened::GivingUp { sequence, account });
                commit.push(Append {
                    routes: &[Route {
                        lane,
                        class: Account::CLASS,
                    }],
                    time_ms: sequence,
                    bytes: &account.bytes(),
                });
                accounts.push((sequence, account));
            };
            let gap_writer = GapWriter {
                label: &mut |_| String::new(),
                record: &mut record,
            };
            let shed = writer.shed(bytes, gap_writer);
            assert_eq!(shed.gaps.len(), accounts.len());
            if !accounts.is_empty() || shed.room.is_err() {
                break;
            }
        }
        let Some((last, _)) = accounts.last().copied() else {
            return;
        };
        self.note(Happened::Acked { last });
        for (sequence, account) in accounts {
            self.undelivered
                .retain(|(sequence, class)| !account.covers(*sequence, *class));
            self.undelivered.push((sequence, Account::CLASS));
        }
    }

    fn letters(&mut self, store: &Store, number: u64) {
        self.note(Happened::LetterOffered(number));
        store
            .put_dead_letter((number, 0), &letter_of(number))
            .unwrap();
        self.note(Happened::LetterKept(number));
        if self.below(2) == 0 {
            self.note(Happened::LetterLeaving(number));
            store.remove_dead_letter((number, 0)).unwrap();
            self.note(Happened::LetterGone(number));
        }
    }
}
