//! The `blindfold` command.

use clap::Parser as _;
use mimalloc::MiMalloc;
use std::process::ExitCode;

// glibc's allocator hands memory back after every large block and takes page faults to get it again.
#[global_allocator]
static ALLOCATOR: MiMalloc = MiMalloc;

fn main() -> ExitCode {
    blindfold_node::cli::run(blindfold_node::cli::Cli::parse())
}
