//! The command line.

use crate::commands::{certify, compare, fingerprint, gemm, info, train};
use crate::console::Console;
use crate::error::{Error, Result};
use clap::{Parser, Subcommand};
use std::io::{self, ErrorKind, Write};
use std::process::ExitCode;

const EXAMPLES: &str = "\
Examples:
  harness                          compare speed and accuracy with naive loops, about a minute
  harness --quick                  the same in some seconds
  harness train --seed 1           train on MNIST, draw the first predictions
  harness train --hidden 256,64 --threads 2 --json run.json
  KERNELS_ISA=avx2 harness train   pin a row of the kernels' table
  harness gemm 512 512 512         a product in depth; more in harness gemm --help
  harness info                     what the CPU offers, and where data was found

Exit codes: 0 all well, 1 an error or a failed check, 2 wrong usage.";

/// Compares SIMD kernels with naive loops in speed and accuracy, and trains on MNIST.
#[derive(Parser)]
#[command(name = "harness", version, after_help = EXAMPLES, args_conflicts_with_subcommands = true)]
struct Cli {
    #[command(subcommand)]
    command: Option<Command>,
    #[command(flatten)]
    compare: compare::Args,
}

#[derive(Subcommand)]
enum Command {
    /// Compare the kernels with naive loops: speed, error, training (the default)
    Compare(compare::Args),
    /// Measure matrix products in depth, against other libraries too
    Gemm(gemm::Args),
    /// Check the functions on all inputs, or a part of them, and write docs/accuracy.md
    Certify(certify::Args),
    /// Hash the results of a fixed deck of calls: the same lines on every machine and in every setting
    Fingerprint(fingerprint::Args),
    /// Train a multi-layer perceptron and draw its first predictions
    Train(train::Args),
    /// Show the CPU, the rows of the kernels' table, the caches and the data found
    Info(info::Args),
}

/// Reads the command line, does what it says, and answers with the exit code.
pub fn main() -> ExitCode {
    let cli = Cli::parse();
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads on, as under `| head`: what a shell tells of a program that SIGPIPE ends.
        Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(141),
        Err(error) => {
            // There is nobody left to tell if this fails.
            let _ = writeln!(io::stderr(), "error: {error}");
            if matches!(error, Error::Usage(_)) { ExitCode::from(2) } else { ExitCode::FAILURE }
        }
    }
}

fn run(cli: Cli) -> Result<()> {
    let mut console = Console::new();
    match cli.command.unwrap_or(Command::Compare(cli.compare)) {
        Command::Compare(args) => compare::run(&args, &mut console),
        Command::Gemm(args) => gemm::run(&args, &mut console),
        Command::Certify(args) => certify::run(&args, &mut console),
        Command::Fingerprint(args) => fingerprint::run(&args, &mut console),
        Command::Train(args) => train::run(&args, &mut console),
        Command::Info(args) => info::run(&args, &console),
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::CommandFactory;

    #[test]
    fn the_definition_is_sound() {
        Cli::command().debug_assert();
    }
}
