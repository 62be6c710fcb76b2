//! The gateway: the only package with sockets, serial ports and an async runtime.
//!
//! An event's way: `source` ─▶ `intake` ─▶ (store) ─▶ `forward` ─▶ `upstream`. The rooms, each
//! above those that it names:
//!
//! <!-- rooms -->
//! ```text
//! cli       The command line: one file per subcommand, and what they share
//!           └▶ config, control, event, observe, run, source, time
//! run       Puts the rooms together, watches over them, and takes them apart
//!           └▶ config, control, event, forward, intake, observe, source, time, upstream
//! control   The local control API: what the gateway shows and does for `tidegate` on the same
//!           machine, and for whoever scrapes metrics
//!           └▶ config, event, intake, observe, time
//! forward   Forwarding: one task per upstream takes events from the store and brings them there
//!           └▶ config, event, observe, time, upstream
//! source    Where events come from: a folder per kind of source, and what several kinds share
//!           └▶ config, event, observe, time
//! intake    The commit pipeline: dedup → stamp → rules → one group commit → acks
//!           └▶ event, observe, time
//! upstream  What an upstream is to the forwarder: a place that takes deliveries and settles each
//!           one
//!           └▶ config, event, time
//! config    The configuration, checked: what `gateway.toml` says with every default filled in
//! event     An event on its way through the gateway, and its stored forms
//!           └▶ time
//! observe   What happens in the gateway is a type: emitting it is one log line and, where the
//!           architecture names it, one system event
//!           └▶ time
//! time      Time: the one clock of the process, how long to wait before trying again, when to
//!           stop, and what goes on meanwhile
//! ```
//! <!-- /rooms -->
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
pub mod upstream;
