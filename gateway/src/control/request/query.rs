//! The query part of a request's target.

use tidegate_rules::topic::TopicFilter;

use crate::control::history::HistoryError;
use crate::control::history::search::EventFilter;

/// Events in a response that does not say how many.
const LIMIT: usize = 50;

/// Keys and values behind the `?`.
pub(in crate::control) struct QueryString(Vec<(String, String)>);

impl QueryString {
    /// Reads `key=value&key=value` with percent-encoding.
    pub(in crate::control) fn parse(query: Option<&str>) -> QueryString {
        let pairs = query
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty());
        let pair = |pair: &str| {
            let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
            (percent_decoded(key), percent_decoded(value))
        };
        QueryString(pairs.map(pair).collect())
    }

    /// The value of `key`.
    pub(in crate::control) fn get(&self, key: &str) -> Option<&str> {
        let pair = self.0.iter().find(|(name, _)| name == key)?;
        Some(&pair.1)
    }

    /// A whole number.
    pub(in crate::control) fn number<T: std::str::FromStr>(
        &self,
        key: &str,
    ) -> Result<Option<T>, HistoryError> {
        let Some(text) = self.get(key) else {
            return Ok(None);
        };
        let number = text.parse().map_err(|_| {
            HistoryError::InvalidQuery(format!("`{key}` is no whole number: {text}"))
        })?;
        Ok(Some(number))
    }

    /// How many events at most.
    pub(in crate::control) fn limit(&self) -> Result<usize, HistoryError> {
        Ok(self.number("limit")?.unwrap_or(LIMIT))
    }

    /// Which events.
    pub(in crate::control) fn event_filter(&self) -> Result<EventFilter, HistoryError> {
        let topic = match self.get("topic") {
            None => None,
            Some(text) => Some(TopicFilter::parse(text).map_err(|wrong| {
                HistoryError::InvalidQuery(format!("`{text}` is no topic filter: {wrong}"))
            })?),
        };
        Ok(EventFilter {
            topic,
            source: self.get("source").map(str::to_owned),
            kind: self.get("type").map(str::to_owned),
            since_ms: self.number("since_ms")?,
        })
    }
}

/// `text` without its percent-encoding; what is no UTF-8 shows as the replacement character.
pub(in crate::control) fn percent_decoded(text: &str) -> String {
    let mut bytes = Vec::with_capacity(text.len());
    let mut rest = text.as_bytes();
    while let Some((&first, after)) = rest.split_first() {
        let hex = after.get(..2).filter(|_| first == b'%');
        let byte = hex.and_then(|hex| u8::from_str_radix(std::str::from_utf8(hex).ok()?, 16).ok());
        bytes.push(byte.unwrap_or(first));
        rest = if byte.is_some() { &after[2..] } else { after };
    }
    String::from_utf8_lossy(&bytes).into_owned()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn questions_are_percent_decoded() {
        let query = QueryString::parse(Some("topic=a%2F%23&limit=7&x"));
        assert_eq!(query.get("topic"), Some("a/#"));
        assert_eq!(query.get("x"), Some(""));
        assert_eq!(query.limit().ok(), Some(7));
        assert_eq!(
            query.event_filter().ok().and_then(|q| q.topic),
            TopicFilter::parse("a/#").ok()
        );
        assert_eq!(
            [
                percent_decoded("%zz"),
                percent_decoded("%4"),
                percent_decoded("%C3%A4")
            ],
            ["%zz", "%4", "ä"]
        );
    }

    #[test]
    fn a_question_that_cannot_be_read_is_a_mistake() {
        for text in ["limit=many", "since_ms=now", "topic=a%23b"] {
            let query = QueryString::parse(Some(text));
            let read = query.limit().and(query.event_filter().map(|_| 0));
            assert!(read.is_err(), "{text}");
        }
    }
}
