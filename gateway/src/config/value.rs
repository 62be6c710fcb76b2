//! Values with a form of their own: addresses and urls, files, topics, secrets.

pub(crate) mod address;
pub(crate) mod files;
pub mod secret;
pub(crate) mod topics;
