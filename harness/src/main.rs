//! The program; see `harness --help`.

#![forbid(unsafe_code)]

fn main() -> std::process::ExitCode {
    harness::cli::main()
}
