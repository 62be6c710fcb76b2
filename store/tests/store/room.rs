//! Room: what is deleted, what is given up, and what a full disk does.

mod full_disk;
mod retention;
mod shedding;
mod small_disk;
