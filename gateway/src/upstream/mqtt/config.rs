//! `type = "mqtt"` of `[upstreams.NAME]`.

use crate::config::Broker;
use crate::config::connection::broker;
use crate::config::key::{Count, OneOf, Rows, Text, count, flag, keys, one_of, text};
use crate::config::kinds::{AtBroker, Claim, Entry, KeyGroup, Kind};
use crate::config::section::Section;
use crate::config::value::topics;
use crate::upstream::format::Format;

/// What a topic template may name.
const TOPIC_PLACEHOLDERS: [&str; 7] = [
    "topic",
    "source",
    "publisher",
    "type",
    "id",
    "key",
    "gateway",
];

keys! {
    /// Keys of an upstream that is an MQTT broker.
    KEYS: MqttUpstreamKeys {
        topic: Text = text().default("{topic}", "topic to publish under; `{topic}` `{source}` `{publisher}` `{type}` `{id}` `{key}` `{gateway}`"),
        qos: Count<u8> = count(1, 2).default("1", "QoS of the publishes; 0 is never acknowledged, hence refused"),
        retain: bool = flag().default("false", "publish as retained messages"),
        format: OneOf<Format> = one_of().default("binary", "payload as it is with the envelope beside it, or one JSON document"),
    }
}

/// Publishes to a broker.
#[derive(Debug, Clone, PartialEq)]
pub struct MqttUpstream {
    /// Where.
    pub broker: Broker,
    /// `topic` ("{topic}"): `{topic}`, `{source}`, `{publisher}`, `{type}`, `{id}`, `{key}`, `{gateway}`
    pub topic: String,
    /// `qos` (1): 0 is refused
    pub qos: u8,
    /// `retain` (false)
    pub retain: bool,
    /// `format` ("binary")
    pub format: Format,
}

impl Kind for MqttUpstream {
    const NAME: &'static str = "mqtt";
    const KEYS: Rows = MqttUpstreamKeys::ROWS;
    const SHARED: &'static [KeyGroup] = broker::GROUPS;

    fn read(section: &Section<'_>, entry: &Entry<'_>) -> Option<MqttUpstream> {
        let broker = Broker::read(section, entry);
        let topic = topics::template(section, &KEYS.topic, &TOPIC_PLACEHOLDERS);
        let qos = section.read(&KEYS.qos);
        let retain = section.read(&KEYS.retain);
        let format = section.read(&KEYS.format);
        Some(MqttUpstream {
            broker: broker?,
            topic: topic?,
            qos,
            retain,
            format,
        })
    }

    fn claim(&self) -> Option<Claim<'_>> {
        Some(self.broker.claim())
    }

    fn at_broker(&self) -> Option<AtBroker<'_>> {
        Some(AtBroker {
            broker: (&self.broker.host, self.broker.port),
            filters: &[],
            topic: &self.topic,
        })
    }
}
