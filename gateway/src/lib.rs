//! The gateway: the only room that waits, connects and spawns.
//!
//! ```text
//!                 main ─▶ cli ─▶ run: puts the rooms together, the only spawner
//!                          │
//!   an event's way         ▼                                        looked at by
//!   source ─▶ intake ─▶ record ─▶ (store) ─▶ forward ─▶ upstream     control ◀─ cli
//!     │         │          rules_folder       │  dead_letter           │
//!     └─────────┴─────────────┴───────────────┴────────────▶ observe ─▶ status, history
//! ```
//!
//! | file | noun |
//! |---|---|
//! | `cli` | one file per subcommand |
//! | `config` | `gateway.toml`, with all its errors at once |
//! | `run` | start, watching over, shutdown |
//! | `source` | where events come from, and the acknowledgement each sender waits for |
//! | `intake` | dedup, rules, group commit: what makes events durable |
//! | `record` | an event and all its outputs, as bytes |
//! | `rules_folder` | the rule files, reloaded while the gateway runs |
//! | `forward` | a lane per upstream: order, windows, retry |
//! | `upstream` | where events go |
//! | `dead_letter` | what could not be delivered, and why |
//! | `control`, `status`, `history` | what a running gateway answers |
//! | `observe` | a type per happening, and the metrics |
//! | `demo` | the main job on one machine |
//! | `backoff`, `clock`, `password`, `systemd` | small nouns that know nobody |
//!
//! Sources know no upstream and upstreams no source; both know only the seam in `source.rs` and
//! `upstream.rs`. The tidy test holds these edges.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod dead_letter;
#[cfg(feature = "demo")]
pub mod demo;
pub mod forward;
pub mod history;
pub mod intake;
mod null_control;
pub mod observe;
pub mod password;
pub mod record;
pub mod rules_folder;
pub mod run;
pub mod source;
pub mod status;
pub mod systemd;
pub mod upstream;
pub mod wear;
