//! Lines that repeat: written once, then counted, and the count written.
//!
//! A line is known by its place in the program and by its words; numbers beside the words (counts,
//! sizes) do not make it another one. Each place has room for so many different lines in ten
//! seconds; of a place that uses it up less is written in the next ones. Memory is bounded, for the
//! places are those of the program. What `--log debug` asks for is never held back.

use std::cell::Cell;
use std::collections::HashMap;
use std::fmt::{self, Write};
use std::hash::{DefaultHasher, Hash, Hasher};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Subscriber};
use tracing_subscriber::layer::{Context, Layer};

use crate::time::clock;

/// How long a line that was written is counted, and no more than that.
const WINDOW: Duration = Duration::from_secs(10);
/// The same for one that goes on and on: it doubles up to this.
const WINDOW_MAX: Duration = Duration::from_secs(640);
/// Different lines of one place in a window: while all is well, and while more come.
const ROOM_MAX: usize = 128;
const ROOM_MIN: usize = 8;
/// Bytes of a line that are remembered.
const WORDS_BYTES_MAX: usize = 240;

thread_local! {
    static ALWAYS: Cell<bool> = const { Cell::new(false) };
}

/// Lets `write` write its line however often it does: whoever calls this bounds it.
pub(crate) fn always(write: impl FnOnce()) {
    let before = ALWAYS.replace(true);
    write();
    ALWAYS.set(before);
}

/// What was held back of a line, or of several that one place has written.
#[derive(Debug, PartialEq, Eq)]
struct Summary {
    level: Level,
    more: u64,
    within: Duration,
    words: String,
}

/// A line that was written.
struct Written {
    since: Instant,
    until: Instant,
    more: u64,
    words: String,
}

/// A place in the program that writes lines.
struct Place {
    level: Level,
    written: HashMap<u64, Written>,
    room: usize,
    room_max: usize,
    window_ends: Instant,
    /// Lines that found no room, and the first of them.
    others: u64,
    words: String,
}

impl Place {
    fn new(level: Level, now: Instant) -> Place {
        Place {
            level,
            written: HashMap::new(),
            room: ROOM_MAX,
            room_max: ROOM_MAX,
            window_ends: now + WINDOW,
            others: 0,
            words: String::new(),
        }
    }

    /// Whether a line is written; else it is counted.
    fn admit(&mut self, line: u64, words: impl FnOnce() -> String, now: Instant) -> bool {
        if let Some(written) = self.written.get_mut(&line) {
            written.more += 1;
            if written.more == 1 {
                written.words = words();
            }
            return false;
        }
        if self.room == 0 || self.written.len() >= 2 * ROOM_MAX {
            self.others += 1;
            if self.others == 1 {
                self.words = words();
            }
            return false;
        }
        self.room -= 1;
        let written = Written {
            since: now,
            until: now + WINDOW,
            more: 0,
            words: String::new(),
        };
        self.written.insert(line, written);
        true
    }

    fn summarise(&mut self, now: Instant, is_end: bool, told: &mut Vec<Summary>) {
        let level = self.level;
        self.written.retain(|_, written| {
            if now < written.until && !is_end {
                return true;
            }
            if written.more == 0 {
                return false;
            }
            let within = now.saturating_duration_since(written.since);
            told.push(Summary {
                level,
                more: std::mem::take(&mut written.more),
                within,
                words: std::mem::take(&mut written.words),
            });
            written.since = now;
            written.until = now + (within * 2).clamp(WINDOW, WINDOW_MAX);
            true
        });
        if now < self.window_ends && !is_end {
            return;
        }
        let began = self.window_ends.checked_sub(WINDOW).unwrap_or(now);
        self.room_max = match self.others {
            0 => self.room_max.saturating_mul(2).min(ROOM_MAX),
            _ => (self.room_max / 2).max(ROOM_MIN),
        };
        if self.others > 0 {
            told.push(Summary {
                level,
                more: std::mem::take(&mut self.others),
                within: now.saturating_duration_since(began),
                words: format!("lines like: {}", std::mem::take(&mut self.words)),
            });
        }
        self.room = self.room_max;
        self.window_ends = now + WINDOW;
    }
}

