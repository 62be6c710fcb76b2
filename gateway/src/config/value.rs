//! Values with a form of their own: addresses and urls, files, topics, secrets, tokens.

pub(crate) mod address;
pub(crate) mod files;
pub mod secret;
pub mod token;
pub(crate) mod topics;
