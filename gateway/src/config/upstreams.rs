//! `[upstreams.NAME]`: where events go to.

use super::key::Key;
use super::secret::Secret;
use super::section::Section;
use super::{
    Backfill, FileUpstream, Format, HttpUpstream, Lane, MqttUpstream, UpstreamKind, address,
    broker, files, keys, topics,
};

/// Whether this program was built with the HTTP upstream.
const HTTP_BUILT: bool = cfg!(feature = "http");

/// What a topic template of an upstream may name.
const TOPIC_PLACEHOLDERS: [&str; 7] = [
    "topic",
    "source",
    "publisher",
    "type",
    "id",
    "key",
    "gateway",
];

/// Upstreams that a later version brings.
pub(super) const LATER: [&str; 6] = ["kafka", "amqp", "redis", "pulsar", "nats", "eventbridge"];

/// The keys of an upstream of the type `kind`; nothing for an unknown type.
pub(super) fn keys_of(kind: &str) -> Option<Vec<&'static [Key]>> {
    let own: &[&'static [Key]] = match kind {
        "mqtt" => &[keys::MQTT_UPSTREAM, keys::BROKER, keys::CLIENT_TLS],
        "http" => &[keys::HTTP_UPSTREAM, keys::CLIENT_TLS],
        "file" => &[keys::FILE_UPSTREAM],
        _ => return None,
    };
    Some([&[keys::LANE], own].concat())
}

/// Reads an upstream whose `type` is `kind`.
pub(super) fn upstream(
    section: &Section<'_>,
    kind: &str,
    gateway_id: &str,
    name: &str,
) -> Option<UpstreamKind> {
    match kind {
        "mqtt" => mqtt(section, gateway_id, name).map(UpstreamKind::Mqtt),
        "http" => http(section).map(UpstreamKind::Http),
        _ => file(section).map(UpstreamKind::File),
    }
}

/// Reads how the upstream's lane is driven.
pub(super) fn lane(section: &Section<'_>) -> Lane {
    let backfill = match section.choice("backfill") {
        "live_first" => Backfill::LiveFirst,
        _ => Backfill::InOrder,
    };
    if backfill == Backfill::InOrder && section.has("live_weight") {
        let span = section.span("live_weight");
        let message = "`live_weight` has no effect with backfill = \"in_order\"";
        section.reading.note(section.reading.warning(span, message));
    }
    let lane = Lane {
        backfill,
        live_weight: section.number("live_weight"),
        inflight_max: section.number("inflight"),
        inflight_bytes_max: section.bytes("inflight_size"),
        rate_max: section.count_if("max_rate"),
        bandwidth_bytes_max: section.size_if("max_bandwidth"),
        retry_min: section.duration("retry_min"),
        retry_max: section.duration("retry_max"),
        refusals_max: section.number("refusals_max"),
        ack_timeout: section.duration("ack_timeout"),
    };
    if lane.retry_min > lane.retry_max {
        let key = if section.has("retry_min") {
            "retry_min"
        } else {
            "retry_max"
        };
        section.refuse(key, "`retry_min` is longer than `retry_max`");
    }
    lane
}

fn mqtt(section: &Section<'_>, gateway_id: &str, name: &str) -> Option<MqttUpstream> {
    let broker = broker::broker(section, gateway_id, name);
    let topic = topics::template(section, "topic", &TOPIC_PLACEHOLDERS);
    let qos = section.number("qos");
    let retain = section.flag("retain").unwrap_or_default();
    let format = format(section);
    Some(MqttUpstream {
        broker: broker?,
        topic: topic?,
        qos,
        retain,
        format,
    })
}

fn http(section: &Section<'_>) -> Option<HttpUpstream> {
    if !HTTP_BUILT {
        let error = section.error("type", "this tidegate was built without the http upstream");
        let note = "build it with `--features http`";
        section.reading.note(error.with_note(note));
    }
    let url = address::url(section, &["http", "https"]);
    let bearer = files::secret_or_file(section, "bearer", "bearer_file");
    if let Some(url) = &url
        && bearer.is_some()
        && url.scheme == "http"
        && !url.is_loopback()
    {
        let message = format!("the token goes to {} in the clear", url.host);
        let warning = section.reading.warning(url.span.clone(), message);
        section
            .reading
            .note(warning.with_label("https:// would encrypt it"));
    }
    let headers = headers(section);
    let tls = broker::client_tls(section);
    let batch_max = section.number("batch_max");
    let timeout = section.duration("timeout");
    let requests_max = section.number("requests_max");
    let format = format(section);
    Some(HttpUpstream {
        url: url?.text,
        headers,
        bearer,
        batch_max,
        timeout,
        format,
        tls,
        requests_max,
    })
}

fn headers(section: &Section<'_>) -> Vec<(String, Secret)> {
    let entries = section.entries("headers");
    entries
        .into_iter()
        .filter_map(|(name, item)| {
            let wrong = |message: String| {
                section
                    .reading
                    .note(section.reading.error(name.span.clone(), message));
            };
            let token = |c: char| c.is_ascii_alphanumeric() || "!#$%&'*+-.^_`|~".contains(c);
            if name.value.is_empty() || !name.value.chars().all(token) {
                wrong(format!("`{}` is no name of a header", name.value));
                return None;
            }
            let Some(text) = item.as_str() else {
                wrong(format!("the header `{}` takes text in quotes", name.value));
                return None;
            };
            let value = section.reading.fill_in(text, &name.span)?;
            if value.contains(|c: char| c.is_control()) {
                wrong(format!(
                    "the header `{}` holds control characters",
                    name.value
                ));
                return None;
            }
            Some((name.value.clone(), Secret::new(value)))
        })
        .collect()
}

fn file(section: &Section<'_>) -> Option<FileUpstream> {
    let path = files::path(section, "path");
    let rotate_bytes = section.size("rotate_size");
    let files_max = section.number("keep_files");
    let path = path?;
    if path.is_dir() {
        let error = section.error("path", format!("{} is a folder", path.display()));
        section.reading.note(error.with_label("name a file in it"));
    }
    Some(FileUpstream {
        path,
        rotate_bytes,
        files_max,
    })
}

fn format(section: &Section<'_>) -> Format {
    match section.choice("format") {
        "structured" => Format::Structured,
        _ => Format::Binary,
    }
}