/// What was written lately, by place; shared by the layer and by who writes the counts.
#[derive(Clone, Default)]
pub struct Repeats(Arc<Mutex<HashMap<Identifier, Place>>>);

impl Repeats {
    fn places(&self) -> MutexGuard<'_, HashMap<Identifier, Place>> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn admit(&self, event: &Event<'_>, now: Instant) -> bool {
        let about = event.metadata();
        let is_summary = about.target() == module_path!();
        if *about.level() > Level::INFO || is_summary || ALWAYS.get() {
            return true;
        }
        let mut line = Line::default();
        event.record(&mut line);
        let mut places = self.places();
        let place = places.entry(about.callsite());
        let place = place.or_insert_with(|| Place::new(*about.level(), now));
        place.admit(line.hash.finish(), || words(event), now)
    }

    /// Writes how much was held back, of what has repeated for long enough.
    pub fn write(&self, now: Instant) {
        Repeats::write_summaries(self.summaries(now, false));
    }

    /// Writes how much was held back of everything: the log ends.
    pub fn write_rest(&self, now: Instant) {
        Repeats::write_summaries(self.summaries(now, true));
    }

    fn write_summaries(summaries: Vec<Summary>) {
        for summary in summaries {
            let Summary {
                level,
                more,
                within,
                words,
            } = summary;
            let seconds = within.as_secs();
            match level {
                Level::ERROR => tracing::error!("… {more} more in the last {seconds} s: {words}"),
                Level::WARN => tracing::warn!("… {more} more in the last {seconds} s: {words}"),
                _ => tracing::info!("… {more} more in the last {seconds} s: {words}"),
            }
        }
    }

    fn summaries(&self, now: Instant, is_end: bool) -> Vec<Summary> {
        let mut told = Vec::new();
        let mut places = self.places();
        for place in places.values_mut() {
            place.summarise(now, is_end, &mut told);
        }
        told
    }
}

impl<S: Subscriber> Layer<S> for Repeats {
    fn event_enabled(&self, event: &Event<'_>, _context: Context<'_, S>) -> bool {
        self.admit(event, clock::monotonic())
    }
}

/// What makes a line the same: its words, without the numbers beside them.
#[derive(Default)]
struct Line {
    hash: DefaultHasher,
}

impl Visit for Line {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        field.name().hash(&mut self.hash);
        // Written into the hash as it is formatted.
        let _ = write!(HashWriter(&mut self.hash), "{value:?}");
    }

    fn record_bool(&mut self, field: &Field, value: bool) {
        (field.name(), value).hash(&mut self.hash);
    }

    fn record_i64(&mut self, _: &Field, _: i64) {}
    fn record_u64(&mut self, _: &Field, _: u64) {}
    fn record_f64(&mut self, _: &Field, _: f64) {}
}

struct HashWriter<'a>(&'a mut DefaultHasher);

impl Write for HashWriter<'_> {
    fn write_str(&mut self, text: &str) -> fmt::Result {
        self.0.write(text.as_bytes());
        Ok(())
    }
}

/// The line as people read it, shortened.
fn words(event: &Event<'_>) -> String {
    let mut words = Words::default();
    event.record(&mut words);
    let mut text = words.message + &words.fields;
    if text.len() > WORDS_BYTES_MAX {
        text.truncate(text.floor_char_boundary(WORDS_BYTES_MAX));
        text.push('…');
    }
    text
}

#[derive(Default)]
struct Words {
    message: String,
    fields: String,
}

impl Visit for Words {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        let _ = match field.name() {
            "message" => write!(self.message, "{value:?}"),
            name => write!(self.fields, " {name}={value:?}"),
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use tracing_subscriber::layer::SubscriberExt;

