use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};

const TEMPLATE: &str =
    "{prefix} {wide_bar} {binary_bytes}/{binary_total_bytes} {binary_bytes_per_sec}";

/// A bar on standard error for the file at hand, if that is a terminal.
pub(crate) struct Bar {
    bar: ProgressBar,
    files: u64,
}

impl Bar {
    pub(crate) fn new() -> Self {
        // It hides itself where standard error is no terminal.
        let bar = ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr());
        if let Ok(style) = ProgressStyle::with_template(TEMPLATE) {
            bar.set_style(style);
        }
        Self { bar, files: 0 }
    }

    pub(crate) fn began(&self, bytes: u64) {
        self.bar.set_length(bytes);
        self.bar.set_position(0);
        self.bar.reset_eta();
        self.bar.set_prefix(format!("file {}", self.files + 1));
    }

    pub(crate) fn advanced(&self, bytes: u64) {
        self.bar.inc(bytes);
    }

    pub(crate) fn count(&mut self) {
        self.files += 1;
    }

    /// Writes something while the bar is out of the way.
    pub(crate) fn aside(&self, write: impl FnOnce()) {
        self.bar.suspend(write);
    }

    pub(crate) fn finish(&self) {
        self.bar.finish_and_clear();
    }
}
