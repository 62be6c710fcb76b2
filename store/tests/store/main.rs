//! The store from the outside, in one binary: what it promises, under reopening, deletion, damage, full disks and kills.

mod backup;
mod damage;
mod damage_trials;
mod dead_letters;
mod fixtures;
mod full_disk;
mod harm;
mod kill;
mod lanes;
mod live;
mod log;
mod opening;
mod retention;
mod shedding;
mod small_disk;
mod support;
