//! Where the gateway's own events are published.

/// System events are published under topics that start with this; no client may publish there,
/// and wildcards at the first level do not match it.
pub const SYSTEM_TOPIC: &str = "$tidegate";
