//! `type = "lines"` of `[sources.NAME]`.

use std::time::Duration;

use tidegate_rules::topic::is_valid_topic_name;

use crate::config::PortMatch;
use crate::config::connection::port::{self, PORT};
use crate::config::key::{
    Choice, MemorySize, OneOf, Rows, Text, Texts, keys, memory_size, one_of, text, texts,
};
use crate::config::kinds::{Claim, Entry, Feature, KeyGroup, Kind};
use crate::config::section::Section;

keys! {
    /// Keys of a source of text lines.
    KEYS: LinesKeys {
        format: Option<OneOf<Form>> = one_of().required("what a line is"),
        columns: Option<Texts> = texts().optional("refused for `csv`", "names of the columns, in order"),
        delimiter: Option<Text> = text().optional("`\",\"`", "character between columns"),
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

/// How lines are read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum LineFormat {
    /// `format = "json"`: one JSON document a line.
    Json,
    /// `format = "csv"` with `columns = ["time", "temperature"]`
    Csv {
        /// Names of the columns, in order.
        columns: Vec<String>,
        /// `delimiter` (",")
        delimiter: char,
    },
    /// `format = "text"`: the line as it is.
    Text,
}

/// Text lines over a serial port.
#[derive(Debug, Clone, PartialEq)]
pub struct Lines {
    /// Which port.
    pub port: PortMatch,
    /// `baud` (115200)
    pub baud: u32,
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
        let baud = section.read(&PORT.baud);
        let line_bytes_max = section.read(&KEYS.max_line);
        let reopen_max = section.read(&PORT.reopen_max);
        Some(Lines {
            port: port?,
            baud,
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
    let columns = section.read(&KEYS.columns);
    let delimiter = section.read(&KEYS.delimiter);
    if form != Form::Csv {
        for key in [KEYS.columns.any(), KEYS.delimiter.any()] {
            if section.has(key) {
                let message = format!("`{}` goes with format = \"csv\" only", key.name);
                section.report(key, message);
            }
        }
    }
    match form {
        Form::Json => Some(LineFormat::Json),
        Form::Text => Some(LineFormat::Text),
        Form::Csv => {
            if columns.is_empty() {
                let message = "csv lines need the names of their columns";
                let error = section.error(&KEYS.format, message);
                let label = "add columns = [\"time\", \"temperature\"]";
                section.context.report(error.with_label(label));
            }
            for (place, column) in columns.iter().enumerate() {
                let earlier = &columns[..place];
                if earlier.iter().any(|other| other.value == column.value) {
                    let message = format!("there are two columns `{}`", column.value);
                    let error = section.context.error(column.span.clone(), message);
                    section.context.report(error);
                }
            }
            let delimiter = delimiter.map_or_else(|| ",".to_owned(), |found| found.value);
            let mut characters = delimiter.chars();
            let (Some(delimiter), None) = (characters.next(), characters.next()) else {
                section.report(&KEYS.delimiter, "`delimiter` takes one character");
                return None;
            };
            Some(LineFormat::Csv {
                columns: columns.into_iter().map(|found| found.value).collect(),
                delimiter,
            })
        }
    }
}
