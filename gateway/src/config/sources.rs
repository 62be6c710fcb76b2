//! `[sources.NAME]`: where events come from.

use std::path::PathBuf;

use tidegate_rules::topic::is_valid_topic_name;

use super::key::Key;
use super::section::Section;
use super::{
    HttpSource, LineFormat, Lines, MqttListener, MqttSource, PortMatch, Serial, SourceKind, broker,
    files, keys, topics, users,
};

/// Whether this program was built with serial ports.
const SERIAL_BUILT: bool = cfg!(feature = "serial");

/// The keys of a source of the type `kind`; nothing for an unknown type.
pub(super) fn keys_of(kind: &str) -> Option<Vec<&'static [Key]>> {
    let own: &[&'static [Key]] = match kind {
        "mqtt-listener" => &[keys::MQTT_LISTENER],
        "mqtt" => &[keys::MQTT_SOURCE, keys::BROKER, keys::CLIENT_TLS],
        "serial" => &[keys::SERIAL, keys::PORT],
        "lines" => &[keys::LINES, keys::PORT],
        "http" => &[keys::HTTP_SOURCE],
        _ => return None,
    };
    Some([&[keys::SOURCE], own].concat())
}

/// Reads a source whose `type` is `kind`.
pub(super) fn source(
    section: &Section<'_>,
    kind: &str,
    gateway_id: &str,
    name: &str,
) -> Option<SourceKind> {
    if matches!(kind, "serial" | "lines") && !SERIAL_BUILT {
        let error = section.error("type", "this tidegate was built without serial ports");
        let note = "build it with `--features serial`";
        section.reading.note(error.with_note(note));
    }
    match kind {
        "mqtt-listener" => mqtt_listener(section).map(SourceKind::MqttListener),
        "mqtt" => mqtt(section, gateway_id, name).map(SourceKind::Mqtt),
        "serial" => serial(section).map(SourceKind::Serial),
        "lines" => lines(section, name).map(SourceKind::Lines),
        _ => http(section).map(SourceKind::Http),
    }
}

fn mqtt_listener(section: &Section<'_>) -> Option<MqttListener> {
    let access = users::access(section, true);
    let payload_bytes_max = section.bytes("max_payload");
    let connections_max = section.number("max_connections");
    let connections_per_ip_max = section.number("max_connections_per_ip");
    let connect_timeout = section.duration("connect_timeout");
    let keep_alive_max = section.duration("keep_alive_max");
    let receive_max = section.number("receive_max");
    let subscriptions_max = section.number("max_subscriptions");
    let topic_levels_max = section.number("max_topic_levels");
    let topic_bytes_max = section.bytes("max_topic");
    let access = access?;
    Some(MqttListener {
        listen: access.listen,
        tls: access.tls,
        users: access.users,
        anonymous: access.anonymous,
        payload_bytes_max,
        connections_max,
        connections_per_ip_max,
        connect_timeout,
        keep_alive_max,
        receive_max,
        subscriptions_max,
        topic_levels_max,
        topic_bytes_max,
    })
}

fn http(section: &Section<'_>) -> Option<HttpSource> {
    let access = users::access(section, false);
    let payload_bytes_max = section.bytes("max_payload");
    let connections_max = section.number("max_connections");
    let access = access?;
    Some(HttpSource {
        listen: access.listen,
        tls: access.tls,
        users: access.users,
        anonymous: access.anonymous,
        payload_bytes_max,
        connections_max,
    })
}

fn mqtt(section: &Section<'_>, gateway_id: &str, name: &str) -> Option<MqttSource> {
    let broker = broker::broker(section, gateway_id, name);
    let topics = topics::filters(section, "topics", &[]);
    if section.has("topics") && section.texts("topics").is_empty() {
        section.refuse("topics", "`topics` is empty: nothing would ever arrive");
    }
    let qos = section.number("qos");
    if section.has("qos") && qos == 0 {
        let span = section.span("qos");
        let message = "with QoS 0 the broker may lose events on the way here";
        section.reading.note(section.reading.warning(span, message));
    }
    Some(MqttSource {
        topics,
        qos,
        payload_bytes_max: section.bytes("max_payload"),
        broker: broker?,
    })
}

fn serial(section: &Section<'_>) -> Option<Serial> {
    let port = port(section);
    let topic = topics::template(section, "topic", &["device"]);
    let baud = section.number("baud");
    let reopen_max = section.duration("reopen_max");
    Some(Serial {
        port: port?,
        baud,
        topic: topic?,
        reopen_max,
    })
}