    /// What `writes` wrote under a filter of its own, as the layer let it through.
    fn admitted(repeats: &Repeats, writes: impl FnOnce()) -> Vec<String> {
        #[derive(Clone, Default)]
        struct Kept(Arc<Mutex<Vec<String>>>);
        impl<S: Subscriber> Layer<S> for Kept {
            fn on_event(&self, event: &Event<'_>, _: Context<'_, S>) {
                self.0.lock().expect("a list").push(words(event));
            }
        }
        let kept = Kept::default();
        let subscriber = tracing_subscriber::registry()
            .with(kept.clone())
            .with(repeats.clone());
        tracing::subscriber::with_default(subscriber, writes);
        std::mem::take(&mut *kept.0.lock().expect("a list"))
    }

    fn summaries(repeats: &Repeats, at: Instant) -> Vec<(u64, u64, String)> {
        let all = repeats.summaries(at, false).into_iter();
        all.map(|it| (it.more, it.within.as_secs(), it.words))
            .collect()
    }

    #[test]
    fn the_same_line_of_the_same_place_is_written_once_and_then_counted() {
        let repeats = Repeats::default();
        let refused = |why: &str, so_far: u64| tracing::warn!(why, so_far, "line refused");
        let lines = admitted(&repeats, || {
            for number in 0..100 {
                refused("it is not UTF-8", number);
                refused("it has 1 column", number);
            }
        });
        let expected = [
            "line refused why=\"it is not UTF-8\" so_far=0",
            "line refused why=\"it has 1 column\" so_far=0",
        ];
        assert_eq!(lines, expected);
        let now = clock::monotonic();
        assert!(summaries(&repeats, now).is_empty(), "not yet");
        let mut told = summaries(&repeats, now + WINDOW);
        told.sort();
        assert_eq!(told.len(), 2);
        assert_eq!(told[0].0, 99);
        assert_eq!(told[0].2, "line refused why=\"it has 1 column\" so_far=1");
        assert!(summaries(&repeats, now + 2 * WINDOW).is_empty());
        assert!(
            summaries(&repeats, now + 9 * WINDOW).is_empty(),
            "it is over"
        );
        let lines = admitted(&repeats, || refused("it is not UTF-8", 7));
        assert_eq!(lines.len(), 1, "and is written again when it comes again");
    }

    #[test]
    fn what_differs_is_written_up_to_a_bound_and_then_counted() {
        let repeats = Repeats::default();
        let write = |number: usize| {
            let client = format!("client-{number}");
            tracing::warn!(client, "connection closed");
        };
        let mut now = clock::monotonic();
        let mut written = Vec::new();
        for round in 0..6 {
            let lines = admitted(&repeats, || {
                (0..1000).for_each(|number| write(round * 1000 + number));
            });
            written.push(lines.len());
            now += WINDOW + Duration::from_millis(1);
            let told = summaries(&repeats, now);
            let more: u64 = told.iter().map(|it| it.0).sum();
            assert_eq!(more as usize + lines.len(), 1000, "none is forgotten");
        }
        assert_eq!(written, [128, 64, 32, 16, 8, 8]);
        for _ in 0..5 {
            now += WINDOW;
            assert!(summaries(&repeats, now).is_empty());
        }
        let lines = admitted(&repeats, || (0..50).for_each(write));
        assert_eq!(lines.len(), 50, "room comes back when it is quiet");
    }

    #[test]
    fn what_goes_on_is_summed_up_ever_more_seldom() {
        let repeats = Repeats::default();
        let start = clock::monotonic();
        let mut told = Vec::new();
        let mut lines = 0;
        for second in 0..3600 {
            lines += admitted(&repeats, || tracing::info!("again")).len();
            told.extend(summaries(&repeats, start + Duration::from_secs(second + 1)));
        }
        assert_eq!(lines, 1);
        assert!((8..14).contains(&told.len()), "{told:?}");
    }

    #[test]
    fn what_is_asked_for_or_bounded_elsewhere_is_never_held_back() {
        let repeats = Repeats::default();
        let lines = admitted(&repeats, || {
            for _ in 0..300 {
                tracing::debug!("looked");
                always(|| tracing::info!("upstream up"));
            }
        });
        assert_eq!(lines.len(), 600);
    }
}
