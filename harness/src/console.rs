//! Lines on standard output, and a progress bar on standard error where that is a terminal. Colours only where a person
//! looks: not in files and pipes, nor where `NO_COLOR` is set.

use anstyle::{AnsiColor, Style};
use indicatif::{ProgressBar, ProgressDrawTarget, ProgressStyle};
use std::fmt;
use std::io::{self, Write};

/// What must not be overlooked.
pub const BAD: Style = AnsiColor::Red.on_default().bold();
/// What went well.
pub const GOOD: Style = AnsiColor::Green.on_default();
/// Headings.
pub const STRONG: Style = Style::new().bold();

/// Text in a style.
pub fn styled(style: Style, text: impl fmt::Display) -> String {
    format!("{style}{text}{style:#}")
}

/// The one place that prints.
pub struct Console {
    bar: ProgressBar,
    /// Standard output is for a record, so text goes to standard error.
    beside: bool,
}

impl Console {
    /// A console without a progress bar.
    pub fn new() -> Self {
        Self { bar: ProgressBar::hidden(), beside: false }
    }

    /// From now on standard output is for data, and text goes to standard error.
    pub fn step_aside(&mut self) {
        self.beside = true;
    }

    /// Prints text that ends its own lines.
    pub fn print(&self, text: impl fmt::Display) -> io::Result<()> {
        // anstream takes styles away where they are not wanted.
        self.bar.suspend(|| {
            if self.beside {
                return write!(anstream::stderr().lock(), "{text}");
            }
            let mut out = anstream::stdout().lock();
            write!(out, "{text}")?;
            out.flush()
        })
    }

    /// Prints a line.
    pub fn line(&self, text: impl fmt::Display) -> io::Result<()> {
        self.print(format_args!("{text}\n"))
    }

    /// Writes data to standard output as they are.
    pub fn data(&self, text: &str) -> io::Result<()> {
        self.bar.suspend(|| io::stdout().lock().write_all(text.as_bytes()))
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

    /// So many steps are done.
    pub fn set(&self, steps: u64) {
        self.bar.set_position(steps);
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