fn lines(section: &Section<'_>, name: &str) -> Option<Lines> {
    let port = port(section);
    let format = line_format(section);
    let topic = section.text("topic");
    if let Some(topic) = topic
        .as_ref()
        .filter(|topic| !is_valid_topic_name(&topic.value))
    {
        let message = format!("`{}` is no topic to publish under", topic.value);
        let note = "a topic is not empty and has no wildcards `+` and `#`";
        section
            .reading
            .note(section.error("topic", message).with_note(note));
    }
    let baud = section.number("baud");
    let line_bytes_max = section.bytes("max_line");
    let reopen_max = section.duration("reopen_max");
    Some(Lines {
        port: port?,
        baud,
        format: format?,
        topic: topic.map_or_else(|| name.to_owned(), |found| found.value),
        line_bytes_max,
        reopen_max,
    })
}

fn line_format(section: &Section<'_>) -> Option<LineFormat> {
    let format = section.choice("format");
    let columns = section.texts("columns");
    let delimiter = section.text("delimiter");
    if format != "csv" {
        for key in ["columns", "delimiter"] {
            if section.has(key) {
                section.refuse(key, format!("`{key}` goes with format = \"csv\" only"));
            }
        }
    }
    match format {
        "json" => Some(LineFormat::Json),
        "text" => Some(LineFormat::Text),
        _ => {
            if columns.is_empty() {
                let error = section.error("format", "csv lines need the names of their columns");
                let label = "add columns = [\"time\", \"temperature\"]";
                section.reading.note(error.with_label(label));
            }
            for (place, column) in columns.iter().enumerate() {
                if columns[..place]
                    .iter()
                    .any(|other| other.value == column.value)
                {
                    let message = format!("there are two columns `{}`", column.value);
                    section
                        .reading
                        .note(section.reading.error(column.span.clone(), message));
                }
            }
            let delimiter = delimiter.map_or_else(|| ",".to_owned(), |found| found.value);
            let mut characters = delimiter.chars();
            let (Some(delimiter), None) = (characters.next(), characters.next()) else {
                section.refuse("delimiter", "`delimiter` takes one character");
                return None;
            };
            Some(LineFormat::Csv {
                columns: columns.into_iter().map(|found| found.value).collect(),
                delimiter,
            })
        }
    }
}

fn port(section: &Section<'_>) -> Option<PortMatch> {
    match (section.has("port"), section.has("match")) {
        (true, false) => files::path(section, "port").map(PortMatch::Path),
        (false, true) => usb_match(section),
        (true, true) => {
            section.refuse("match", "`port` and `match` both say which port: keep one");
            None
        }
        (false, false) => {
            let message = format!("{} lacks the key `port` or `match`", section.name());
            let error = section.reading.error(section.heading(), message);
            let note = "write port = \"/dev/ttyACM0\", or match = { vid = \"2e8a\" } to find a USB port wherever it is plugged in";
            section.reading.note(error.with_note(note));
            None
        }
    }
}

fn usb_match(section: &Section<'_>) -> Option<PortMatch> {
    let usb = section.table("match")?;
    let (vid, pid) = (usb_id(&usb, "vid"), usb_id(&usb, "pid"));
    let serial = usb.text("serial").map(|found| found.value);
    let written = ["vid", "pid", "serial"].iter().any(|key| usb.has(key));
    if !written {
        section.refuse("match", "an empty `match` would take any USB port");
    }
    Some(PortMatch::Usb { vid, pid, serial })
}

fn usb_id(usb: &Section<'_>, key: &str) -> Option<u16> {
    let found = usb.text(key)?;
    let digits = found.value.trim_start_matches("0x");
    let id = u16::from_str_radix(digits, 16).ok();
    if id.is_none() {
        let message = format!("`{}` is no USB id of four hexadecimal digits", found.value);
        usb.refuse(key, message);
    }
    id
}

/// The device file a source opens, for finding two sources on one port.
pub(super) fn device_file(kind: &SourceKind) -> Option<&PathBuf> {
    match kind {
        SourceKind::Serial(Serial { port, .. }) | SourceKind::Lines(Lines { port, .. }) => {
            match port {
                PortMatch::Path(path) => Some(path),
                PortMatch::Usb { .. } => None,
            }
        }
        _ => None,
    }
}
