//! `--json`, which all commands share.

use crate::console::Console;
use crate::error::Result;
use crate::files;
use serde::Serialize;
use std::path::PathBuf;

/// Where the record goes.
#[derive(clap::Args)]
#[group(skip)]
pub struct Args {
    /// Also write the results to this file; - is standard output, and then text goes to standard error
    #[arg(long, value_name = "FILE")]
    json: Option<PathBuf>,
}

impl Args {
    fn is_standard_output(&self) -> bool {
        self.json.as_ref().is_some_and(|file| file.as_os_str() == "-")
    }

    /// Makes sure that the record can be written, before the work is done.
    pub fn prepare(&self, console: &mut Console) -> Result<()> {
        match &self.json {
            Some(_) if self.is_standard_output() => console.step_aside(),
            Some(file) => files::prepare(file)?,
            None => {}
        }
        Ok(())
    }

    /// Writes the record, if it was asked for.
    pub fn write(&self, record: &impl Serialize, console: &Console) -> Result<()> {
        let Some(file) = &self.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(record).expect("numbers and strings are always JSON") + "\n";
        if self.is_standard_output() { Ok(console.data(&text)?) } else { files::write_whole(file, &text) }
    }
}
