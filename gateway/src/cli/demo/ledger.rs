//! The demo's books: what senders saw acknowledged, against what arrived upstream.
//!
//! The two sides know nothing of each other. Senders write down what was acknowledged to them;
//! the other side is read from the file that the upstream gateway writes.

use std::collections::{BTreeMap, BTreeSet};
use std::io::{Read, Seek, SeekFrom};
use std::path::PathBuf;
use std::sync::Mutex;

use serde::Serialize;

/// A set of numbers that is nearly contiguous: all below `low`, and some above.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Span {
    low: u64,
    above: BTreeSet<u64>,
}

impl Span {
    /// Adds a number; tells whether it was new.
    pub(super) fn insert(&mut self, number: u64) -> bool {
        if number < self.low || !self.above.insert(number) {
            return false;
        }
        while self.above.remove(&self.low) {
            self.low += 1;
        }
        true
    }

    /// How many numbers it holds.
    pub(super) fn count(&self) -> u64 {
        self.low + self.above.len() as u64
    }

    /// How many of its numbers `other` lacks.
    pub(super) fn missing_in(&self, other: &Span) -> u64 {
        let below = (other.low..self.low).filter(|n| !other.above.contains(n));
        let above = self
            .above
            .iter()
            .filter(|n| **n >= other.low && !other.above.contains(n));
        below.count() as u64 + above.count() as u64
    }
}

/// One line of events that are numbered from 0: the readings or the alarms of one sender.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Line {
    /// The sensor or device.
    pub sender: String,
    /// Whether these are its alarms.
    pub alarm: bool,
}

/// Both sides of the books.
#[derive(Debug, Default)]
pub(super) struct Books {
    sides: Mutex<Sides>,
}

#[derive(Debug, Default)]
struct Sides {
    acknowledged: BTreeMap<Line, Span>,
    delivered: BTreeMap<Line, Span>,
    duplicates: u64,
    strangers: u64,
}

/// The books as they stand.
#[derive(Debug, Clone, Copy, Default, PartialEq, Eq, Serialize)]
pub(crate) struct Balance {
    /// Events acknowledged to their senders.
    pub accepted: u64,
    /// Alarms that a rule derives from them.
    pub derived: u64,
    /// Of both, how many arrived upstream.
    pub delivered: u64,
    /// Arrived more than once.
    pub duplicates: u64,
    /// Set aside as dead letters.
    pub dead_letters: u64,
    /// Acknowledged, and neither delivered nor a dead letter.
    pub lost: u64,
    /// Arrived although nobody sent them.
    pub invented: u64,
}

impl Balance {
    /// Whether everything acknowledged is there, and nothing else.
    pub(crate) fn holds(&self) -> bool {
        self.lost == 0 && self.invented == 0
    }
}

impl Books {
    /// A sender saw number `n` acknowledged; `alarm` says that a rule makes an alarm of it.
    pub(super) fn acknowledged(&self, sender: &str, n: u64) {
        self.enter(sender, false, n, |sides| &mut sides.acknowledged);
    }

    /// A sender saw a reading acknowledged that must also arrive as its alarm number `n`.
    pub(super) fn alarm_due(&self, sender: &str, n: u64) {
        self.enter(sender, true, n, |sides| &mut sides.acknowledged);
    }

    /// Something arrived upstream.
    pub(super) fn delivered(&self, sender: &str, alarm: bool, n: u64) {
        if !self.enter(sender, alarm, n, |sides| &mut sides.delivered) {
            self.lock().duplicates += 1;
        }
    }

    /// Something arrived that no sender of the demo can have sent.
    pub(super) fn stranger(&self) {
        self.lock().strangers += 1;
    }

    /// How many events were acknowledged so far, alarms not counted.
    pub(super) fn accepted(&self) -> u64 {
        total(&self.lock().acknowledged, false)
    }

    /// How many events arrived so far, alarms included.
    pub(super) fn arrived(&self) -> u64 {
        let sides = self.lock();
        total(&sides.delivered, false) + total(&sides.delivered, true)
    }

    /// The balance, with the number of dead letters that the gateway holds.
    pub(super) fn balance(&self, dead_letters: u64) -> Balance {
        let sides = self.lock();
        let nothing = Span::default();
        let missing: u64 = sides
            .acknowledged
            .iter()
            .map(|(line, span)| span.missing_in(sides.delivered.get(line).unwrap_or(&nothing)))
            .sum();
        Balance {
            accepted: total(&sides.acknowledged, false),
            derived: total(&sides.acknowledged, true),
            delivered: total(&sides.delivered, false) + total(&sides.delivered, true),
            duplicates: sides.duplicates,
            dead_letters,
            lost: missing.saturating_sub(dead_letters),
            invented: sides.strangers,
        }
    }

    fn enter(
        &self,
        sender: &str,
        alarm: bool,
        n: u64,
        side: impl Fn(&mut Sides) -> &mut BTreeMap<Line, Span>,
    ) -> bool {
        let line = Line {
            sender: sender.into(),
            alarm,
        };
        side(&mut self.lock()).entry(line).or_default().insert(n)
    }

