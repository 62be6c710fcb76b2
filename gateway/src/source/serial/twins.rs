//! Two nodes with one name.
