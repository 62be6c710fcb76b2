//! How far long work is.

use indicatif::ProgressStyle;

/// How far the work is: on standard error, and only on a terminal.
pub(in crate::cli) struct ProgressBar(indicatif::ProgressBar);

impl ProgressBar {
    /// At its beginning.
    pub(in crate::cli) fn new() -> ProgressBar {
        let bar = indicatif::ProgressBar::new(0);
        let style = ProgressStyle::with_template("{bar:40} {bytes} of {total_bytes}, {eta} left");
        if let Ok(style) = style {
            bar.set_style(style);
        }
        ProgressBar(bar)
    }

    /// So many bytes of so many are done.
    pub(in crate::cli) fn advance(&self, done: u64, all: u64) {
        self.0.set_length(all);
        self.0.set_position(done);
    }

    /// Takes it off the screen.
    pub(in crate::cli) fn finish(&self) {
        self.0.finish_and_clear();
    }
}
