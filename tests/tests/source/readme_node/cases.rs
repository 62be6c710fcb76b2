//! What happens on the line.

use Harm::{Damage, Double, Lose, Refuse, Rubbish};
use Way::{Down, Up};

/// The node's id.
pub(super) const DEVICE: &str = "node-py1";
/// Its boot.
pub(super) const BOOT: u32 = 9;
/// Readings that it makes.
pub(super) const READINGS: u32 = 400;
/// Close to where the numbers on the line wrap.
const FIRST: u32 = u32::MAX - 19;

/// Where a frame goes.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Way {
    /// To the gateway.
    Up,
    /// To the node.
    Down,
}

/// What is done to a frame.
#[derive(Debug, Clone, Copy)]
pub(super) enum Harm {
    /// It does not arrive.
    Lose,
    /// It arrives with another bit.
    Damage,
    /// It arrives twice.
    Double,
    /// To an `Ack`: the node is told to hold instead.
    Refuse,
    /// To an `Event`: it does not arrive, and the node gets frames that no gateway sends.
    Rubbish,
}

/// The way, the message's number, which of those, and what is done to it.
pub(super) type Harms = &'static [(Way, u8, u32, Harm)];

/// One course of the line.
pub(super) struct Case {
    /// What it is about.
    pub(super) name: &'static str,
    /// What is done to frames.
    pub(super) harms: Harms,
    /// The gateway is killed and starts again so often.
    pub(super) restarts: u32,
    /// Readings that the node has room for, and the number of the first.
    pub(super) ring: (u32, u32),
}

const ROOMY: (u32, u32) = (10_000, FIRST);

/// All of them.
pub(super) const CASES: [Case; 6] = [
    Case {
        name: "a good line",
        harms: &[],
        restarts: 0,
        ring: ROOMY,
    },
    Case {
        name: "it joins with difficulty",
        harms: &[
            (Up, 0, 0, Lose),
            (Up, 0, 1, Double),
            (Down, 6, 0, Lose),
            (Up, 3, 0, Lose),
            (Up, 3, 1, Damage),
            (Down, 1, 0, Lose),
            (Down, 1, 1, Damage),
            (Down, 5, 0, Lose),
        ],
        restarts: 0,
        ring: ROOMY,
    },
    Case {
        name: "events and acknowledgements get lost",
        harms: &[
            (Up, 1, 0, Lose),
            (Up, 1, 40, Damage),
            (Up, 1, 90, Double),
            (Up, 1, 130, Lose),
            (Up, 1, 150, Lose),
            (Up, 1, 170, Lose),
            (Up, 1, 190, Lose),
            (Up, 1, 210, Lose),
            (Up, 1, 230, Lose),
            (Up, 1, 250, Lose),
            (Down, 3, 0, Lose),
            (Down, 3, 1, Double),
            (Down, 2, 0, Lose),
            (Down, 2, 9, Damage),
            (Down, 2, 20, Double),
        ],
        restarts: 0,
        ring: ROOMY,
    },
    Case {
        name: "it is told to hold, and told rubbish",
        harms: &[
            (Up, 1, 0, Rubbish),
            (Down, 2, 5, Refuse),
            (Up, 1, 50, Rubbish),
            (Up, 1, 51, Rubbish),
            (Down, 2, 15, Refuse),
        ],
        restarts: 0,
        ring: ROOMY,
    },
    Case {
        name: "the gateway is killed",
        harms: &[(Down, 1, 0, Lose), (Up, 1, 30, Lose)],
        restarts: 2,
        ring: ROOMY,
    },
    Case {
        name: "the ring is full before the gateway is there",
        harms: &[(Down, 1, 0, Lose)],
        restarts: 0,
        ring: (40, 0),
    },
];
