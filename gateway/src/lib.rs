//! The gateway: the only room that waits, connects and spawns.

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
