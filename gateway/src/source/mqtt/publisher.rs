//! `publisher` of an `mqtt` source: who publishes behind the broker, as the topic says.

/// Text with places for levels of the topic.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct PublisherTemplate(Vec<Part>);

#[derive(Debug, Clone, PartialEq, Eq)]
enum Part {
    Text(String),
    Level(usize),
}

impl PublisherTemplate {
    /// Reads a template: `{1}` is the level 1 of the topic, counted from 0.
    ///
    /// # Errors
    /// What is wrong with it, in words.
    pub fn parse(text: &str) -> Result<PublisherTemplate, String> {
        let mut parts = Vec::new();
        let mut rest = text;
        while let Some((before, after)) = rest.split_once('{') {
            let Some((level, behind)) = after.split_once('}') else {
                return Err(format!("`{{{after}` lacks its `}}`"));
            };
            let level: usize = level.parse().map_err(|_| {
                format!("`{{{level}}}` is no level of a topic; write `{{1}}` for its level 1, counted from 0")
            })?;
            parts.push(Part::Text(before.to_owned()));
            parts.push(Part::Level(level));
            rest = behind;
        }
        parts.push(Part::Text(rest.to_owned()));
        parts.retain(|part| *part != Part::Text(String::new()));
        match parts.is_empty() {
            true => Err(
                "`publisher` is empty: take it out, or write `{1}` for level 1 of the topic".into(),
            ),
            false => Ok(PublisherTemplate(parts)),
        }
    }

    /// The publisher of a topic; none where the topic lacks a level, or it is empty.
    pub fn of(&self, topic: &str) -> Option<String> {
        let mut publisher = String::new();
        for part in &self.0 {
            match part {
                Part::Text(text) => publisher.push_str(text),
                Part::Level(level) => publisher.push_str(topic.split('/').nth(*level)?),
            }
        }
        (!publisher.is_empty()).then_some(publisher)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_publisher_is_what_the_topic_says() {
        for (template, topic, expected) in [
            ("{1}", "sensors/press7/temp", Some("press7")),
            ("{0}", "sensors/press7/temp", Some("sensors")),
            ("{0}-{2}", "a/b/c", Some("a-c")),
            ("hall {1}", "a/7", Some("hall 7")),
            ("press", "a/b", Some("press")),
            ("{3}", "a/b", None),
            ("{1}", "a//b", None),
        ] {
            let parsed = PublisherTemplate::parse(template).expect(template);
            assert_eq!(parsed.of(topic).as_deref(), expected, "{template} {topic}");
        }
        for wrong in ["", "{", "{}", "{device}", "{1", "{-1}"] {
            assert!(PublisherTemplate::parse(wrong).is_err(), "{wrong}");
        }
    }
}
