//! Tables of text for people: columns as wide as they need to be.

use std::io::{self, Write};

/// A column is at most so wide; what is longer moves the rest of its own row only.
const WIDTH_MAX: usize = 64;

/// How a column stands.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in crate::cli) enum Align {
    /// Words.
    Left,
    /// Figures.
    Right,
}

/// Rows under a heading.
pub(in crate::cli) struct Table {
    columns: Vec<(&'static str, Align)>,
    rows: Vec<Vec<String>>,
}

impl Table {
    /// A table without rows. A heading that starts with `>` stands right.
    pub(in crate::cli) fn new(headings: &[&'static str]) -> Table {
        let column = |heading: &&'static str| match heading.strip_prefix('>') {
            Some(heading) => (heading, Align::Right),
            None => (*heading, Align::Left),
        };
        Table {
            columns: headings.iter().map(column).collect(),
            rows: Vec::new(),
        }
    }

    /// Adds a row with a cell per column.
    pub(in crate::cli) fn row(&mut self, cells: impl IntoIterator<Item = String>) {
        self.rows
            .push(cells.into_iter().map(|cell| printable(&cell)).collect());
    }

    /// Writes the heading and all rows; the heading is dimmed where `color` says so.
    ///
    /// # Errors
    /// When the output is closed.
    pub(in crate::cli) fn write(&self, output: &mut impl Write, color: bool) -> io::Result<()> {
        let headings: Vec<String> = self
            .columns
            .iter()
            .map(|(name, _)| (*name).to_owned())
            .collect();
        let widths: Vec<usize> = (0..headings.len()).map(|place| self.width(place)).collect();
        let heading = self.line(&headings, &widths);
        match color {
            true => writeln!(output, "\x1b[2m{heading}\x1b[0m")?,
            false => writeln!(output, "{heading}")?,
        }
        for row in &self.rows {
            writeln!(output, "{}", self.line(row, &widths))?;
        }
        Ok(())
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        let columns = self.columns.iter().zip(widths);
        for (place, (cell, ((_, align), width))) in cells.iter().zip(columns).enumerate() {
            let padding = " ".repeat(width.saturating_sub(cell.chars().count()));
            let gap = if place == 0 { "" } else { "  " };
            line.push_str(gap);
            match align {
                Align::Left => line.extend([cell.as_str(), padding.as_str()]),
                Align::Right => line.extend([padding.as_str(), cell.as_str()]),
            }
        }
        line.truncate(line.trim_end().len());
        line
    }

    fn width(&self, place: usize) -> usize {
        let heading = self.columns.get(place).map_or("", |(name, _)| name);
        let cells = self
            .rows
            .iter()
            .filter_map(|row| row.get(place).map(String::as_str));
        cells
            .chain([heading])
            .map(|cell| cell.chars().count())
            .max()
            .map_or(0, |widest| widest.min(WIDTH_MAX))
    }
}

/// `text` without anything that a terminal would act on: topics and payloads come from strangers.
pub(in crate::cli) fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let mut table = Table::new(&["NAME", ">EVENTS"]);
        table.row(["floor".into(), "1".into()]);
        table.row(["ä".into(), "12345678".into()]);
        let mut output = Vec::new();
        table
            .write(&mut output, false)
            .expect("a vector takes everything");
        let expected = "NAME     EVENTS\nfloor         1\nä      12345678\n";
        assert_eq!(String::from_utf8_lossy(&output), expected);
    }

    #[test]
    fn a_long_cell_widens_no_other_row() {
        for chars in [WIDTH_MAX, WIDTH_MAX + 1, 65_535] {
            let mut table = Table::new(&["TOPIC", ">BYTES", "REASON"]);
            table.row(["t".into(), "1".into(), "short".into()]);
            table.row(["x".repeat(chars), "2".into(), "r".repeat(chars)]);
            let mut output = Vec::new();
            table.write(&mut output, false).expect("room");
            let text = String::from_utf8_lossy(&output);
            let widths: Vec<usize> = text.lines().map(|line| line.chars().count()).collect();
            assert!(widths[0] < 100 && widths[1] < 100, "{chars}: {widths:?}");
            assert!(text.contains(&"x".repeat(chars)), "{chars}: all of it");
        }
    }

    #[test]
    fn a_topic_cannot_write_to_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
