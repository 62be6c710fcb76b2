//! Bytes on disk: where things lie in the store's directory, blocks and how they are packed, and what small documents are
//! written with.

pub(crate) mod block;
pub(crate) mod bloom;
pub(crate) mod checksummed;
pub(crate) mod compression;
pub(crate) mod directory;
pub(crate) mod frame;
pub(crate) mod large;
pub(crate) mod pack;
pub(crate) mod route;
pub(crate) mod varint;
