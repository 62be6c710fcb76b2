//! A POST as events: which path, which mode of the CloudEvents HTTP binding. Pure.
//!
//! | path | content | events |
//! |---|---|---|
//! | `/events` | `application/cloudevents-batch+json` | a batch |
//! | `/events` | `application/cloudevents+json` | one, structured |
//! | `/events` | anything with `ce-` headers | one, binary |
//! | `/events` | anything else | one, with the body as payload and the source's name as topic |
//! | `/topics/<topic>` | anything | one, with the body as payload; `ce-` headers are read |
//!
//! A CloudEvent's topic is its attribute `topic`; without one it is the source's name.

use bytes::Bytes;
use hyper::HeaderMap;
use hyper::header::CONTENT_TYPE;
use tidegate_rules::event::Event;
use tidegate_rules::topic::is_valid_topic_name;

use crate::event::cloudevents::{Wrong, http, is_without_data, json, within};
use crate::source::id_field;

/// Bytes of a topic, as over MQTT: what came in there and is sent on is taken here.
const TOPIC_BYTES_MAX: usize = 65_535;
/// Levels of a topic: as many as a listener can be told to take.
const TOPIC_LEVELS_MAX: usize = 200;
/// Bytes of a structured event beside its payload.
const ATTRIBUTES_BYTES_MAX: usize = 64 * 1024;
/// Bytes of a batch.
pub(super) const BATCH_BYTES_MAX: usize = 4 * 1024 * 1024;

/// Where a POST goes.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum RequestTarget {
    /// `/events`
    Events,
    /// `/topics/<topic>`
    Topic(String),
}

/// How the events lie in the body.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum ContentMode {
    Batch,
    Structured,
    Binary,
    Raw,
}

/// Head of a POST.
#[derive(Debug, Clone)]
pub(super) struct EventRequest {
    pub(super) target: RequestTarget,
    pub(super) headers: HeaderMap,
}

/// The target of a path; `None` where there is nothing.
pub(super) fn target(path: &str) -> Option<Result<RequestTarget, Wrong>> {
    if path == "/events" {
        return Some(Ok(RequestTarget::Events));
    }
    let topic = path.strip_prefix("/topics/")?;
    let decoded = http::percent_decoded(topic).map(RequestTarget::Topic);
    Some(decoded.ok_or_else(|| Wrong::Bad("the topic in the path is no UTF-8".into())))
}

impl EventRequest {
    fn mode(&self) -> ContentMode {
        let kind = self.headers.get(CONTENT_TYPE);
        let kind = kind.and_then(|kind| kind.to_str().ok()).unwrap_or_default();
        let kind = kind.split(';').next().unwrap_or_default().trim();
        match self.target {
            RequestTarget::Events if kind.eq_ignore_ascii_case(json::BATCH_CONTENT_TYPE) => {
                ContentMode::Batch
            }
            RequestTarget::Events if kind.eq_ignore_ascii_case(json::CONTENT_TYPE) => {
                ContentMode::Structured
            }
            RequestTarget::Events if http::has_attributes(&self.headers) => ContentMode::Binary,
            _ => ContentMode::Raw,
        }
    }

    /// How large the body may be.
    pub(super) fn body_bytes_max(&self, payload_bytes_max: usize) -> usize {
        match self.mode() {
            ContentMode::Batch => BATCH_BYTES_MAX,
            // Base64 takes four bytes for three.
            ContentMode::Structured => payload_bytes_max / 3 * 4 + ATTRIBUTES_BYTES_MAX,
            ContentMode::Binary | ContentMode::Raw => payload_bytes_max,
        }
    }

    /// The events of the body, in order; `template` has what the sender does not say.
    ///
    /// # Errors
    /// What is wrong, and where.
    pub(super) fn events(
        &self,
        body: Bytes,
        template: &Event,
        payload_bytes_max: usize,
    ) -> Result<Vec<Event>, Wrong> {
        let events = match self.mode() {
            ContentMode::Batch => json::read_batch(&body, template, payload_bytes_max)?,
            ContentMode::Structured => vec![json::read_structured(&body, template)?],
            ContentMode::Binary => {
                http::check_complete(&self.headers)?;
                vec![self.with_headers(body, template)?]
            }
            ContentMode::Raw => vec![self.with_headers(body, template)?],
        };
        let several = events.len() > 1;
        let checked = events.into_iter().enumerate().map(|(place, event)| {
            let checked = check_topic(&event.topic).and_then(|()| within(event, payload_bytes_max));
            checked.map_err(|wrong| match several {
                true => wrong.at(&format!("element {place}")),
                false => wrong,
            })
        });
        checked.collect()
    }

    /// Gives an event that came as plain body the id in `field`; a CloudEvent has its own.
    pub(super) fn read_id(&self, events: &mut [Event], field: &str) {
        if self.mode() != ContentMode::Raw {
            return;
        }
        let header = self.headers.get(field).and_then(|id| id.to_str().ok());
        for event in events {
            id_field::read(event, field, header);
        }
    }

    fn with_headers(&self, body: Bytes, template: &Event) -> Result<Event, Wrong> {
        let mut event = template.clone();
        event.data = body;
        http::read_headers(&mut event, &self.headers)?;
        event.without_data = is_without_data(&event);
        if let RequestTarget::Topic(topic) = &self.target {
            event.topic = topic.as_str().into();
        }
        Ok(event)
    }
}

fn check_topic(topic: &str) -> Result<(), Wrong> {
    let bad = |what: String| Err(Wrong::Bad(what));
    if !is_valid_topic_name(topic) {
        return bad(format!(
            "{topic:.200?} is no topic to publish to: it must not be empty, nor hold `+`, `#` or U+0000"
        ));
    }
    let levels = topic.split('/').count();
    if topic.len() > TOPIC_BYTES_MAX || levels > TOPIC_LEVELS_MAX {
        return bad(format!(
            "a topic of {} bytes and {levels} levels is over {TOPIC_BYTES_MAX} bytes or {TOPIC_LEVELS_MAX} levels",
            topic.len()
        ));
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_path_is_a_door_or_nothing() {
        let topic = |topic: &str| Some(Ok(RequestTarget::Topic(topic.into())));
        for (path, expected) in [
            ("/events", Some(Ok(RequestTarget::Events))),
            ("/topics/hall/7", topic("hall/7")),
            ("/topics/hall%2F7", topic("hall/7")),
            ("/", None),
            ("/events/", None),
            ("/topics", None),
        ] {
            assert_eq!(target(path), expected, "{path}");
        }
    }
}
