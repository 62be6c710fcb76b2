//! Values with a form of their own: addresses and urls, files, topics, secrets, tokens.

pub(crate) mod address;
pub(crate) mod files;
mod pem;
pub mod secret;
pub(crate) mod text;
pub mod token;
pub(crate) mod topics;
