//! `blindfold l1`: the embedded L1 as a server, for development.

use super::node::stop_requested;
use crate::l1::server::{L1Server, L1ServerConfig};
use alloy_primitives::{Address, U256};
use blindfold_settlement::l1::embedded::BANNER;
use clap::{Args, Subcommand};
use eyre::{Context as _, Result};
use serde_json::json;
use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

/// Wei of one ether.
const ETHER: u64 = 1_000_000_000_000_000_000;

/// An L1 for development on this machine.
#[derive(Debug, Subcommand)]
pub enum L1Command {
    /// Serve the embedded L1 (one process, no consensus: not a real L1) until Ctrl-C.
    Serve(ServeArgs),
}

/// How to serve.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// TCP address for JSON-RPC; loopback only.
    #[arg(long, default_value = "127.0.0.1:8546")]
    listen: SocketAddr,
    /// Chain id.
    #[arg(long, default_value_t = 31_337)]
    chain_id: u64,
    /// Seconds between blocks; 0 makes none but on demand, for which --admin is needed.
    #[arg(long, default_value_t = 1)]
    block_time: u64,
    /// Folder to keep the chain in; without it the chain ends with the process.
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// An account that has funds from the beginning: `ADDRESS=ETHER`. May be repeated.
    #[arg(long = "fund", value_parser = parse_fund)]
    funds: Vec<(Address, U256)>,
    /// Offer methods that make blocks and take them back, for tests.
    #[arg(long)]
    admin: bool,
    /// Leave when standard input closes: for a supervisor that holds the other end.
    #[arg(long)]
    stop_with_stdin: bool,
    /// Print one JSON object once it serves.
    #[arg(long)]
    json: bool,
}

fn parse_fund(text: &str) -> Result<(Address, U256), String> {
    let wrong = || format!("{text} is not ADDRESS=ETHER");
    let (address, ether) = text.split_once('=').ok_or_else(wrong)?;
    let ether: u64 = ether.parse().map_err(|_| wrong())?;
    Ok((address.parse().map_err(|_| wrong())?, U256::from(ether) * U256::from(ETHER)))
}

/// Runs an `l1` command.
pub fn run(command: L1Command) -> Result<ExitCode> {
    match command {
        L1Command::Serve(args) => {
            let runtime = tokio::runtime::Builder::new_multi_thread()
                .enable_all()
                .build()
                .wrap_err("cannot start the runtime")?;
            runtime.block_on(serve(args))
        }
    }
}

async fn serve(args: ServeArgs) -> Result<ExitCode> {
    let config = L1ServerConfig {
        listen: args.listen,
        chain_id: args.chain_id,
        block_time: (args.block_time > 0).then(|| Duration::from_secs(args.block_time)),
        data_dir: args.data_dir,
        alloc: args.funds,
        admin: args.admin,
    };
    let mut server = L1Server::start(config).await?;
    eprintln!("{BANNER}");
    match args.json {
        true => {
            println!("{}", json!({ "url": server.url(), "chainId": args.chain_id, "real": false }))
        }
        false => println!("{}", server.url()),
    }
    let outcome = tokio::select! {
        reason = server.failed() => Err(eyre::eyre!(reason)),
        () = stop_requested(args.stop_with_stdin) => Ok(ExitCode::SUCCESS),
    };
    server.stop().await;
    outcome
}
