//! The store from the outside, in one binary: what it promises, under reopening, deletion, damage, full disks and kills.

mod lanes;
mod log;
mod retention;
mod support;
