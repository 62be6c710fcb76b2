//! Another program of the gateway: what it writes, whether it would do here, and the way back from one that never becomes
//! ready.
//!
//! A program is known by the SHA-256 of its file, and a file that was hashed before by its place, size and times. One that
//! was ready has left its mark beside the store, and acknowledges nothing before that is on the disk: a program without it
//! has acknowledged nothing, and may be taken back together with what it made of the store.

pub mod bounded;
pub mod digest;
mod durable;
mod file_identity;
pub mod formats;
pub mod gate;
pub mod image;
pub mod mark;
pub mod package;
pub(super) mod readiness;
pub mod standing;
