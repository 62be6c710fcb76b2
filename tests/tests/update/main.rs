//! Issue 13, number 5: another release is looked at before it is installed, and one that never becomes ready is put back.

mod check;
mod cut_off;
mod gate;
mod known_file;
mod site;
