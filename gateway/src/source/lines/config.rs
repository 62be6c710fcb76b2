//! `type = "lines"` of `[sources.NAME]`.

pub mod column;
mod encoding;

use std::time::Duration;

use tidegate_rules::topic::is_valid_topic_name;

use crate::config::connection::port::{self, PORT};
use crate::config::key::{
    Choice, Count, MemorySize, OneOf, Rows, Text, Texts, count, keys, memory_size, one_of, text,
    texts,
};
use crate::config::kinds::{Claim, Entry, Feature, KeyGroup, Kind};
use crate::config::section::Section;
use crate::config::{PortMatch, PortSettings};
use column::{Column, ColumnType};

keys! {
    /// Keys of a source of text lines.
    KEYS: LinesKeys {
        format: Option<OneOf<Form>> = one_of().required("what a line is"),
        columns: Option<Texts> = texts().optional("refused for `csv`", "names of the columns, in order, each with its type where it has one: `\"t float\"`"),
        delimiter: Option<Text> = text().optional("`\",\"`", "character between columns"),
        decimal: Option<OneOf<Decimal>> = one_of().optional("`\".\"`", "what stands before the fraction in columns of the type `float`"),
        encoding: Option<Text> = text().optional("`\"utf-8\"`", "how characters are written, by its name in the WHATWG Encoding Standard, such as `windows-1252`"),
        data_bits: Count<u8> = count(5, 8).default("8", "bits of a character"),
        topic: Option<Text> = text().optional("the source's name", "topic of every line"),
        max_line: MemorySize = memory_size("1B", "1MiB").default("4096B", "longest line; a longer one is refused"),
    }
}

/// What `format` says; the columns of CSV stand in keys of their own.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Form {
    Json,
    Csv,
    Text,
}

impl Choice for Form {
    const CHOICES: &'static [(&'static str, Form)] = &[
        ("json", Form::Json),
        ("csv", Form::Csv),
        ("text", Form::Text),
    ];
}

/// `decimal`
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Decimal {
    /// `21.5`
    Point,
    /// `21,5`
    Comma,
}

impl Choice for Decimal {
    const CHOICES: &'static [(&'static str, Decimal)] =
        &[(".", Decimal::Point), (",", Decimal::Comma)];
}

impl Decimal {
    /// As it is written.
    pub fn sign(self) -> char {
        match self {
            Decimal::Point => '.',
            Decimal::Comma => ',',
        }
    }
}

/// How lines are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineFormat {
    /// `format = "json"`: one JSON document a line.
    Json,
    /// `format = "csv"`
    Csv(CsvFormat),
    /// `format = "text"`: the line as it is.
    Text,
}

/// What the cells of a line are.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct CsvFormat {
    /// `columns`, in order.
    pub columns: Vec<Column>,
    /// `delimiter` (","), an ASCII character.
    pub delimiter: u8,
    /// `decimal` (".")
    pub decimal: Decimal,
}

/// Text lines over a serial port.
#[derive(Debug, Clone, PartialEq)]
pub struct Lines {
    /// Which port.
    pub port: PortMatch,
    /// How characters come over it.
    pub settings: PortSettings,
    /// `encoding` (UTF-8): how they are written.
    pub encoding: &'static encoding_rs::Encoding,
    /// `format`
    pub format: LineFormat,
    /// `topic` (the source's name)
    pub topic: String,
    /// `max_line` (4096 bytes)
    pub line_bytes_max: usize,
    /// `reopen_max` (5s): the longest pause between attempts to open the port again.
    pub reopen_max: Duration,
}

impl Kind for Lines {
    const NAME: &'static str = "lines";
    const KEYS: Rows = LinesKeys::ROWS;
    const SHARED: &'static [KeyGroup] = port::GROUPS;
    const TABLES: &'static [KeyGroup] = port::TABLES;
    const FEATURE: Option<Feature> = Some(port::FEATURE);

