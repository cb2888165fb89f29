//! `harness info`: what the CPU offers, what the kernels make of it, and where data was found.

use crate::console::Console;
use crate::error::{Error, Result};
use crate::{files, machine};
use kernels::Backend;
use nn::Mnist;
use std::path::PathBuf;

/// Arguments of the command.
#[derive(clap::Args)]
pub struct Args {
    /// Directory with the four MNIST files [default: data/mnist]
    #[arg(long, value_name = "DIR")]
    data: Option<PathBuf>,
}

/// Prints all that can be found out, then fails if the kernels or the data can't be used.
pub fn run(args: &Args, console: &Console) -> Result<()> {
    let unknown = || "unknown".to_owned();
    let caches: Vec<String> = machine::caches().iter().map(ToString::to_string).collect();
    console.line(format_args!("cpu      {} ({})", machine::cpu().unwrap_or_else(unknown), std::env::consts::ARCH))?;
    console.line(format_args!("cores    {}", machine::cores()))?;
    console.line(format_args!("caches   {}", if caches.is_empty() { unknown() } else { caches.join(", ") }))?;

    let active = Backend::active();
    for (i, (name, about, supported)) in Backend::table().enumerate() {
        let state = match &active {
            Ok(active) if active.name() == name => "chosen",
            _ if supported => "supported",
            _ => "not on this CPU",
        };
        let heading = if i == 0 { "isa" } else { "" };
        console.line(format_args!("{heading:<8} {name:<9} {state}: {about}"))?;
    }
    let pin = std::env::var_os("KERNELS_ISA").map(|pin| pin.to_string_lossy().into_owned());
    console.line(format_args!(
        "pin      {}",
        match pin {
            Some(pin) => format!("KERNELS_ISA={pin}"),
            None => "none; KERNELS_ISA=NAME chooses another row".to_owned(),
        }
    ))?;

    let data = match files::data_dir(args.data.as_deref()) {
        // Without data the kernels can still be used.
        Err(missing @ Error::NoData { .. }) => {
            console.line(format_args!("data     {missing}"))?;
            Ok(())
        }
        Err(error) => Err(error),
        Ok(dir) => Mnist::load(&dir).map_err(Error::from).and_then(|mnist| {
            let (train, test) = (&mnist.train, &mnist.test);
            let (dir, height, width) = (dir.display(), train.height(), train.width());
            console.line(format_args!(
                "data     {dir}: {} + {} images of {height}x{width}",
                train.len(),
                test.len()
            ))?;
            Ok(())
        }),
    };
    active?;
    data
}
