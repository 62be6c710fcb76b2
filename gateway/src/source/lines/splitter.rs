//! Cuts a stream of bytes into lines, whatever the reads, with a bound on their length.

/// Cuts a stream of bytes into lines.
#[derive(Debug)]
pub struct Splitter {
    partial: Vec<u8>,
    bytes_max: usize,
    skipping: bool,
}

/// What the bytes hold, up to the end of a line.
#[derive(Debug, PartialEq, Eq)]
pub enum SplitLine {
    /// A whole line without its end.
    Line(Vec<u8>),
    /// A line longer than allowed; all of it is skipped.
    TooLong,
}

impl Splitter {
    /// A splitter for lines of at most `bytes_max` bytes.
    pub fn new(bytes_max: usize) -> Splitter {
        Splitter {
            partial: Vec::new(),
            bytes_max,
            skipping: false,
        }
    }

    /// Takes bytes and hands over the lines that they complete. Empty lines are no lines.
    pub fn push(&mut self, bytes: &[u8], mut found: impl FnMut(SplitLine)) {
        for byte in bytes {
            match byte {
                b'\n' => {
                    let line = std::mem::take(&mut self.partial);
                    let skipped = std::mem::take(&mut self.skipping);
                    let line = line.strip_suffix(b"\r").unwrap_or(&line);
                    if !skipped && !line.is_empty() {
                        found(SplitLine::Line(line.to_vec()));
                    }
                }
                _ if self.skipping => {}
                _ if self.partial.len() == self.bytes_max => {
                    self.partial.clear();
                    self.skipping = true;
                    found(SplitLine::TooLong);
                }
                byte => self.partial.push(*byte),
            }
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
                    SplitLine::Line(line) => String::from_utf8_lossy(&line).into_owned(),
                    SplitLine::TooLong => "<too long>".into(),
                });
            });
        }
        lines
    }

    #[test]
    fn lines_end_where_they_end_whatever_the_reads() {
        let expected = ["one", "two", "three"];
        assert_eq!(split(80, &[b"one\r\ntwo\n\nthree\nfou"]), expected);
        assert_eq!(
            split(80, &[b"on", b"e\r", b"\ntw", b"o\n\n", b"three\nfou"]),
            expected
        );
    }

    #[test]
    fn a_line_that_is_too_long_is_skipped_and_the_next_one_is_whole() {
        assert_eq!(
            split(4, &[b"abcd\nabcde\nabc\n"]),
            ["abcd", "<too long>", "abc"]
        );
    }
}
