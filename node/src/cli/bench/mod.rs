//! `blindfold bench`: measurements of a whole network on this machine.

mod load;
mod progress;

use clap::Subcommand;
use eyre::Result;
use std::process::ExitCode;

/// Measurements on this machine.
#[derive(Debug, Subcommand)]
pub enum BenchCommand {
    /// Drive a devnet with sealed transactions and measure rate, latencies, CPU and bytes.
    Load(load::LoadArgs),
}

/// Runs a `bench` command.
pub fn run(command: BenchCommand) -> Result<ExitCode> {
    match command {
        BenchCommand::Load(args) => load::run(&args),
    }
}
