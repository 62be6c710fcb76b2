//! The MQTT listener as devices meet it: raw bytes over sockets, against the real program.

mod client;
mod decoder;
mod gateway;
mod live;
mod not_taken;
mod protocol;
mod qos;
mod tls;
mod users;
