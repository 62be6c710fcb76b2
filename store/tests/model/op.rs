//! What a case may do to a store, and how cases are drawn. Lanes, records and letters are named by small numbers and
//! fractions that mean something whatever came before, so that a failing case shrinks well.

use proptest::prelude::*;
use tidegate_store::ReadLimit;

/// One record to append: its size, where it goes, and how far the clock of the records moves before it.
#[derive(Clone)]
pub(crate) struct Piece {
    pub(crate) bytes: usize,
    /// Slot of a lane (0 to 3) and class; slots without a lane are left out.
    pub(crate) routes: Vec<(u8, u8)>,
    pub(crate) time_step_ms: i64,
}

impl std::fmt::Debug for Piece {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        let Piece {
            bytes,
            routes,
            time_step_ms,
        } = self;
        write!(f, "{bytes} bytes to {routes:?} after {time_step_ms} ms")
    }
}

/// Settings a case begins with or changes at an opening.
#[derive(Clone, Debug)]
pub(crate) struct Settings {
    pub(crate) generation_bytes: u64,
    pub(crate) max_size_bytes: u64,
    pub(crate) keep_for_ms: u64,
    pub(crate) tail_bytes: u64,
    /// At the cap the least urgent is given up.
    pub(crate) sheds: bool,
    /// What nobody took is given up as soon as that is asked for.
    pub(crate) expires: bool,
}

/// A choice among the records of a lane: some from a place on, in steps, perhaps from behind.
#[derive(Clone, Debug)]
pub(crate) struct Pick {
    /// Where to begin, in 256ths of what is there.
    pub(crate) from: u8,
    pub(crate) count: usize,
    pub(crate) step: usize,
    pub(crate) backwards: bool,
    /// Also a sequence that nobody has written yet.
    pub(crate) future: bool,
}

/// How much a read may return.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Limit {
    pub(crate) records: usize,
    pub(crate) bytes: usize,
}

/// One step of a case.
#[derive(Clone, Debug)]
pub(crate) enum Op {
    /// Records and marks in one commit; a mark without a value is forgotten.
    Commit {
        pieces: Vec<Piece>,
        marks: Vec<(u8, Option<u8>)>,
    },
    Lane(u8),
    DropLane(u8),
    Read {
        slot: u8,
        class: u8,
        /// In 256ths of the log; 255 begins behind its end.
        from: u8,
        limit: Limit,
    },
    Scan {
        from: u8,
        to: u8,
        limit: Limit,
    },
    Confirm {
        slot: u8,
        class: u8,
        pick: Pick,
    },
    Advance {
        slot: u8,
        class: u8,
        through: u8,
    },
    /// Everything a lane has is read and confirmed.
    Drain(u8),
    PutLetter {
        key: u8,
        bytes: usize,
    },
    ListLetters {
        from: u8,
        limit: usize,
    },
    RemoveLetter(u8),
    /// A letter becomes a record again.
    Retry {
        key: u8,
        slot: u8,
        class: u8,
    },
    /// The idle call: cursors are written, what has expired is deleted.
    Persist,
    /// Room is made for so many bytes, as after a commit that was refused.
    Shed(u64),
    /// What is overdue is given up.
    Expire,
    /// An orderly end and a new beginning, perhaps with other settings.
    Reopen(Option<Settings>),
    /// The process ends at once; what it had written is there.
    Crash(Option<Settings>),
    /// Never drawn: a crash after which the newest generation is gone, to see that the comparison notices.
    LoseNewest,
}

/// A whole case.
#[derive(Clone, Debug)]
pub(crate) struct Script {
    pub(crate) settings: Settings,
    pub(crate) ops: Vec<Op>,
}

fn piece_bytes() -> impl Strategy<Value = usize> {
    prop_oneof![
        12 => 0usize..300,
        2 => 3_900usize..4_300,
        1 => 8_000usize..60_000,
    ]
}

fn piece() -> impl Strategy<Value = Piece> {
    let routes = prop::collection::vec((0u8..4, 0u8..4), 0..5);
    let time_step_ms = prop_oneof![
        6 => Just(0i64), 3 => Just(1_000), 1 => Just(200_000), 1 => Just(-150_000)
    ];
    (piece_bytes(), routes, time_step_ms).prop_map(|(bytes, routes, time_step_ms)| Piece {
        bytes,
        routes,
        time_step_ms,
    })
}

