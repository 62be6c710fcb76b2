//! A rule file as it comes in.

/// The largest rule file in bytes.
pub const FILE_BYTES_MAX: usize = 1 << 20;

/// A file of rules.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RuleFile {
    /// The file as it is shown to people.
    pub path: String,
    /// What is in it.
    pub text: String,
}
