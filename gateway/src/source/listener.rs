//! What listeners share, whatever protocol is spoken: who may connect, and what they may do.

pub(super) mod acceptor;
pub mod access;
pub(super) mod buffers;
pub(super) mod certificate;
pub(super) mod connection_limit;
pub mod logins;
pub mod password;
pub(super) mod socket;

/// Why a listener cannot listen.
#[derive(Debug)]
pub struct BindError(pub String);

impl std::fmt::Display for BindError {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(&self.0)
    }
}

impl std::error::Error for BindError {}
