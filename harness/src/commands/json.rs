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
        self.json.as_ref().is_some_and(|file| file.as_os_str() == "-" || file.as_os_str() == "/dev/stdout")
    }

    /// Makes sure that the record and the other outputs of the command can be written, before the work is done, and
    /// replace neither its inputs nor the kernels' profile; see [`files::prepare`].
    pub fn prepare<'a>(
        &'a self,
        inputs: impl IntoIterator<Item = &'a PathBuf>,
        outputs: impl IntoIterator<Item = &'a PathBuf>,
        console: &mut Console,
    ) -> Result<()> {
        let (inputs, profile): (Vec<&PathBuf>, _) = (inputs.into_iter().collect(), files::profile());
        files::prepare(inputs.into_iter().chain(&profile), self.outputs(outputs, console))
    }

    /// These outputs, and the record where it goes to a file; where it goes to standard output, text makes room for it.
    pub fn outputs<'a>(
        &'a self,
        outputs: impl IntoIterator<Item = &'a PathBuf>,
        console: &mut Console,
    ) -> Vec<&'a PathBuf> {
        let mut outputs: Vec<&PathBuf> = outputs.into_iter().collect();
        match &self.json {
            Some(_) if self.is_standard_output() => console.step_aside(),
            Some(file) => outputs.push(file),
            None => {}
        }
        outputs
    }

    /// Writes the record, if it was asked for.
    pub fn write(&self, record: &impl Serialize, console: &Console) -> Result<()> {
        let Some(file) = &self.json else { return Ok(()) };
        let text = serde_json::to_string_pretty(record).expect("numbers and strings are always JSON") + "\n";
        if self.is_standard_output() { Ok(console.data(&text)?) } else { files::write_whole(file, &text) }
    }
}
