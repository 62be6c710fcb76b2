//! What people read: tables, figures, colours, progress, questions and messages.

pub(super) mod color;
pub(super) mod failure;
pub(super) mod figures;
pub(super) mod progress_bar;
pub(super) mod question;
pub(super) mod table;
