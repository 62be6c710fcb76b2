//! Cuts a stream of bytes into lines, whatever the reads, with a bound on their length.
//!
//! CR, LF and both of them end a line; an empty line is none, so that it does not matter which of them a device writes,
//! or where the reads part them. What comes before the first end is the rest of a line that began before anybody
//! listened: it is no line.

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
pub(super) struct Splitter {
    partial: Vec<u8>,
    bytes_max: usize,
    state: State,
    unended: u64,
}

/// What becomes of the bytes up to the next end.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum State {
    /// No end has come yet.
    Joining,
    /// They are a line.
    Line,
    /// They are too long, and that is told.
    TooLong,
}

/// What the bytes hold, up to the end of a line.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum SplitLine<'a> {
    /// A whole line without its end.
    Line(&'a [u8]),
    /// The beginning of a line longer than allowed; all of it is skipped.
    TooLong(&'a [u8]),
}

impl Splitter {
    /// A splitter for lines of at most `bytes_max` bytes.
    pub(super) fn new(bytes_max: usize) -> Splitter {
        Splitter {
            partial: Vec::new(),
            bytes_max,
            state: State::Joining,
            unended: 0,
        }
    }

    /// Bytes since the last end of a line.
    pub(super) fn unended(&self) -> u64 {
        self.unended
    }

    /// Takes bytes and hands over the lines that they complete.
    pub(super) fn push(&mut self, bytes: &[u8], mut found: impl FnMut(SplitLine<'_>)) {
        let mut rest = bytes;
        while let Some(end) = memchr::memchr2(b'\r', b'\n', rest) {
            self.extend(&rest[..end], &mut found);
            if self.state == State::Line && !self.partial.is_empty() {
                found(SplitLine::Line(&self.partial));
            }
            self.partial.clear();
            (self.state, self.unended) = (State::Line, 0);
            rest = &rest[end + 1..];
        }
        self.extend(rest, &mut found);
    }

    fn extend(&mut self, piece: &[u8], found: &mut impl FnMut(SplitLine<'_>)) {
        self.unended += piece.len() as u64;
        if self.state == State::TooLong {
            return;
        }
        let room = self.bytes_max - self.partial.len();
        self.partial
            .extend_from_slice(&piece[..piece.len().min(room)]);
        if piece.len() > room {
            found(SplitLine::TooLong(&self.partial));
            self.partial.clear();
            self.state = State::TooLong;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn split(bytes_max: usize, chunks: &[&[u8]]) -> Vec<String> {
        let mut splitter = Splitter::new(bytes_max);
        let mut lines = Vec::new();
        for chunk in chunks {
            splitter.push(chunk, |found| {
                lines.push(match found {
                    SplitLine::Line(line) => String::from_utf8_lossy(line).into_owned(),
                    SplitLine::TooLong(line) => format!("<{}", String::from_utf8_lossy(line)),
                });
            });
            assert!(splitter.partial.len() <= bytes_max);
        }
        lines
    }

    #[test]
    fn cr_lf_and_both_end_a_line_and_what_comes_before_the_first_end_is_none() {
        for (bytes, expected) in [
            ("half\none\ntwo\n", &["one", "two"][..]),
            ("half\rone\rtwo\r", &["one", "two"]),
            ("half\r\none\r\ntwo\r\n", &["one", "two"]),
            (
                "half\none\rtwo\r\nthree\n\rfour\n",
                &["one", "two", "three", "four"],
            ),
            // Opened between the bytes of an end, or at one.
            ("\none\n", &["one"]),
            ("\r\none\r\n", &["one"]),
            // Empty lines are none.
            ("\n\n\n\r\r\r\n\n one \n\n", &[" one "]),
            // The last one is not over.
            ("half\none\ntwo", &["one"]),
            ("half", &[]),
            ("", &[]),
        ] {
            assert_eq!(split(80, &[bytes.as_bytes()]), expected, "{bytes:?}");
            // Torn at every place, and into single bytes.
            for at in 0..bytes.len() {
                let (front, back) = bytes.as_bytes().split_at(at);
                assert_eq!(split(80, &[front, back]), expected, "{bytes:?} at {at}");
            }
            let single: Vec<&[u8]> = bytes.as_bytes().chunks(1).collect();
            assert_eq!(split(80, &single), expected, "{bytes:?}");
        }
    }

    #[test]
    fn a_line_that_is_too_long_is_told_once_and_the_next_one_is_whole() {
        for (bytes, expected) in [
            ("\nabcd\nabcde\nabc\n", &["abcd", "<abcd", "abc"][..]),
            (
                "\nabcd\r\nabcdefghijkl\r\nabc\r\n",
                &["abcd", "<abcd", "abc"],
            ),
            // Without any end, from the beginning on and later.
            ("abcdefghijklmnop", &["<abcd"]),
            ("\nab\nabcdefghijklmnop", &["ab", "<abcd"]),
            // The rest of a line from before is told where it is too long.
            ("abcdefg\nab\n", &["<abcd", "ab"]),
        ] {
            assert_eq!(split(4, &[bytes.as_bytes()]), expected, "{bytes:?}");
            let single: Vec<&[u8]> = bytes.as_bytes().chunks(1).collect();
            assert_eq!(split(4, &single), expected, "{bytes:?}");
        }
    }

    #[test]
    fn bytes_without_an_end_are_counted_and_take_no_memory() {
        let mut splitter = Splitter::new(64);
        splitter.push(b"\n", |_| {});
        for _ in 0..1000 {
            splitter.push(&[b'x'; 1000], |_| {});
        }
        assert_eq!(splitter.unended(), 1_000_000);
        assert!(splitter.partial.capacity() < 1024);
        splitter.push(b"\rab", |_| {});
        assert_eq!(splitter.unended(), 2);
    }
}
