//! Where events come from: a folder per kind of source, and what several kinds share.
//!
//! A source hands on arrivals through the inlet ([`crate::event`]) and acknowledges to its sender
//! what it is told is stored.

pub mod http;
#[cfg(feature = "serial")]
pub mod lines;
pub mod listener;
pub mod mqtt;
pub mod mqtt_listener;
#[cfg(feature = "serial")]
pub mod serial;
#[cfg(feature = "serial")]
pub mod serial_port;