    fn lock(&self) -> std::sync::MutexGuard<'_, Sides> {
        self.sides.lock().unwrap_or_else(|e| e.into_inner())
    }
}

fn total(side: &BTreeMap<Line, Span>, alarm: bool) -> u64 {
    side.iter()
        .filter(|(line, _)| line.alarm == alarm)
        .map(|(_, span)| span.count())
        .sum()
}

/// Follows the file that the upstream gateway appends to.
pub(super) struct Follower {
    path: PathBuf,
    read: u64,
    partial: Vec<u8>,
}

impl Follower {
    /// Follows from the beginning.
    pub(super) fn new(path: PathBuf) -> Follower {
        Follower {
            path,
            read: 0,
            partial: Vec::new(),
        }
    }

    /// Enters every whole line written since the last call.
    ///
    /// # Errors
    /// When the file exists but cannot be read.
    pub(super) fn catch_up(&mut self, books: &Books) -> std::io::Result<()> {
        let mut file = match std::fs::File::open(&self.path) {
            Err(error) if error.kind() == std::io::ErrorKind::NotFound => return Ok(()),
            opened => opened?,
        };
        file.seek(SeekFrom::Start(self.read))?;
        self.read += file.read_to_end(&mut self.partial)? as u64;
        let whole = self.partial.iter().rposition(|byte| *byte == b'\n');
        let rest = self.partial.split_off(whole.map_or(0, |at| at + 1));
        for line in std::mem::replace(&mut self.partial, rest).split(|byte| *byte == b'\n') {
            if !line.is_empty() {
                enter(line, books);
            }
        }
        Ok(())
    }
}

/// Enters one structured CloudEvent. Sensors number their readings in the payload; devices by
/// the sequence in the id that the gateway minted for them.
fn enter(line: &[u8], books: &Books) {
    let Ok(event) = serde_json::from_slice::<serde_json::Value>(line) else {
        return books.stranger();
    };
    let alarm = event["data"].get("severity").is_some();
    let sensor = event["data"]["sensor"].as_str();
    let number = event["data"]["n"].as_u64();
    match (sensor, number) {
        (Some(sensor), Some(n)) => books.delivered(sensor, alarm, n),
        _ => match device(&event) {
            Some((device, n)) => books.delivered(&device, false, n),
            None => books.stranger(),
        },
    }
}

/// Device and sequence from an id of the form `<device>-<boot>-<sequence>`.
fn device(event: &serde_json::Value) -> Option<(String, u64)> {
    let (rest, sequence) = event["id"].as_str()?.rsplit_once('-')?;
    let (device, _boot) = rest.rsplit_once('-')?;
    Some((device.into(), sequence.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_span_counts_each_number_once_and_knows_what_is_missing() {
        let (mut acknowledged, mut delivered) = (Span::default(), Span::default());
        for n in [0, 1, 2, 3, 5, 9] {
            assert!(acknowledged.insert(n));
        }
        for n in [0, 2, 9, 7] {
            assert!(delivered.insert(n));
        }
        assert!(!delivered.insert(2));
        assert_eq!(acknowledged.missing_in(&delivered), 3, "1, 3 and 5");
        assert_eq!(acknowledged.count(), 6);
    }

    #[test]
    fn an_acknowledged_event_that_never_arrives_is_lost() {
        let books = Books::default();
        books.acknowledged("s1", 0);
        books.acknowledged("s1", 1);
        books.delivered("s1", false, 1);
        books.delivered("s1", false, 1);
        let balance = books.balance(0);
        assert_eq!((balance.lost, balance.duplicates), (1, 1));
        assert_eq!(books.balance(1).lost, 0, "a dead letter is not lost");
    }

    #[test]
    fn a_missing_alarm_is_lost_too() {
        let books = Books::default();
        books.acknowledged("s1", 0);
        books.alarm_due("s1", 0);
        books.delivered("s1", false, 0);
        assert_eq!(books.balance(0).lost, 1);
    }

    #[test]
    fn lines_are_entered_only_when_they_are_whole() {
        let dir = tempfile::tempdir().expect("a folder");
        let path = dir.path().join("delivered.jsonl");
        let books = Books::default();
        let mut follower = Follower::new(path.clone());
        std::fs::write(
            &path,
            "{\"id\":\"1\",\"data\":{\"sensor\":\"s1\",\"n\":0}}\n{\"id\":\"dev",
        )
        .expect("writes");
        follower.catch_up(&books).expect("reads");
        assert_eq!(books.arrived(), 1);
        std::fs::write(
            &path,
            "{\"id\":\"1\",\"data\":{\"sensor\":\"s1\",\"n\":0}}\n{\"id\":\"dev-7-12\"}\nnoise\n",
        )
        .expect("writes");
        follower.catch_up(&books).expect("reads");
        assert_eq!((books.arrived(), books.balance(0).invented), (2, 1));
    }
}
