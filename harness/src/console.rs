//! Lines on standard output, and a progress bar on standard error where that is a terminal.

use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt;
use std::io::{self, Write};

/// The one place that prints.
pub struct Console {
    bar: ProgressBar,
}

impl Console {
    /// A console without a progress bar.
    pub fn new() -> Self {
        Self { bar: ProgressBar::hidden() }
    }

    /// Prints text that ends its own lines.
    pub fn print(&self, text: impl fmt::Display) -> io::Result<()> {
        self.bar.suspend(|| {
            let mut out = io::stdout().lock();
            write!(out, "{text}")?;
            out.flush()
        })
    }

    /// Prints a line.
    pub fn line(&self, text: impl fmt::Display) -> io::Result<()> {
        self.print(format_args!("{text}\n"))
    }

    /// Shows a bar of so many steps.
    pub fn begin(&mut self, steps: u64) {
        self.show(
            ProgressBar::with_draw_target(Some(steps), ProgressDrawTarget::stderr()),
            "{pos:>3}/{len} {bar:24} {wide_msg}",
        );
    }

    /// Shows a line that says what is going on, without a bar.
    pub fn begin_status(&mut self) {
        self.show(ProgressBar::with_draw_target(None, ProgressDrawTarget::stderr()), "{wide_msg}");
    }

    fn show(&mut self, bar: ProgressBar, template: &str) {
        let style = ProgressStyle::with_template(template).expect("the template is a constant");
        self.bar = bar.with_style(style.progress_chars("━╸ "));
    }

    /// Says what is going on now.
    pub fn status(&self, what: impl fmt::Display) {
        if !self.bar.is_hidden() {
            self.bar.set_message(what.to_string());
        }
    }

    /// A step is done.
    pub fn step(&self) {
        self.bar.inc(1);
    }

    /// Takes the bar away.
    pub fn end(&mut self) {
        self.bar.finish_and_clear();
    }
}

impl Default for Console {
    fn default() -> Self {
        Self::new()
    }
}

impl Drop for Console {
    fn drop(&mut self) {
        self.end();
    }
}
