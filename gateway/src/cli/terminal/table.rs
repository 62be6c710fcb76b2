//! Tables for people: columns as wide as they need to be, rows as wide as a terminal, and on lines of their own below a row
//! what is too long for it.

use std::io::{self, IsTerminal, Write};

use unicode_width::UnicodeWidthStr;

/// What every terminal shows, and what a pipe gets.
pub(in crate::cli) const LINE_WIDTH_MIN: usize = 80;
/// A column of words gives way down to this width.
const WORDS_WIDTH_MIN: usize = 8;
/// How far what stands below a row is moved in.
const BELOW: &str = "  ";

/// Characters of a line of standard output.
pub(in crate::cli) fn line_width() -> usize {
    let output = io::stdout();
    let size = match output.is_terminal() {
        true => rustix::termios::tcgetwinsize(&output).ok(),
        false => None,
    };
    size.map_or(LINE_WIDTH_MIN, |size| {
        LINE_WIDTH_MIN.max(usize::from(size.ws_col))
    })
}

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
    rows: Vec<Row>,
}

/// One row, and what is said below it.
struct Row {
    cells: Vec<String>,
    below: Vec<String>,
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
        self.rows.push(Row {
            cells: cells.into_iter().map(|cell| printable(&cell)).collect(),
            below: Vec::new(),
        });
    }

    /// Says something on lines of its own below the last row: what is too long for a column, such as an error.
    pub(in crate::cli) fn below(&mut self, text: &str) {
        if let (Some(row), false) = (self.rows.last_mut(), text.is_empty()) {
            row.below.push(printable(text));
        }
    }

    /// Writes the heading and all rows; the heading is dimmed where `color` says so.
    ///
    /// # Errors
    /// When the output is closed.
    pub(in crate::cli) fn write(&self, output: &mut impl Write, color: bool) -> io::Result<()> {
        self.write_within(output, color, line_width())
    }

    fn write_within(
        &self,
        output: &mut impl Write,
        color: bool,
        line_width: usize,
    ) -> io::Result<()> {
        let headings = self.columns.iter().map(|(name, _)| (*name).to_owned());
        let headings: Vec<String> = headings.collect();
        let widths = self.widths(line_width);
        let heading = self.line(&headings, &widths);
        match color {
            true => writeln!(output, "\x1b[2m{heading}\x1b[0m")?,
            false => writeln!(output, "{heading}")?,
        }
        for row in &self.rows {
            self.write_row(output, row, &widths, line_width)?;
        }
        Ok(())
    }

    /// A cell that is wider than its column stands on lines of its own: that of the first column above the row, others below.
    fn write_row(
        &self,
        output: &mut impl Write,
        row: &Row,
        widths: &[usize],
        line_width: usize,
    ) -> io::Result<()> {
        let mut cells = row.cells.clone();
        let mut below = Vec::new();
        for (place, (cell, width)) in cells.iter_mut().zip(widths).enumerate() {
            if width_of(cell) <= *width {
                continue;
            }
            let long = std::mem::take(cell);
            match place {
                0 => writeln!(output, "{long}")?,
                _ => below.push(format!("{}: {long}", self.columns[place].0.to_lowercase())),
            }
        }
        writeln!(output, "{}", self.line(&cells, widths))?;
        for text in below.iter().chain(&row.below) {
            for line in wrapped(text, line_width.saturating_sub(BELOW.len())) {
                writeln!(output, "{BELOW}{line}")?;
            }
        }
        Ok(())
    }

    fn line(&self, cells: &[String], widths: &[usize]) -> String {
        let mut line = String::new();
        let columns = self.columns.iter().zip(widths);
        for (place, (cell, ((_, align), width))) in cells.iter().zip(columns).enumerate() {
            let padding = " ".repeat(width.saturating_sub(width_of(cell)));
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

    /// As wide as the widest cell; columns of words give way, the widest first, and then those of figures, until a line
    /// holds all.
    fn widths(&self, line_width: usize) -> Vec<usize> {
        let mut widths: Vec<usize> = (0..self.columns.len())
            .map(|place| self.natural_width(place))
            .collect();
        let least = |place: usize| {
            let (heading, align) = self.columns[place];
            match align {
                Align::Left => width_of(heading).max(WORDS_WIDTH_MIN),
                Align::Right => width_of(heading),
            }
        };
        loop {
            let gaps = 2 * widths.len().saturating_sub(1);
            let over = (widths.iter().sum::<usize>() + gaps).saturating_sub(line_width);
            let give_way = (0..widths.len()).filter_map(|place| {
                let is_words = self.columns[place].1 == Align::Left;
                (widths[place] > least(place)).then_some((is_words, widths[place], place))
            });
            match (over, give_way.max()) {
                (1.., Some((_, _, place))) => widths[place] -= 1,
                _ => return widths,
            }
        }
    }

    fn natural_width(&self, place: usize) -> usize {
        let heading = self.columns.get(place).map_or("", |(name, _)| name);
        let cells = self
            .rows
            .iter()
            .filter_map(|row| row.cells.get(place).map(String::as_str));
        let widest = cells.chain([heading]).map(width_of).max();
        // No terminal is wider; what is longer gives way in any case.
        widest.unwrap_or(0).min(usize::from(u16::MAX))
    }
}

/// Columns that a terminal needs for `text`: two for a wide character.
pub(in crate::cli) fn width_of(text: &str) -> usize {
    UnicodeWidthStr::width(text)
}

/// `text` in lines of at most so many columns, cut between words; only a longer word makes a longer line. What follows
/// the first line is moved in.
pub(in crate::cli) fn wrapped(text: &str, width: usize) -> Vec<String> {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        let fits = |line: &String| width_of(line) + 1 + width_of(word) <= width;
        match lines.last_mut() {
            Some(line) if fits(line) => line.extend([" ", word]),
            None => lines.push(word.to_owned()),
            Some(_) => lines.push(format!("{BELOW}{word}")),
        }
    }
    lines
}

