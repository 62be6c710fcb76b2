//! A sensor node.

#![no_std]
#![forbid(unsafe_code)]
