//! How much of everything there may be.

/// Upper bound of one record.
pub const RECORD_BYTES_MAX: usize = 64 << 20;
/// Upper bound of a mark's key and value together.
pub const MARK_BYTES_MAX: usize = 1024;
/// Lanes there can be: a set of them fits a `u64`.
pub(crate) const LANES_MAX: usize = 64;
/// Classes of priority, 0 to 3.
pub(crate) const CLASSES: usize = 4;
/// Routes one record may have.
pub(crate) const ROUTES_MAX: usize = u8::MAX as usize;