/// `text` without anything that a terminal would act on: topics and payloads come from strangers.
pub(in crate::cli) fn printable(text: &str) -> String {
    let shown = |c: char| if c.is_control() { '\u{fffd}' } else { c };
    text.chars().map(shown).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(table: &Table, width: usize) -> String {
        let mut output = Vec::new();
        let done = table.write_within(&mut output, false, width);
        done.expect("a vector takes everything");
        String::from_utf8(output).expect("text")
    }

    #[test]
    fn columns_are_as_wide_as_they_need_to_be() {
        let mut table = Table::new(&["NAME", ">EVENTS"]);
        table.row(["floor".into(), "1".into()]);
        table.row(["ä".into(), "12345678".into()]);
        let expected = "NAME     EVENTS\nfloor         1\nä      12345678\n";
        assert_eq!(written(&table, 80), expected);
    }

    #[test]
    fn a_table_fits_its_line_whatever_its_cells_hold() {
        let words = |count: usize| vec!["word"; count].join(" ");
        for width in [80, 100, 200] {
            for count in [0, 1, 5, 10, 15, 16, 17, 40, 5_000] {
                let mut table = Table::new(&["TOPIC", ">BYTES", "REASON", "FATE"]);
                let short = || "short".to_owned();
                table.row([short(), "1".into(), short(), short()]);
                table.row([short(), "2".into(), words(count), words(count)]);
                table.below(&words(count));
                let text = written(&table, width);
                for line in text.lines() {
                    assert!(line.chars().count() <= width, "{count}, {width}: {line}");
                }
                let all = text.matches("word").count();
                assert_eq!(all, 3 * count, "{width}: all of it is shown\n{text}");
            }
        }
    }

    #[test]
    fn wide_characters_and_large_figures_fit_too() {
        let large = || "1000000000000".to_owned();
        let headings = [
            "OUTPUTS TO",
            ">AT START",
            ">ROUTED",
            ">DELIVERED",
            ">DEAD",
            ">GIVEN UP",
            ">IN FLIGHT",
        ];
        for name in [
            "設備が故障".repeat(6),
            "😀 ".repeat(20),
            "x".repeat(60),
            "ü".repeat(60),
        ] {
            let mut table = Table::new(&headings);
            table.row([
                name.clone(),
                large(),
                large(),
                large(),
                large(),
                large(),
                large(),
            ]);
            table.row([
                "short".into(),
                "1".into(),
                "2".into(),
                "3".into(),
                "4".into(),
                "5".into(),
                "6".into(),
            ]);
            table.below(&"故障しました ".repeat(20));
            let text = written(&table, 80);
            for line in text.lines() {
                assert!(width_of(line) <= 80, "{}: {line}", width_of(line));
            }
            assert_eq!(text.matches(&large()).count(), 6, "{text}");
            assert!(text.contains(name.trim_end()), "{text}");
        }
        // What stands behind a wide name stands where it does behind a narrow one.
        let mut table = Table::new(&["NAME", ">EVENTS"]);
        table.row(["設備".into(), "1".into()]);
        table.row(["oven".into(), "1".into()]);
        assert_eq!(
            written(&table, 80),
            "NAME  EVENTS\n設備       1\noven       1\n"
        );
    }

    #[test]
    fn a_long_name_stands_above_its_row_and_a_long_cell_below() {
        let mut table = Table::new(&["NAME", ">EVENTS", "TOPIC"]);
        table.row(["x".repeat(64), "1".into(), "t".repeat(40)]);
        table.below("it is down");
        let text = written(&table, 80);
        let lines: Vec<&str> = text.lines().collect();
        let topic = format!("  topic: {}", "t".repeat(40));
        assert_eq!(lines.len(), 4 + 1, "{text}");
        assert_eq!(lines[1], "x".repeat(64));
        assert!(lines[2].ends_with('1'), "{text}");
        assert_eq!((lines[3], lines[4]), (&*topic, "  it is down"));
    }

    #[test]
    fn a_topic_cannot_write_to_the_terminal() {
        assert_eq!(printable("a\x1b[2Jb\nc"), "a\u{fffd}[2Jb\u{fffd}c");
    }
}
