//! Keys that several kinds of sources and upstreams share: how they reach the other end.

pub(crate) mod bearer;
pub(crate) mod broker;
pub(crate) mod client_tls;
pub(crate) mod listener;
pub(crate) mod port;
pub(crate) mod server_tls;
pub(crate) mod tls;
