//! The cells of a CSV line, and the JSON object that they become.
//!
//! Nothing is changed on the way. A cell in quotes is the text between them. Another one is null where it is empty, a
//! number where it is written as JSON writes that number, and else text; blanks around it belong to what separates it.
//! Where its column has a type, it is read as that, or the line is refused.

use csv_core::{ReadFieldResult, Reader, ReaderBuilder};

use super::config::column::{Column, ColumnType};
use super::config::{CsvFormat, Decimal};
use super::number;

/// Reads lines of one form.
pub(super) struct CsvReader {
    columns: Vec<Column>,
    /// The names as JSON.
    names: Vec<String>,
    delimiter: u8,
    decimal: Decimal,
    reader: Reader,
    /// What the cell at hand says, without its quotes.
    unquoted: Vec<u8>,
    /// Quotes were not closed in a line, and none came since.
    is_open: bool,
}

/// A cell.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Cell<'a> {
    Quoted(&'a str),
    Plain(&'a str),
}

impl CsvReader {
    /// A reader for lines of this form.
    pub(super) fn new(format: &CsvFormat) -> CsvReader {
        let columns = format.columns.clone();
        CsvReader {
            names: columns.iter().map(|column| json(&column.name)).collect(),
            columns,
            delimiter: format.delimiter,
            decimal: format.decimal,
            reader: ReaderBuilder::new().delimiter(format.delimiter).build(),
            unquoted: Vec::new(),
            is_open: false,
        }
    }

    /// The object of a line, its members in the order of the columns.
    ///
    /// # Errors
    /// What is wrong with the line, in words.
    pub(super) fn object(&mut self, line: &str) -> Result<String, String> {
        let quotes = line.matches('"').count();
        let read = self.cells(line);
        // A line is a reading; the rest of a cell that has an end of line in it must not pass for one.
        if self.is_open && quotes % 2 == 1 && read.is_ok() {
            self.is_open = false;
            return Err(
                "it closes the quotes of a line before, and a cell ends with its line".into(),
            );
        }
        self.is_open &= quotes == 0;
        self.is_open |= read.as_ref().is_err_and(|why| why.starts_with(NOT_CLOSED));
        read
    }

    fn cells(&mut self, line: &str) -> Result<String, String> {
        let line = line.strip_prefix('\u{feff}').unwrap_or(line);
        self.reader.reset();
        // A cell is never longer than what is written of it.
        self.unquoted.resize(line.len() + 1, 0);
        let mut object = String::with_capacity(2 * line.len() + 2);
        let (mut at, mut count, mut wrong) = (0, 0, None);
        while at <= line.len() {
            let (reader, unquoted) = (&mut self.reader, &mut self.unquoted);
            let (cell, next) = next_cell(reader, unquoted, self.delimiter, line, at)
                .map_err(|why| format!("{why} of column {}", count + 1))?;
            if let (Some(column), Some(name)) = (self.columns.get(count), self.names.get(count)) {
                object.push(if count == 0 { '{' } else { ',' });
                object.push_str(name);
                object.push(':');
                match value(cell, column.kind, self.decimal) {
                    Ok(value) => object.push_str(&value),
                    Err(why) => wrong = wrong.or(Some(format!("column `{}` {why}", column.name))),
                }
            }
            (at, count) = (next, count + 1);
        }
        object.push('}');
        if count != self.columns.len() {
            let found = match count {
                1 => "1 column".to_owned(),
                count => format!("{count} columns"),
            };
            let wanted = self.columns.len();
            return Err(format!("it has {found}, the configuration names {wanted}"));
        }
        wrong.map_or(Ok(object), Err)
    }
}

/// The cell that begins at `start`, and where the next one does: behind the line where there is none.
fn next_cell<'a>(
    reader: &mut Reader,
    unquoted: &'a mut [u8],
    delimiter: u8,
    line: &'a str,
    start: usize,
) -> Result<(Cell<'a>, usize), &'static str> {
    let is_blank = |c: char| matches!(c, ' ' | '\t') && u8::try_from(c) != Ok(delimiter);
    let trimmed = line[start..].trim_start_matches(is_blank);
    let is_quoted = trimmed.starts_with('"');
    let start = if is_quoted {
        line.len() - trimmed.len()
    } else {
        start
    };
    let rest = &line.as_bytes()[start..];
    let (result, mut read, mut written) = reader.read_field(rest, unquoted);
    let mut end = start + read.saturating_sub(1);
    if rest.is_empty() || !matches!(result, ReadFieldResult::Field { .. }) {
        // What is left of the line is its last cell, and no more bytes tell so.
        let (_, _, more) = reader.read_field(&[], &mut unquoted[written..]);
        (read, written, end) = (line.len() + 1 - start, written + more, line.len());
    }
    let (cell, next) = (&line[start..end], start + read);
    if !is_quoted {
        return Ok((Cell::Plain(cell.trim_matches(is_blank)), next));
    }
    let quoted = cell.trim_end_matches(is_blank);
    let length = written.saturating_sub(cell.len() - quoted.len());
    let text = std::str::from_utf8(&unquoted[..length]).map_err(|_| NOT_CLOSED)?;
    let inside = quoted
        .strip_prefix('"')
        .and_then(|rest| rest.strip_suffix('"'));
    // A reader of CSV takes any text; it is what was meant only where it is written like that.
    if inside.is_none_or(|inside| inside != text.replace('"', "\"\"")) {
        let is_open = cell.matches('"').count() % 2 == 1;
        return Err(if is_open { NOT_CLOSED } else { TEXT_BEHIND });
    }
    Ok((Cell::Quoted(text), next))
}

const NOT_CLOSED: &str = "a quote is missing at the end";
const TEXT_BEHIND: &str = "there is text behind the quotes";

/// The JSON of a cell.
fn value(cell: Cell<'_>, kind: ColumnType, decimal: Decimal) -> Result<String, String> {
    let text = match cell {
        Cell::Plain("") => return Ok("null".into()),
        Cell::Plain(text) if kind == ColumnType::Any && number::is_plain(text) => {
            return Ok(text.into());
        }
        Cell::Plain(text) | Cell::Quoted(text) => text,
    };
    let no = |what: &str| format!("is no {what}");
    match kind {
        ColumnType::Any | ColumnType::Text => Ok(json(text)),
        ColumnType::Int => number::int(text).ok_or_else(|| no("whole number of 64 bits")),
        ColumnType::Float => number::float(text, decimal).ok_or_else(|| match decimal {
            Decimal::Point => no("number"),
            Decimal::Comma => no("number with a decimal comma"),
        }),
        ColumnType::Bool => match text {
            "1" => Ok("true".into()),
            "0" => Ok("false".into()),
            _ if text.eq_ignore_ascii_case("true") => Ok("true".into()),
            _ if text.eq_ignore_ascii_case("false") => Ok("false".into()),
            _ => Err(no("truth value: true, false, 1 or 0")),
        },
    }
}

fn json(text: &str) -> String {
    serde_json::Value::from(text).to_string()
}

#[cfg(test)]
mod tests;
