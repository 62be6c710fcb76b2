//! MQTT packets as bytes, both ways: fields, packets from clients, packets to them.

pub mod decode;
pub mod encode;
pub mod fields;
pub mod packet;
pub mod reason;