    fn read(section: &Section<'_>, entry: &Entry<'_>) -> Option<Lines> {
        let port = PortMatch::read(section);
        let format = line_format(section);
        let topic = section.read(&KEYS.topic);
        if let Some(topic) = topic
            .as_ref()
            .filter(|topic| !is_valid_topic_name(&topic.value))
        {
            let message = format!("`{}` is no topic to publish under", topic.value);
            let note = "a topic is not empty and has no wildcards `+` and `#`";
            let error = section.error(&KEYS.topic, message);
            section.context.report(error.with_note(note));
        }
        let settings = PortSettings {
            data_bits: section.read(&KEYS.data_bits),
            ..PortSettings::read(section)
        };
        let encoding = encoding::of_section(section, &KEYS.encoding);
        let line_bytes_max = section.read(&KEYS.max_line);
        let reopen_max = section.read(&PORT.reopen_max);
        Some(Lines {
            port: port?,
            settings,
            encoding: encoding?,
            format: format?,
            topic: topic.map_or_else(|| entry.name.to_owned(), |found| found.value),
            line_bytes_max,
            reopen_max,
        })
    }

    fn claim(&self) -> Option<Claim<'_>> {
        self.port.claim()
    }
}

fn line_format(section: &Section<'_>) -> Option<LineFormat> {
    // A format that is missing or wrong is reported; the other keys are looked at all the same.
    let form = section.read(&KEYS.format).unwrap_or(Form::Json);
    if form != Form::Csv {
        for key in [KEYS.columns.any(), KEYS.delimiter.any(), KEYS.decimal.any()] {
            if section.has(key) {
                let message = format!("`{}` goes with format = \"csv\" only", key.name);
                section.report(key, message);
            }
        }
    }
    match form {
        Form::Json => Some(LineFormat::Json),
        Form::Text => Some(LineFormat::Text),
        Form::Csv => csv(section).map(LineFormat::Csv),
    }
}

fn csv(section: &Section<'_>) -> Option<CsvFormat> {
    let columns = columns(section);
    let delimiter = delimiter(section);
    let decimal = section.read(&KEYS.decimal).unwrap_or(Decimal::Point);
    let is_float = |column: &Column| column.kind == ColumnType::Float;
    if section.has(KEYS.decimal.any()) && !columns.iter().any(is_float) {
        let message = "`decimal` is for columns of the type `float`, and there are none";
        let error = section.error(&KEYS.decimal, message);
        let label = "name the type behind the column: columns = [\"t float\"]";
        section.context.report(error.with_label(label));
    }
    if decimal == Decimal::Comma && delimiter == Some(b',') {
        let message = "the comma ends a column, so that a number with one needs quotes around it";
        let warning = section.warning(&KEYS.decimal, message);
        let label = "set delimiter = \";\" if the lines have that";
        section.context.report(warning.with_label(label));
    }
    Some(CsvFormat {
        columns,
        delimiter: delimiter?,
        decimal,
    })
}

fn columns(section: &Section<'_>) -> Vec<Column> {
    let written = section.read(&KEYS.columns);
    if written.is_empty() {
        let message = "csv lines need the names of their columns";
        let error = section.error(&KEYS.format, message);
        let label = "add columns = [\"time\", \"temperature\"]";
        section.context.report(error.with_label(label));
    }
    let mut columns: Vec<Column> = Vec::new();
    for found in written {
        let column = Column::read(&found.value).and_then(|column| {
            let is_twice = columns.iter().any(|other| other.name == column.name);
            match is_twice {
                true => Err(format!("there are two columns `{}`", column.name)),
                false => Ok(column),
            }
        });
        match column {
            Ok(column) => columns.push(column),
            Err(why) => section
                .context
                .report(section.context.error(found.span, why)),
        }
    }
    columns
}

fn delimiter(section: &Section<'_>) -> Option<u8> {
    let written = section.read(&KEYS.delimiter);
    let delimiter = written.map_or_else(|| ",".to_owned(), |found| found.value);
    match delimiter.as_bytes() {
        [b'"' | b'\r' | b'\n' | 0] => {
            let message = "quotes, line ends and NUL cannot stand between columns";
            section.report(&KEYS.delimiter, message);
            None
        }
        [delimiter] => Some(*delimiter),
        _ => {
            section.report(&KEYS.delimiter, "`delimiter` takes one ASCII character");
            None
        }
    }
}
