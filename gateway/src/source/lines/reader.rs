//! Reads lines from the port and hands them on, batch by batch.
//!
//! A line has no acknowledgement, so there is nobody to send it again. The source holds each
//! batch of lines until it is durable and reads on only then; while the store refuses, the
//! lines wait here and the port's own buffer fills.

use std::sync::Arc;
use std::time::{Duration, Instant};

use bytes::Bytes;
use tidegate_rules::event::Event;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

use super::config::{LineFormat, Lines};
use super::splitter::{SplitLine, Splitter};
use crate::event::ack::Verdict;
use crate::event::arrival::Identity;
use crate::event::inlet::{Closed, Inlet};
use crate::observe::Observe;
use crate::observe::source::SourceMetrics;
use crate::observe::source::port::LineRefused;
use crate::source::port_budget::{PortBudget, ReadWork};
use crate::source::serial_port::{Openings, SerialPort};
use crate::time::clock;
use crate::time::shutdown::stopped;

/// The pause before refused lines are offered again.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);
/// How often a silent port's budget is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes read at once.
const READ_BYTES: usize = 4096;

/// The payload and content type of a line.
///
/// # Errors
/// What is wrong with the line, in words.
pub fn payload(format: &LineFormat, line: &[u8]) -> Result<(Bytes, &'static str), String> {
    let text = std::str::from_utf8(line).map_err(|_| "it is not UTF-8".to_owned())?;
    match format {
        LineFormat::Text => Ok((Bytes::copy_from_slice(line), "text/plain")),
        LineFormat::Json => {
            serde_json::from_str::<serde::de::IgnoredAny>(text)
                .map_err(|error| format!("it is not JSON: {error}"))?;
            Ok((Bytes::copy_from_slice(line), "application/json"))
        }
        LineFormat::Csv { columns, delimiter } => {
            let cells: Vec<&str> = text.split(*delimiter).map(str::trim).collect();
            if cells.len() != columns.len() {
                let found = match cells.len() {
                    1 => "1 column".to_owned(),
                    count => format!("{count} columns"),
                };
                let wanted = columns.len();
                return Err(format!("it has {found}, the configuration names {wanted}"));
            }
            let object: serde_json::Map<_, _> = columns
                .iter()
                .zip(cells)
                .map(|(name, cell)| (name.clone(), value(cell)))
                .collect();
            let json = serde_json::Value::Object(object).to_string();
            Ok((json.into(), "application/json"))
        }
    }
}

/// A cell: a number where it reads as one, null where it is empty, else text.
fn value(cell: &str) -> serde_json::Value {
    if cell.is_empty() {
        return serde_json::Value::Null;
    }
    if let Ok(number) = cell.parse::<i64>() {
        return number.into();
    }
    match cell.parse::<f64>() {
        Ok(number) if number.is_finite() => number.into(),
        _ => cell.into(),
    }
}

/// A `lines` source.
pub struct LinesSource {
    config: Lines,
    port: SerialPort,
    inlet: Inlet,
    metrics: SourceMetrics,
    template: Event,
    refused: u64,
}

impl LinesSource {
    /// A source that will read `config.port`.
    pub fn new(
        config: Lines,
        name: &str,
        gateway_id: &str,
        inlet: Inlet,
        observe: Arc<Observe>,
        metrics: SourceMetrics,
    ) -> LinesSource {
        let port = SerialPort {
            source: name.into(),
            wanted: config.port.clone(),
            baud: config.baud,
            reopen_max: config.reopen_max,
            budget: Arc::new(PortBudget::new(
                name,
                observe,
                metrics.clone(),
                clock::monotonic(),
            )),
            metrics: metrics.clone(),
            last: Openings::default(),
        };
        let template = Event {
            id: "".into(),
            source: format!("{gateway_id}/{name}").into(),
            kind: "reading".into(),
            subject: None,
            topic: config.topic.as_str().into(),
            publisher: name.into(),
            time: None,
            received: 0,
            content_type: None,
            schema: None,
            extensions: Vec::new(),
            data: Bytes::new(),
            ..Event::default()
        };
        LinesSource {
            config,
            port,
            inlet,
            metrics,
            template,
            refused: 0,
        }
    }

    /// Reads until shutdown.
    ///
    /// # Errors
    /// [`Closed`] when the intake is gone.
    pub async fn run(mut self, mut shutdown: watch::Receiver<bool>) -> Result<(), Closed> {
        while let Some(mut stream) = self.port.open(&mut shutdown).await {
            let why = tokio::select! {
                () = stopped(&mut shutdown) => return Ok(()),
                ended = self.read(&mut stream) => ended?,
            };
            drop(stream);
            self.port.lost(&why);
        }
        Ok(())
    }

