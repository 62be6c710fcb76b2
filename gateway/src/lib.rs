//! The gateway: the only room that waits, connects and spawns.

#![forbid(unsafe_code)]

pub mod backoff;
pub mod cli;
pub mod clock;
pub mod config;
pub mod control;
pub mod history;
pub mod observe;
pub mod record;
pub mod source;
pub mod status;
pub mod systemd;
pub mod upstream;
