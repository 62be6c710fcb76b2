//! `type = "mqtt"` of `[sources.NAME]`.

use super::filters;
use crate::config::Broker;
use crate::config::connection::broker;
use crate::config::key::{
    Count, MemorySize, Rows, Text, Texts, count, keys, memory_size, text, texts,
};
use crate::config::kinds::{AtBroker, Claim, Entry, KeyGroup, Kind};
use crate::config::section::Section;
use crate::config::value::topics;
use crate::source::id_field;

use super::publisher::PublisherTemplate;

keys! {
    /// Keys of a source at an MQTT broker.
    KEYS: MqttSourceKeys {
        topics: Option<Texts> = texts().required("topic filters to subscribe to"),
        qos: Count<u8> = count(0, 2).default("1", "QoS of the subscriptions; 0 may lose events on the way here, 2 is asked for as 1"),
        max_payload: MemorySize = memory_size("1B", "16MiB").default("256KiB", "largest payload; a larger one is set aside as a dead letter"),
        id_field: Option<Text> = text().optional("none", id_field::HELP),
        publisher: Option<Text> = text().optional("the source's name", "who publishes, from the topic: `{1}` is its level 1, counted from 0"),
    }
}

/// Subscribes at an existing broker.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttSource {
    /// Where.
    pub broker: Broker,
    /// `topics`
    pub topics: Vec<String>,
    /// `qos` (1)
    pub qos: u8,
    /// `max_payload` (256KiB)
    pub payload_bytes_max: usize,
    /// `id_field`
    pub id_field: Option<String>,
    /// `publisher`
    pub publisher: Option<PublisherTemplate>,
}

impl Kind for MqttSource {
    const NAME: &'static str = "mqtt";
    const KEYS: Rows = MqttSourceKeys::ROWS;
    const SHARED: &'static [KeyGroup] = broker::GROUPS;

    fn read(section: &Section<'_>, entry: &Entry<'_>) -> Option<MqttSource> {
        let broker = Broker::read(section, entry);
        let topics = topics::filters(section, &KEYS.topics, &[]);
        if section.has(&KEYS.topics) && section.read(&KEYS.topics).is_empty() {
            let message = "`topics` is empty: nothing would ever arrive";
            section.report(&KEYS.topics, message);
        }
        let qos = section.read(&KEYS.qos);
        if section.has(&KEYS.qos) && qos == 0 {
            let message = "with QoS 0 the broker may lose events on the way here";
            section.context.report(section.warning(&KEYS.qos, message));
        }
        if let Some((one, other)) = filters::overlapping(&filters::uncovered(&topics, &[])) {
            let message = format!(
                "`{one}` and `{other}` overlap: the broker may send what both match twice, and both are stored"
            );
            let warning = section.warning(&KEYS.topics, message);
            section.context.report(warning);
        }
        let id_field = id_field::of_section(section, &KEYS.id_field);
        let publisher = publisher(section);
        Some(MqttSource {
            id_field,
            publisher,
            topics,
            qos,
            payload_bytes_max: section.read(&KEYS.max_payload),
            broker: broker?,
        })
    }

    fn payload_bytes_max(&self) -> Option<usize> {
        Some(self.payload_bytes_max)
    }

    fn claim(&self) -> Option<Claim<'_>> {
        Some(self.broker.claim())
    }

    fn at_broker(&self) -> Option<AtBroker<'_>> {
        Some(AtBroker {
            broker: (&self.broker.host, self.broker.port),
            filters: &self.topics,
            topic: "",
        })
    }
}

fn publisher(section: &Section<'_>) -> Option<PublisherTemplate> {
    let text = section.read(&KEYS.publisher)?.value;
    match PublisherTemplate::parse(&text) {
        Ok(template) => Some(template),
        Err(why) => {
            section.report(&KEYS.publisher, why);
            None
        }
    }
}
