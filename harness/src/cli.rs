//! The command line.

use crate::commands::{
    act, certify, compare, evaluate, export, fingerprint, gemm, import, info, monitor, predict, prune, quantize,
    report, step, train, tune,
};
use crate::console::Console;
use crate::error::{Error, Result};
use crate::interrupt;
use clap::{CommandFactory, FromArgMatches, Parser, Subcommand};
use clap_complete::Shell;
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
  harness predict digit.png        what the trained model takes an image for
  harness report                   a page with charts of all this
  harness info                     what the CPU offers, and where data was found
  harness completions bash > ~/.local/share/bash-completion/completions/harness

Exit codes: 0 all well, 1 an error or a failed check, 2 wrong usage, 130 ended by Ctrl-C, 141 nobody
read the output. Colours and bars are for terminals; NO_COLOR=1 turns colours off there too.";

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
    /// Measure one function in depth: exp, tanh, gelu, softmax and others
    Act(act::Args),
    /// Measure a training step, part by part
    Step(step::Args),
    /// Search for block sizes and thresholds that suit this CPU, and write them as a profile
    Tune(tune::Args),
    /// Write a page with charts of all that is measured, and its numbers as JSON and CSV
    Report(report::Args),
    /// Check the functions on all inputs, or a part of them, and write docs/accuracy.md
    Certify(certify::Args),
    /// Hash the results of a fixed deck of calls: the same lines on every machine and in every setting
    Fingerprint(fingerprint::Args),
    /// Train a multi-layer perceptron and draw its first predictions
    Train(train::Args),
    /// Show what a trained model takes images for: files, or images of the test set
    Predict(predict::Args),
    /// Print what a shell needs to complete commands
    Completions {
        /// The shell
        shell: Shell,
    },
    /// Measure a saved model on the test images
    Evaluate(evaluate::Args),
    /// Write a saved model for other programs: ONNX, NPZ, safetensors, Rust source
    Export(export::Args),
    /// Read a model that another program wrote: ONNX, NPZ, safetensors
    Import(import::Args),
    /// Make a saved model a quarter of its size: 8 bits instead of 32
    Quantize(quantize::Args),
    /// Put most weights of a saved model to 0, and train the others on
    Prune(prune::Args),
    /// Compare what a saved model meets and says with what it met and said in training
    Monitor(monitor::Args),
    /// Show the CPU, the rows of the kernels' table, the caches and the data found
    Info(info::Args),
}

/// Reads the command line, does what it says, and answers with the exit code.
pub fn main() -> ExitCode {
    interrupt::install();
    let cli = Cli::from_arg_matches(&command().get_matches()).unwrap_or_else(|error| error.exit());
    match run(cli) {
        Ok(()) => ExitCode::SUCCESS,
        // Nobody reads on, as under `| head`: what a shell tells of a program that SIGPIPE ends.
        Err(Error::Output(error)) if error.kind() == ErrorKind::BrokenPipe => ExitCode::from(141),
        Err(error) => {
            let interrupted = matches!(error, Error::Interrupted);
            // There is nobody left to tell if this fails.
            let _ = writeln!(io::stderr(), "{}{error}", if interrupted { "" } else { "error: " });
            match error {
                Error::Interrupted => ExitCode::from(interrupt::EXIT_CODE),
                Error::Usage(_) | Error::Twice { .. } | Error::SameName { .. } => ExitCode::from(2),
                _ => ExitCode::FAILURE,
            }
        }
    }
}

/// The command line, in which a negative number is a value: that it is too small is then what is said of it.
fn command() -> clap::Command {
    let negative = |command: clap::Command| {
        command.mut_args(|arg| {
            let value = arg.get_action().takes_values();
            arg.allow_negative_numbers(value)
        })
    };
    let command = negative(Cli::command()).mut_subcommands(negative);
    // No columns are those of a terminal that does not know; help then is as wide as in a file.
    if std::env::var_os("COLUMNS").is_some_and(|columns| columns == "0") { command.term_width(100) } else { command }
}

/// Whether a command line, the name of the program first, is well formed; nothing is done. For the fuzzer.
#[must_use]
pub fn accepts<'a>(arguments: impl IntoIterator<Item = &'a str>) -> bool {
    command().try_get_matches_from(arguments).is_ok_and(|matches| Cli::from_arg_matches(&matches).is_ok())
}

fn run(cli: Cli) -> Result<()> {
    let mut console = Console::new();
    match cli.command.unwrap_or(Command::Compare(cli.compare)) {
        Command::Compare(args) => compare::run(&args, &mut console),
        Command::Gemm(args) => gemm::run(&args, &mut console),
        Command::Act(args) => act::run(&args, &mut console),
        Command::Step(args) => step::run(&args, &mut console),
        Command::Tune(args) => tune::run(&args, &mut console),
        Command::Report(args) => report::run(&args, &mut console),
        Command::Certify(args) => certify::run(&args, &mut console),
        Command::Fingerprint(args) => fingerprint::run(&args, &mut console),
        Command::Train(args) => train::run(&args, &mut console),
        Command::Predict(args) => predict::run(&args, &mut console),
        Command::Completions { shell } => {
            let mut script = Vec::new();
            clap_complete::generate(shell, &mut command(), "harness", &mut script);
            Ok(console.data(&String::from_utf8_lossy(&script))?)
        }
        Command::Info(args) => info::run(&args, &mut console),
        Command::Evaluate(args) => evaluate::run(&args, &mut console),
        Command::Export(args) => export::run(&args, &mut console),
        Command::Import(args) => import::run(&args, &mut console),
        Command::Quantize(args) => quantize::run(&args, &mut console),
        Command::Prune(args) => prune::run(&args, &mut console),
        Command::Monitor(args) => monitor::run(&args, &mut console),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_definition_is_sound() {
        command().debug_assert();
    }
}