    /// Reads one opened port to its end and tells how the end showed.
    async fn read(&mut self, stream: &mut (impl AsyncRead + Unpin)) -> Result<String, Closed> {
        let mut splitter = Splitter::new(self.config.line_bytes_max);
        let mut buffer = [0; READ_BYTES];
        loop {
            let read = tokio::select! {
                read = stream.read(&mut buffer) => read,
                () = tokio::time::sleep(LOOK) => {
                    self.port.budget.look(clock::monotonic());
                    continue;
                }
            };
            let count = match read {
                Ok(0) => return Ok("the line hung up".into()),
                Ok(count) => count,
                Err(error) => return Ok(error.to_string()),
            };
            let began = clock::monotonic();
            let (mut events, mut all) = (Vec::new(), 0);
            splitter.push(&buffer[..count], |line| {
                all += 1;
                events.extend(self.event(line, began));
            });
            let now = clock::monotonic();
            let read = ReadWork {
                took: now.saturating_duration_since(began),
                bytes: count,
                useful: events.len(),
                all,
            };
            let budget = &self.port.budget;
            let read_from = budget.worked(&read, self.config.line_bytes_max + 2, now);
            budget.look(now);
            self.store(events).await?;
            if read_from > now {
                tokio::time::sleep(read_from.saturating_duration_since(now)).await;
            }
        }
    }

    fn event(&mut self, line: SplitLine, now: Instant) -> Option<Event> {
        let made = match &line {
            SplitLine::Line(line) => payload(&self.config.format, line),
            SplitLine::TooLong => Err(format!(
                "it is longer than max_line = {} bytes",
                self.config.line_bytes_max
            )),
        };
        match made {
            Ok((data, content_type)) => {
                self.metrics.readable();
                Some(Event {
                    content_type: Some(content_type.into()),
                    data,
                    ..self.template.clone()
                })
            }
            Err(why) => {
                self.refuse(&why, now);
                None
            }
        }
    }

    fn refuse(&mut self, why: &str, now: Instant) {
        self.refused += 1;
        self.metrics.malformed("line");
        self.metrics.unreadable(why);
        let refused = LineRefused {
            source: &self.port.source,
            why,
            so_far: self.refused,
        };
        self.port.budget.emit(&refused, why.len(), now);
    }

    /// Offers events until every one is durable.
    async fn store(&self, events: Vec<Event>) -> Result<(), Closed> {
        let mut waiting: Vec<Option<Event>> = events.into_iter().map(Some).collect();
        while waiting.iter().any(Option::is_some) {
            if self.offer_once(&mut waiting).await? {
                tokio::time::sleep(REFUSED_PAUSE).await;
            }
        }
        Ok(())
    }

    /// Offers what waits, in order, and takes away what became durable. Tells whether anything
    /// was refused.
    async fn offer_once(&self, waiting: &mut [Option<Event>]) -> Result<bool, Closed> {
        let offered = waiting.iter().flatten();
        let offered = offered
            .map(|event| (event.clone(), Identity::None))
            .collect();
        let verdicts = self.inlet.settle(offered).await?;
        let mut refused = false;
        let places = waiting.iter_mut().filter(|place| place.is_some());
        for (place, verdict) in places.zip(verdicts) {
            match verdict {
                Verdict::Stored => self.stored(place.take()),
                Verdict::Refused(_) => refused = true,
            }
        }
        Ok(refused)
    }

    fn stored(&self, event: Option<Event>) {
        if let Some(event) = event {
            self.metrics.accepted(event.data.len());
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(format: &LineFormat, line: &str, expected: Result<&str, &str>) {
        let found = payload(format, line.as_bytes());
        match (found, expected) {
            (Ok((data, _)), Ok(expected)) => assert_eq!(data, expected.as_bytes(), "{line}"),
            (Err(why), Err(part)) => assert!(why.contains(part), "{line}: {why}"),
            (found, expected) => panic!("{line}: {found:?} instead of {expected:?}"),
        }
    }

    #[test]
    fn each_format_reads_its_lines_and_says_what_is_wrong_with_others() {
        let csv = LineFormat::Csv {
            columns: vec!["time".into(), "temperature".into(), "state".into()],
            delimiter: ';',
        };
        check(
            &csv,
            "12; 21.5 ;ok",
            Ok(r#"{"state":"ok","temperature":21.5,"time":12}"#),
        );
        check(
            &csv,
            "12;;nan",
            Ok(r#"{"state":"nan","temperature":null,"time":12}"#),
        );
        check(
            &csv,
            "12;21.5",
            Err("it has 2 columns, the configuration names 3"),
        );
        check(&LineFormat::Json, r#"{"t": 1}"#, Ok(r#"{"t": 1}"#));
        check(&LineFormat::Json, r#"{"t": 1"#, Err("it is not JSON"));
        check(&LineFormat::Text, "hello", Ok("hello"));
        let noise = payload(&LineFormat::Text, &[0xff, 0xfe]);
        assert_eq!(noise, Err("it is not UTF-8".into()));
    }
}
