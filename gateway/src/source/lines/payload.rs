//! From a line to the payload of an event.

use bytes::Bytes;
use encoding_rs::Encoding;

use super::config::{LineFormat, Lines};
use super::csv::CsvReader;
use super::text::{decode, refuse_noise};
use crate::observe::source::lines::Refusal;

/// Reads the lines of one source.
pub(super) struct LineReader {
    encoding: &'static Encoding,
    form: Form,
}

enum Form {
    Json,
    Csv(Box<CsvReader>),
    Text,
}

impl LineReader {
    /// A reader for lines as they are configured.
    pub(super) fn new(config: &Lines) -> LineReader {
        let form = match &config.format {
            LineFormat::Json => Form::Json,
            LineFormat::Text => Form::Text,
            LineFormat::Csv(format) => Form::Csv(Box::new(CsvReader::new(format))),
        };
        LineReader {
            encoding: config.encoding,
            form,
        }
    }

    /// The payload and content type of a line.
    ///
    /// # Errors
    /// What is wrong with the line.
    pub(super) fn payload(&mut self, line: &[u8]) -> Result<(Bytes, &'static str), Refusal> {
        let text = decode(self.encoding, line)?;
        match &mut self.form {
            Form::Text => {
                refuse_noise(&text)?;
                Ok((Bytes::from(text.into_owned()), "text/plain"))
            }
            Form::Json => {
                let read = serde_json::from_str::<serde::de::IgnoredAny>(&text);
                read.map_err(|error| not_json(&text, &error))?;
                Ok((Bytes::from(text.into_owned()), "application/json"))
            }
            Form::Csv(reader) => {
                refuse_noise(&text)?;
                Ok((reader.object(&text)?.into(), "application/json"))
            }
        }
    }
}

/// What is wrong with a line that is no JSON.
fn not_json(text: &str, error: &serde_json::Error) -> Refusal {
    if let Err(noise) = refuse_noise(text) {
        return noise;
    }
    let why = error.to_string();
    let place = format!(" at line {} column {}", error.line(), error.column());
    let why = why.strip_suffix(&place).unwrap_or(&why);
    let before = text.floor_char_boundary(error.column().saturating_sub(1));
    Refusal::behind(&text[..before], format!("it is not JSON: {why}"))
}

#[cfg(test)]
mod tests {
    use std::path::PathBuf;

    use super::*;
    use crate::config::{PortMatch, PortSettings};

    type Case = (
        LineFormat,
        &'static str,
        &'static [u8],
        Result<&'static str, &'static str>,
    );

    const CASES: &[Case] = &[
        (LineFormat::Json, "utf-8", br#"{"t": 1}"#, Ok(r#"{"t": 1}"#)),
        (
            LineFormat::Json,
            "utf-8",
            br#" {"b":1e400,"a":1.10,"a":12345678901234567890123} "#,
            Ok(r#" {"b":1e400,"a":1.10,"a":12345678901234567890123} "#),
        ),
        (LineFormat::Json, "utf-8", b"12E4", Ok("12E4")),
        (LineFormat::Json, "utf-8", b"\"007\"", Ok("\"007\"")),
        (
            LineFormat::Json,
            "windows-1252",
            b"[\"\xb0C\"]",
            Ok("[\"\u{b0}C\"]"),
        ),
        (
            LineFormat::Json,
            "utf-8",
            br#"{"t": 1"#,
            Err("it is not JSON: EOF while parsing an object at character 7"),
        ),
        (
            LineFormat::Json,
            "utf-8",
            b"hello",
            Err("it is not JSON: expected value at character 1"),
        ),
        (
            LineFormat::Json,
            "utf-8",
            b"007",
            Err("it is not JSON: invalid number at character 2"),
        ),
        (
            LineFormat::Json,
            "utf-8",
            b"{\"t\":1}\0",
            Err("it holds a NUL at character 8"),
        ),
        (
            LineFormat::Json,
            "utf-8",
            b"{\"t\":1}{\"t\":2}",
            Err("it is not JSON: trailing characters at character 8"),
        ),
        (
            LineFormat::Text,
            "utf-8",
            b"  hello, \"you\" ",
            Ok("  hello, \"you\" "),
        ),
        (LineFormat::Text, "utf-8", b"007", Ok("007")),
        (
            LineFormat::Text,
            "windows-1252",
            b"21.5 \xb0C",
            Ok("21.5 \u{b0}C"),
        ),
        (
            LineFormat::Text,
            "utf-8",
            b"21.5 \xb0C",
            Err("it is not UTF-8 at character 6"),
        ),
        (
            LineFormat::Text,
            "utf-8",
            b"\0\0",
            Err("it holds a NUL at character 1"),
        ),
    ];

    #[test]
    fn json_and_text_stay_what_they_are_and_what_is_none_is_refused() {
        for (format, label, line, expected) in CASES {
            let mut reader = LineReader::new(&Lines {
                port: PortMatch::Path(PathBuf::new()),
                settings: PortSettings::default(),
                encoding: Encoding::for_label(label.as_bytes()).expect("known"),
                format: format.clone(),
                topic: "t".into(),
                line_bytes_max: 80,
                reopen_max: std::time::Duration::ZERO,
            });
            let found = reader.payload(line);
            let found = found
                .map(|(data, _)| String::from_utf8_lossy(&data).into_owned())
                .map_err(|refusal| refusal.to_string());
            let expected = expected.map(str::to_owned).map_err(str::to_owned);
            assert_eq!(found, expected, "{}", line.escape_ascii());
        }
    }
}
