//! The oracle: it starts the real binary and real peers, and keeps its own books.
//!
//! | module | noun |
//! |---|---|
//! | `gateway` | one gateway process; every test that runs the program has it from here |
//! | `peer` | other programs, and a real broker |
//! | `mqtt` | an MQTT of our own: publishers, subscribers and their load |
//! | `node` | a simulated sensor node on a serial line |
//! | `babbler` | what talks without end at a serial port |
//! | `books` | what was acknowledged against what arrived |
//! | `crash` | plans of kills, and what is left after them |
//! | `trace` | what a system-call trace says about acknowledgements |
//! | `wait` | waiting for something, with a limit |
//! | `port` | ports that nobody else takes |
//! | `tidy` | the house rules |

#![forbid(unsafe_code)]

pub mod babbler;
pub mod books;
pub mod crash;
pub mod gateway;
pub mod mqtt;
pub mod node;
pub mod peer;
pub mod port;
pub mod tidy;
pub mod trace;
pub mod wait;
