//! The gateway: the only package that waits, connects and spawns.
//!
//! ```text
//!            bin ─▶ cli ─▶ run: puts the rooms together and takes them apart
//!                    │
//!   an event's way   ▼                                       looked at by
//!   source ─▶ intake ─▶ (store) ─▶ forward ─▶ upstream        control ◀─ cli
//!     │         │                    │                          │
//!     └─────────┴────────────────────┴──────────▶ observe ◀─────┘
//! ```
//!
//! | room | noun |
//! |---|---|
//! | `cli` | one file per subcommand, the demo among them |
//! | `run` | start, watching over, shutdown; the rule files, reloaded while it runs |
//! | `control` | what a running gateway answers, and what its store tells of the past |
//! | `source` | where events come from, and the acknowledgement each sender waits for |
//! | `intake` | dedup, rules, group commit: what makes events durable |
//! | `forward` | a lane per upstream: order, windows, retry |
//! | `upstream` | where events go |
//! | `event` | an event and all its outputs, as they are handed on and stored |
//! | `observe` | a type per happening, the metrics, the status |
//! | `config` | `gateway.toml`, with all its errors at once |
//! | `time` | the one clock, pauses between attempts, and the word to stop |
//! | `tls` | certificates and keys from files, for both sides |
//!
//! Sources know no upstream and upstreams no source: what both hand on stands in `event`. The tidy
//! test holds these edges.

#![forbid(unsafe_code)]

pub mod cli;
pub mod config;
pub mod control;
pub mod event;
pub mod forward;
pub mod intake;
pub mod observe;
pub mod run;
pub mod source;
pub mod time;
pub mod tls;
pub mod upstream;
