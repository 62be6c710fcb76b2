//! The line between the node and the gateway, which does to frames what the case says.

use std::collections::BTreeMap;
use std::fs::File;
use std::io::Write;
use std::os::unix::net::UnixStream;
use std::sync::atomic::{AtomicBool, AtomicU32, Ordering};
use std::sync::{Arc, Mutex};
use std::thread::JoinHandle;
use std::time::{Duration, Instant};

use tidegate_link::Sequence;
use tidegate_link::message::{ToDevice, ToGateway, WINDOW};

use super::cases::{BOOT, Case, DEVICE, Harm, Way};
use super::{framed, read_some, take_frame, unframed};
use Harm::{Damage, Double, Lose, Refuse, Rubbish};
use Way::{Down, Up};

/// Between two looks at the line.
const TURN: Duration = Duration::from_millis(1);
/// How long the node is told to hold.
const HOLD_MS: u32 = 400;

/// What the line has seen.
#[derive(Default)]
pub(super) struct Seen {
    ended: AtomicBool,
    /// Behind the last number that was acknowledged, counted from the first.
    pub(super) acknowledged: AtomicU32,
    /// Readings that the node said it lost.
    pub(super) lost: AtomicU32,
    /// Until when the node is to hold, and the first number that it cannot have sent before it knew.
    hold: Mutex<Option<(Instant, Sequence)>>,
    /// Numbers that left in a hold.
    pub(super) hasty: Mutex<Vec<Sequence>>,
    /// Harms that were done.
    pub(super) done: Mutex<Vec<usize>>,
}

/// The line between the node and the gateway, on a thread of its own.
pub(super) struct BadLine {
    /// What it has seen.
    pub(super) seen: Arc<Seen>,
    thread: Option<JoinHandle<()>>,
}

impl BadLine {
    /// Begins to carry.
    pub(super) fn start(case: &'static Case, node: UnixStream, port: File) -> BadLine {
        node.set_nonblocking(true).expect("a socket");
        let seen = Arc::new(Seen::default());
        let shared = Arc::clone(&seen);
        let thread = std::thread::spawn(move || carry(case, &shared, &node, &port));
        BadLine {
            seen,
            thread: Some(thread),
        }
    }
}

impl Drop for BadLine {
    fn drop(&mut self) {
        self.seen.ended.store(true, Ordering::Relaxed);
        if let Some(thread) = self.thread.take() {
            let _ = thread.join();
        }
    }
}

fn carry(case: &Case, seen: &Seen, node: &UnixStream, port: &File) {
    let mut counts = BTreeMap::new();
    let (mut up, mut down) = (Vec::new(), Vec::new());
    while !seen.ended.load(Ordering::Relaxed) {
        read_some(node, &mut up);
        read_some(port, &mut down);
        for (way, bytes) in [(Up, &mut up), (Down, &mut down)] {
            while let Some(frame) = take_frame(bytes) {
                let (way, out) = harmed(case, seen, way, &frame, &mut counts);
                // What a full line does not take is lost like anything else.
                let _ = match way {
                    Up => { port }.write_all(&out),
                    Down => { node }.write_all(&out),
                };
            }
        }
        std::thread::sleep(TURN);
    }
}

/// What becomes of a frame, and where that goes.
fn harmed(
    case: &Case,
    seen: &Seen,
    way: Way,
    frame: &[u8],
    counts: &mut BTreeMap<(bool, u8), u32>,
) -> (Way, Vec<u8>) {
    let message = unframed(frame);
    note(case, seen, way, &message);
    let Some(&number) = message.first() else {
        return (way, frame.into());
    };
    let count = counts.entry((way == Up, number)).or_default();
    let nth = *count;
    *count += 1;
    let wanted = (way, number, nth);
    let found = case
        .harms
        .iter()
        .position(|(w, m, n, _)| (*w, *m, *n) == wanted);
    let Some(at) = found else {
        return (way, frame.into());
    };
    seen.done.lock().expect("no panic").push(at);
    let out = match case.harms[at].3 {
        Lose => Vec::new(),
        Damage => [&[frame[0], frame[1] ^ 8], &frame[2..]].concat(),
        Double => frame.repeat(2),
        Refuse => refusal(&message, seen),
        Rubbish => return (Down, rubbish(&message)),
    };
    (way, out)
}

fn note(case: &Case, seen: &Seen, way: Way, message: &[u8]) {
    if way == Down
        && let Ok(ToDevice::Ack { next, .. }) = postcard::from_bytes(message)
    {
        let count = next.0.wrapping_sub(case.ring.1);
        seen.acknowledged.fetch_max(count, Ordering::Relaxed);
    }
    if way == Up
        && let Ok(ToGateway::Hello(hello)) = postcard::from_bytes(message)
    {
        seen.lost.fetch_max(hello.lost, Ordering::Relaxed);
    }
    if way == Up
        && let Ok(ToGateway::Event { sequence, .. }) = postcard::from_bytes(message)
        && let Some((until, later)) = *seen.hold.lock().expect("no panic")
        && Instant::now() < until
        && !sequence.is_before(later)
    {
        seen.hasty.lock().expect("no panic").push(sequence);
    }
}

fn refusal(message: &[u8], seen: &Seen) -> Vec<u8> {
    let Ok(ToDevice::Ack { session, next }) = postcard::from_bytes(message) else {
        panic!("only an Ack becomes a Refuse");
    };
    let until = Instant::now() + Duration::from_millis(HOLD_MS.into());
    *seen.hold.lock().expect("no panic") = Some((until, next.plus(WINDOW.into())));
    framed(&ToDevice::Refuse {
        session,
        next,
        retry_ms: HOLD_MS,
    })
}

/// Frames that no gateway sends in answer to an event that it did not get, and that let nothing go.
fn rubbish(message: &[u8]) -> Vec<u8> {
    let Ok(ToGateway::Event {
        session, sequence, ..
    }) = postcard::from_bytes(message)
    else {
        panic!("only an Event is answered with rubbish");
    };
    let next = sequence.next();
    let ack = |session: u16, next| framed(&ToDevice::Ack { session, next });
    let welcome = |boot, session| {
        let device = DEVICE.as_bytes().try_into().expect("8 bytes");
        framed(&ToDevice::Welcome {
            device,
            boot,
            session,
            next,
        })
    };
    let frames = [
        vec![0, 0x55, 0xff, 1, 0],
        [vec![0xff; 300], vec![0]].concat(),
        ack(session, next.plus(9)),
        ack(session, next.plus((1 << 31) - 1)),
        ack(session, next.plus(1 << 31)),
        ack(session ^ 1, next),
        ack(0, next),
        welcome(BOOT + 1, session ^ 1),
        welcome(BOOT, 0),
        // An unknown number, an Ack that ends too early, and one that goes on.
        framed(&(9_u8, session, next)),
        framed(&(2_u8, session)),
        framed(&(2_u8, session, next, 0_u8)),
    ];
    frames.concat()
}
