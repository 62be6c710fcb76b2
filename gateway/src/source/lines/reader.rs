//! Reads lines from the port and hands them on, batch by batch.
//!
//! A line has no acknowledgement, so there is nobody to send it again. The source holds each
//! batch of lines until it is durable and reads on only then; while the store refuses, the
//! lines wait here and the port's own buffer fills.

use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use tidegate_rules::event::Event;
use tokio::io::{AsyncRead, AsyncReadExt};
use tokio::sync::watch;

use super::config::Lines;
use super::payload::LineReader;
use super::splitter::{SplitLine, Splitter};
use crate::event::ack::Verdict;
use crate::event::arrival::Identity;
use crate::event::inlet::{Closed, Inlet};
use crate::observe::Observe;
use crate::observe::source::SourceMetrics;
use crate::observe::source::lines::Refusal;
use crate::source::port_budget::{PortBudget, ReadWork};
use crate::source::serial_port::{Openings, SerialPort};
use crate::time::clock::{self, Now};
use crate::time::shutdown::stopped;

/// The pause before refused lines are offered again.
const REFUSED_PAUSE: Duration = Duration::from_millis(500);
/// How often a silent port's budget is looked at.
const LOOK: Duration = Duration::from_secs(1);
/// Bytes read at once.
const READ_BYTES: usize = 4096;

/// A `lines` source.
pub(super) struct LinesSource {
    config: Lines,
    reader: LineReader,
    port: SerialPort,
    inlet: Inlet,
    metrics: SourceMetrics,
    template: Event,
}

impl LinesSource {
    /// A source that will read `config.port`.
    pub(super) fn new(
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
            settings: config.settings,
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
            reader: LineReader::new(&config),
            config,
            port,
            inlet,
            metrics,
            template,
        }
    }

    /// Reads until shutdown.
    ///
    /// # Errors
    /// [`Closed`] when the intake is gone.
    pub(super) async fn run(mut self, mut shutdown: watch::Receiver<bool>) -> Result<(), Closed> {
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
            let began = clock::now();
            let (mut events, mut all) = (Vec::new(), 0);
            splitter.push(&buffer[..count], |line| {
                all += 1;
                events.extend(self.event(line, began));
            });
            self.metrics.line_goes_on(splitter.unended());
            let now = clock::monotonic();
            let read = ReadWork {
                took: now.saturating_duration_since(began.instant),
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

    fn event(&mut self, line: SplitLine<'_>, now: Now) -> Option<Event> {
        let (bytes, made) = match line {
            SplitLine::Line(line) => (line, self.reader.payload(line)),
            SplitLine::TooLong(begin) => {
                let most = self.config.line_bytes_max;
                let why = format!("it has no end (CR or LF) within max_line = {most} bytes");
                (begin, Err(Refusal::from(why)))
            }
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
            Err(refusal) => {
                let told = self.metrics.line_refused(&refusal, bytes, now);
                let budget = &self.port.budget;
                budget.emit(&told, refusal.why.len(), now.instant);
                None
            }
        }
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
