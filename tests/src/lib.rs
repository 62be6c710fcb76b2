//! The oracle: it starts the real binary and real peers, and keeps its own books.

#![forbid(unsafe_code)]

pub mod acks;
pub mod audit;
pub mod barrage;
pub mod binary;
pub mod books;
pub mod gateway;
pub mod kills;
pub mod load;
pub mod mosquitto;
pub mod node;
pub mod peer;
pub mod publisher;
pub mod subscriber;
pub mod tidy;
pub mod trace;
pub mod wire;
