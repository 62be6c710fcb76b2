//! The serial link.

#![no_std]
#![forbid(unsafe_code)]
