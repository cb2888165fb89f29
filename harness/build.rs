//! Tells the program what it was built from and with.

use std::env;
use std::path::Path;
use std::process::Command;

fn main() {
    println!("cargo::rerun-if-changed=build.rs");
    // A commit moves one of these; the second is the branch's own file, or packed.
    for file in ["../.git/HEAD", "../.git/logs/HEAD"] {
        if Path::new(file).exists() {
            println!("cargo::rerun-if-changed={file}");
        }
    }
    set("HARNESS_COMMIT", said_by("git", &["describe", "--always", "--abbrev=12", "--exclude=*"]));
    set("HARNESS_RUSTC", env::var("RUSTC").ok().and_then(|rustc| said_by(&rustc, &["--version"])));
    set("HARNESS_RUSTFLAGS", env::var("CARGO_ENCODED_RUSTFLAGS").ok().map(|flags| flags.replace('\u{1f}', " ")));
}

/// What a program printed, where it can be run at all.
fn said_by(program: &str, args: &[&str]) -> Option<String> {
    let output = Command::new(program).args(args).output().ok()?;
    output.status.success().then(|| String::from_utf8_lossy(&output.stdout).trim().to_owned())
}

fn set(name: &str, value: Option<String>) {
    if let Some(value) = value.filter(|value| !value.is_empty()) {
        println!("cargo::rustc-env={name}={value}");
    }
}
