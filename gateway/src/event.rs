//! An event on its way through the gateway, and its stored forms.

pub mod dead_letter;
pub mod record;
