//! Lines of text that were refused: how many, and the last ones.

use std::fmt::{self, Write};
use std::sync::{Mutex, MutexGuard, PoisonError};

use super::SourceMetrics;
use crate::observe::Happening;
use crate::observe::status::{RefusedLine, RefusedLines};
use crate::time::clock::Now;

/// So many of the last ones are kept.
const KEPT: usize = 5;
/// Bytes of a line that are shown.
const SHOWN: usize = 40;

/// The lines that one source refused.
#[derive(Default)]
pub(super) struct Refusals(Mutex<RefusedLines>);

impl Refusals {
    fn lines(&self) -> MutexGuard<'_, RefusedLines> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Keeps one of them; how many there were so far.
    fn add(&self, line: RefusedLine) -> u64 {
        let mut lines = self.lines();
        if lines.last.len() == KEPT {
            lines.last.pop_front();
        }
        lines.last.push_back(line);
        lines.count += 1;
        lines.count
    }
}

/// Why a line is refused, without anything of the line: that is told in the log too.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Refusal {
    /// What is wrong with it.
    pub why: String,
    /// At which of its characters, counted from 1, where it is at one.
    pub character: Option<u64>,
}

impl From<String> for Refusal {
    fn from(why: String) -> Refusal {
        Refusal {
            why,
            character: None,
        }
    }
}

impl Refusal {
    /// At the character behind `before`.
    pub fn behind(before: &str, why: impl Into<String>) -> Refusal {
        Refusal {
            why: why.into(),
            character: Some(before.chars().count() as u64 + 1),
        }
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self.character {
            None => f.write_str(&self.why),
            Some(at) => write!(f, "{} at character {at}", self.why),
        }
    }
}

impl SourceMetrics {
    /// A line was refused; `bytes` is what is there of it. What to tell of that.
    pub fn line_refused<'a>(
        &'a self,
        refusal: &'a Refusal,
        bytes: &[u8],
        now: Now,
    ) -> LineRefused<'a> {
        self.malformed("line");
        self.unreadable(&refusal.why);
        let so_far = self.0.refusals.add(RefusedLine {
            at_ms: now.unix_ms,
            why: refusal.to_string(),
            bytes: bytes.len() as u64,
            begin: excerpt(bytes),
        });
        LineRefused {
            source: &self.0.source,
            refusal,
            so_far,
        }
    }

    /// So many bytes came since the last end of a line.
    pub fn line_goes_on(&self, bytes: u64) {
        self.0.readings.unended(bytes);
    }

    /// The lines that were refused, if there were any.
    pub fn refused_lines(&self) -> Option<RefusedLines> {
        let lines = self.0.refusals.lines();
        (lines.count > 0).then(|| lines.clone())
    }
}

/// A line that is not what the configuration says.
pub struct LineRefused<'a> {
    source: &'a str,
    refusal: &'a Refusal,
    /// How many were refused since the start.
    so_far: u64,
}

impl Happening for LineRefused<'_> {
    fn log(&self) {
        tracing::warn!(
            source = self.source,
            why = self.refusal.why,
            character = self.refusal.character,
            so_far = self.so_far,
            "line refused"
        );
    }
}

/// The beginning of what came from outside, in characters that a terminal shows and acts on in no way.
fn excerpt(bytes: &[u8]) -> String {
    let mut cut = SHOWN.min(bytes.len());
    // Not within a character.
    while cut < bytes.len() && cut + 3 > SHOWN && bytes[cut] & 0xc0 == 0x80 {
        cut -= 1;
    }
    let mut shown = String::new();
    for chunk in bytes[..cut].utf8_chunks() {
        for c in chunk.valid().chars() {
            match c {
                '"' | '\'' => shown.push(c),
                c => shown.extend(c.escape_debug()),
            }
        }
        for byte in chunk.invalid() {
            let _ = write!(shown, "\\x{byte:02x}");
        }
    }
    if cut < bytes.len() {
        shown.push('…');
    }
    shown
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::observe::Observe;
    use crate::observe::source::SourceFamilies;
    use crate::time::clock;

    #[test]
    fn an_excerpt_is_short_and_shows_every_byte() {
        for (bytes, expected) in [
            (&b"21.5"[..], "21.5"),
            (b"", ""),
            (
                b"\xff\x00\x1b[2J\t\"x\"\\",
                "\\xff\\0\\u{1b}[2J\\t\"x\"\\\\",
            ),
            ("grüße °C".as_bytes(), "grüße °C"),
            (&[b'x'; 40], &"x".repeat(40)),
            (&[b'x'; 41], &format!("{}…", "x".repeat(40))),
            (
                format!("{}°C", "x".repeat(39)).as_bytes(),
                &format!("{}…", "x".repeat(39)),
            ),
            (&[0x80; 100], &format!("{}…", "\\x80".repeat(37))),
        ] {
            assert_eq!(excerpt(bytes), expected);
        }
    }

    #[test]
    fn the_last_refused_lines_are_kept_and_all_are_counted() {
        let observe = Observe::default();
        let metrics = SourceFamilies::register(&observe).of("gps");
        assert_eq!(metrics.refused_lines(), None);
        for number in 0..12_u8 {
            let refusal = Refusal::behind("grüße", format!("why {number}"));
            let told = metrics.line_refused(&refusal, &[b'a' + number; 100], clock::now());
            assert_eq!(told.so_far, u64::from(number) + 1);
        }
        let lines = metrics.refused_lines().expect("some");
        assert_eq!((lines.count, lines.last.len()), (12, KEPT));
        let last = lines.last.back().expect("one");
        assert_eq!(
            (last.why.as_str(), last.bytes),
            ("why 11 at character 6", 100)
        );
        assert_eq!(last.begin, format!("{}…", "l".repeat(40)));
        assert_eq!(lines.last.front().expect("one").why, "why 7 at character 6");
    }
}
