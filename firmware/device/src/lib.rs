//! What a sensor node does, the same on every board and on a computer that plays one.
//!
//! A [`Node`] reads its sensor at a steady pace, keeps the readings in a ring, and speaks the link over a serial port
//! until the gateway has them for good. It names no chip: sensors are written against `embedded-hal`, the port against
//! `embedded-io`, and the time comes in as an argument.
#![no_std]
#![forbid(unsafe_code)]

pub mod node;
pub mod sensor;
pub mod simulated;
pub mod thermometer;

pub use node::{Node, Pace};
pub use sensor::{Readings, Sensor, SensorError};
pub use simulated::Simulated;
pub use thermometer::Thermometer;
