//! devnet
pub mod contracts;
pub mod processes;
pub mod rng;
pub mod summary;
use std::process::ExitCode;
/// Args.
#[derive(Debug, clap::Args)]
pub struct DevnetArgs {}
/// run
pub fn run(_: DevnetArgs) -> eyre::Result<ExitCode> { Ok(ExitCode::SUCCESS) }
