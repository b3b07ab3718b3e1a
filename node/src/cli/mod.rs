//! The command line: one file a command, results on stdout, logs on stderr.
//!
//! Exit codes: 0 good, 1 a negative verdict, 2 an error. Errors end with what to do.

pub mod bench;
pub mod bridge;
pub mod committee;
#[cfg(feature = "demo")]
pub mod demo;
pub mod devnet;
pub mod gateway;
pub mod inspect;
pub mod l1;
pub mod node;
mod queued;
pub mod replay_blocks;
pub mod tx;
pub mod witness;

use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// An encrypted-mempool sequencer: order first, read later, prove it to anyone.
#[derive(Debug, Parser)]
#[command(name = "blindfold", version, propagate_version = true)]
pub struct Cli {
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    /// Run a whole network on this machine, with wallets and a bot that tries to sandwich them.
    Devnet(devnet::DevnetArgs),
    /// Measure a whole network on this machine.
    #[command(subcommand)]
    Bench(bench::BenchCommand),
    /// One member or follower.
    #[command(subcommand)]
    Node(node::NodeCommand),
    /// An Ethereum JSON-RPC on this machine for wallets that do not seal.
    #[command(subcommand)]
    Gateway(gateway::GatewayCommand),
    /// Committee keys.
    #[command(subcommand)]
    Committee(committee::CommitteeCommand),
    /// The settlement contracts on an L1, and an embedded L1 for development.
    #[command(subcommand)]
    L1(l1::L1Command),
    /// Ether from L1 and back.
    #[command(subcommand)]
    Bridge(Box<bridge::BridgeCommand>),
    /// Show what happens to a member that breaks a rule.
    #[cfg(feature = "demo")]
    #[command(subcommand)]
    Demo(demo::DemoCommand),
    /// A wallet on the command line.
    #[command(subcommand)]
    Tx(Box<tx::TxCommand>),
    /// Decode anything the protocol signs, stores or sends.
    #[command(subcommand)]
    Inspect(inspect::InspectCommand),
}

/// Runs a parsed command line.
pub fn run(cli: Cli) -> ExitCode {
    let result = match cli.command {
        Command::Devnet(args) => devnet::run(args),
        Command::Bench(command) => bench::run(command),
        Command::Node(command) => node::run(command),
        Command::Gateway(command) => gateway::run(command),
        Command::L1(command) => l1::run(command),
        Command::Bridge(command) => bridge::run(*command),
        Command::Committee(command) => committee::run(command),
        #[cfg(feature = "demo")]
        Command::Demo(command) => demo::run(command),
        Command::Tx(command) => tx::run(*command),
        Command::Inspect(command) => inspect::run(command),
    };
    match result {
        Ok(code) => code,
        Err(report) => {
            eprintln!("error: {report:#}");
            ExitCode::from(2)
        }
    }
}
