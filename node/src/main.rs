//! The `blindfold` command.

use clap::Parser as _;
use std::process::ExitCode;

fn main() -> ExitCode {
    blindfold_node::cli::run(blindfold_node::cli::Cli::parse())
}
