//! Where the gateway's own events are published, and who may say that an event is one of them.

use tidegate_rules::event::Event;

/// System events are published under topics that start with this; wildcards at the first level do
/// not match it.
pub const SYSTEM_TOPIC: &str = "$tidegate";
/// The type of what says that events were given up.
pub const GAP_KIND: &str = "dev.tidegate.store.gap";
/// The types of system events start with this.
const SYSTEM_KIND: &str = "dev.tidegate.";

/// Whether an event that came to the source `own` (`<gateway>/<name>`) looks as if this gateway
/// had made it. Those of another gateway are none of ours: its id stands in their `source`.
pub fn poses_as_ours(event: &Event, own: &str) -> bool {
    let system = is_system_topic(&event.topic) || event.kind.starts_with(SYSTEM_KIND);
    system
        && is_of_gateway(
            &event.source,
            own.rsplit_once('/').map_or(own, |(id, _)| id),
        )
}

/// Whether this is the topic of system events, or one below it; `$tidegate2` is a topic like others.
pub fn is_system_topic(topic: &str) -> bool {
    let below = topic.strip_prefix(SYSTEM_TOPIC);
    below.is_some_and(|below| below.is_empty() || below.starts_with('/'))
}

/// Whether `source` is the gateway `id`, or a part of it.
pub fn is_of_gateway(source: &str, id: &str) -> bool {
    let rest = source.strip_prefix(id);
    rest.is_some_and(|rest| rest.is_empty() || rest.starts_with('/'))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_its_own_topics_are_the_gateways() {
        for (topic, system) in [
            ("$tidegate", true),
            ("$tidegate/", true),
            ("$tidegate/source/up", true),
            ("$tidegate2/x", false),
            ("$tidegates", false),
            ("$Tidegate/x", false),
            ("x/$tidegate/y", false),
            ("$SYS/x", false),
        ] {
            assert_eq!(is_system_topic(topic), system, "{topic}");
        }
    }
}
