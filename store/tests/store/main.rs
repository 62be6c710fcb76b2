//! The store from the outside, in one binary: what it promises, under reopening, deletion, damage, full disks and kills.

mod backup;
mod damage;
mod dead_letters;
mod fixtures;
mod kill;
mod lanes;
mod live;
mod log;
mod opening;
mod room;
mod support;