fn settings() -> impl Strategy<Value = Settings> {
    let generation_bytes = prop_oneof![Just(1u64), Just(3_000), Just(20_000), Just(200_000)];
    let max_size_bytes = prop_oneof![3 => Just(2u64 << 30), 1 => Just(2 << 20), 1 => Just(3 << 20), 1 => Just(6 << 20)];
    let keep_for_ms = prop_oneof![Just(0u64), Just(500_000), Just(u64::MAX)];
    let tail_bytes = prop_oneof![Just(0u64), Just(5_000), Just(4 << 20)];
    let sizes = (generation_bytes, max_size_bytes, keep_for_ms, tail_bytes);
    let gives_up = (any::<bool>(), prop::bool::weighted(0.2));
    (sizes, gives_up).prop_map(|(sizes, (sheds, expires))| {
        let (generation_bytes, max_size_bytes, keep_for_ms, tail_bytes) = sizes;
        Settings {
            generation_bytes,
            max_size_bytes,
            keep_for_ms,
            tail_bytes,
            sheds,
            expires,
        }
    })
}

fn limit() -> impl Strategy<Value = Limit> {
    let records = prop_oneof![Just(0usize), Just(1), 2usize..20, Just(usize::MAX)];
    let bytes = prop_oneof![Just(0usize), Just(1), 2usize..5_000, Just(usize::MAX)];
    (records, bytes).prop_map(|(records, bytes)| Limit { records, bytes })
}

fn pick() -> impl Strategy<Value = Pick> {
    let count = prop_oneof![2 => 1usize..8, 1 => Just(usize::MAX)];
    (any::<u8>(), count, 1usize..4, any::<bool>(), any::<bool>()).prop_map(
        |(from, count, step, backwards, future)| Pick {
            from,
            count,
            step,
            backwards,
            future,
        },
    )
}

fn commit() -> impl Strategy<Value = Op> {
    let pieces = prop_oneof![
        4 => prop::collection::vec(piece(), 0..6),
        1 => prop::collection::vec(piece(), 20..60),
        // So much that small records go to the value log.
        1 => prop::collection::vec(piece(), 160..600),
    ];
    let marks = prop::collection::vec((0u8..6, prop::option::of(any::<u8>())), 0..3);
    (pieces, marks).prop_map(|(pieces, marks)| Op::Commit { pieces, marks })
}

fn reading() -> impl Strategy<Value = Op> {
    let read = (0u8..4, 0u8..4, any::<u8>(), limit());
    let confirm = (0u8..4, 0u8..4, pick());
    let advance = (0u8..4, 0u8..4, any::<u8>());
    prop_oneof![
        4 => read.prop_map(|(slot, class, from, limit)| Op::Read { slot, class, from, limit }),
        1 => (any::<u8>(), any::<u8>(), limit())
            .prop_map(|(from, to, limit)| Op::Scan { from, to, limit }),
        8 => confirm.prop_map(|(slot, class, pick)| Op::Confirm { slot, class, pick }),
        2 => advance.prop_map(|(slot, class, through)| Op::Advance { slot, class, through }),
    ]
}

fn letters() -> impl Strategy<Value = Op> {
    prop_oneof![
        3 => (0u8..8, 0usize..9_000).prop_map(|(key, bytes)| Op::PutLetter { key, bytes }),
        1 => (0u8..9, 0usize..5).prop_map(|(from, limit)| Op::ListLetters { from, limit }),
        2 => (0u8..8).prop_map(Op::RemoveLetter),
        1 => (0u8..8, 0u8..4, 0u8..4).prop_map(|(key, slot, class)| Op::Retry { key, slot, class }),
    ]
}

fn op() -> impl Strategy<Value = Op> {
    let change = || prop::option::weighted(0.4, settings());
    prop_oneof![
        14 => commit(),
        12 => reading(),
        3 => (0u8..4).prop_map(Op::Drain),
        3 => letters(),
        2 => (0u8..4).prop_map(Op::Lane),
        1 => (0u8..4).prop_map(Op::DropLane),
        2 => Just(Op::Persist),
        1 => (0u64..3 << 20).prop_map(Op::Shed),
        1 => Just(Op::Expire),
        1 => change().prop_map(Op::Reopen),
        2 => change().prop_map(Op::Crash),
    ]
}

/// Cases of up to `ops_max` steps; most begin with two lanes.
pub(crate) fn script(ops_max: usize) -> impl Strategy<Value = Script> {
    (settings(), prop::collection::vec(op(), 1..ops_max)).prop_map(|(settings, mut ops)| {
        ops.splice(0..0, [Op::Lane(0), Op::Lane(1)]);
        Script { settings, ops }
    })
}

/// The same as the store takes it.
pub(crate) fn read_limit(limit: Limit) -> ReadLimit {
    ReadLimit {
        records: limit.records,
        bytes: limit.bytes,
    }
}
