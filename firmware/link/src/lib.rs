//! The serial link between sensor nodes and the gateway, both halves of it.
//!
//! A record leaves the node's ring only when the gateway says that it is durable, so neither a noisy line nor a restart
//! of either side loses one. Everything here is sans-I/O, `no_std` and without allocation: bytes and the time come in
//! as arguments, frames go out into the caller's buffer, and nothing waits.
//!
//! ```text
//!   node                                              gateway
//!   DeviceLink ── Hello: who, which boot, what I hold ──▶ HostLink ──▶ Incoming::Hello
//!              ◀── SchemaRequest / SchemaField ─────────▶          ◀── resume(mark, schema_known)
//!              ◀── Welcome: session, first wanted ──────
//!   Ring ──────── Event 7, 8, 9 … (at most a window) ──▶          ──▶ Incoming::Event → store
//!     ▲ release ◀─ Ack: everything before 10 is durable ─          ◀── acknowledge(9)
//! ```
//!
//! | file | noun |
//! |---|---|
//! | `frame` | bytes between two delimiters, checked |
//! | `message` | what a frame says, in both directions |
//! | `schema` | names, units and types of readings, and their values in bytes |
//! | `sequence` | numbers that wrap |
//! | `ring` | where a node keeps records until they are acknowledged |
//! | `device` | the node's half |
//! | `host` | the gateway's half |
//! | `incoming` | what the gateway's half hands on |
//! | `counters` | what either half has seen |
#![no_std]
#![forbid(unsafe_code)]

pub mod counters;
pub mod device;
pub mod frame;
pub mod host;
pub mod incoming;
pub mod message;
pub mod ring;
pub mod schema;
pub mod sequence;

pub use counters::Counters;
pub use device::{DeviceLink, Identity};
pub use frame::{FRAME_SIZE_MAX, FrameBuffer};
pub use host::HostLink;
pub use incoming::{Body, DurableMark, EventId, Incoming, ResumeError};
pub use ring::{RamRing, Ring};
pub use schema::{Field, Kind, Schema, Value};
pub use sequence::Sequence;
