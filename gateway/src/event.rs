//! An event on its way through the gateway, and its stored forms.

pub mod ack;
pub mod arrival;
pub mod cloudevents;
pub mod committed_log;
pub mod dead_letter;
pub mod delivery;
pub mod device_mark;
pub mod inlet;

pub mod receipts;
pub mod record;
pub mod system_topic;
pub mod way;
