//! `blindfold gateway`: an Ethereum JSON-RPC on this machine for wallets that do not seal.

use super::node::{run_to_end, stop_requested};
use crate::{
    config::NodeConfig,
    gateway,
    run::{self, Loaded},
};
use clap::{Args, Subcommand};
use commonware_runtime::tokio as runtime;
use eyre::{Context as _, Result, bail};
use serde_json::json;
use std::{path::PathBuf, process::ExitCode};
use tracing::{error, info};

/// The gateway for wallets that do not seal.
#[derive(Debug, Subcommand)]
pub enum GatewayCommand {
    /// Write a configuration and make the key that pays; prints the payer's address.
    Init(InitArgs),
    /// Serve wallets until Ctrl-C.
    Run(RunArgs),
}

/// What to write.
#[derive(Debug, Args)]
pub struct InitArgs {
    /// The file to write; the payer's key goes beside it.
    #[arg(long, default_value = "gateway.toml")]
    config: PathBuf,
    /// The chain's genesis document, from a source you trust.
    #[arg(long, default_value = "genesis.json")]
    genesis: PathBuf,
    /// JSON-RPC of a member that takes the envelopes. May be repeated.
    #[arg(long)]
    submit: Vec<String>,
    /// A member's address for the follower: `IDENTITY@HOST:PORT`. May be repeated.
    #[arg(long, value_parser = parse_peer)]
    peer: Vec<crate::config::PeerConfig>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// How to run.
#[derive(Debug, Args)]
pub struct RunArgs {
    /// The gateway's configuration.
    #[arg(long, default_value = "gateway.toml")]
    config: PathBuf,
    /// Leave when standard input closes: for a supervisor that holds the other end.
    #[arg(long)]
    stop_with_stdin: bool,
    /// Print one JSON object once it serves.
    #[arg(long)]
    json: bool,
}

/// Runs a `gateway` command.
pub fn run(command: GatewayCommand) -> Result<ExitCode> {
    match command {
        GatewayCommand::Init(args) => init(args),
        GatewayCommand::Run(args) => run_gateway(args),
    }
}

fn parse_peer(text: &str) -> Result<crate::config::PeerConfig, String> {
    let wrong = || format!("{text} is not IDENTITY@HOST:PORT");
    let (digits, address) = text.split_once('@').ok_or_else(wrong)?;
    let mut identity = [0; 32];
    hex::decode_to_slice(digits.trim_start_matches("0x"), &mut identity).map_err(|_| wrong())?;
    Ok(crate::config::PeerConfig { identity, address: address.parse().map_err(|_| wrong())? })
}

fn init(args: InitArgs) -> Result<ExitCode> {
    let InitArgs { config: path, genesis, submit, peer, json } = args;
    if path.exists() {
        bail!("{} exists; it is never overwritten", path.display());
    }
    let mut config = NodeConfig {
        role: crate::config::Role::Follower,
        data_dir: "gateway-data".into(),
        genesis: std::path::absolute(genesis)?,
        ..NodeConfig::default()
    };
    config.gateway.submit = submit;
    config.network.peers = peer;
    config.check()?;
    let key = path.with_file_name(&config.gateway.payer_key);
    let payer = gateway::payer::create_key(&key)?;
    std::fs::write(&path, config.to_toml()?)
        .wrap_err_with(|| format!("cannot write {}", path.display()))?;
    if json {
        println!("{}", json!({ "payer": payer, "config": path, "payerKey": key }));
    } else {
        println!("{payer}");
        eprintln!(
            "wrote {} and {}; fill the escrow of {payer} before use",
            path.display(),
            key.display()
        );
    }
    Ok(ExitCode::SUCCESS)
}

fn run_gateway(args: RunArgs) -> Result<ExitCode> {
    let mut loaded = Loaded::read(&args.config)?;
    gateway::check(&loaded.config.gateway, &loaded.config.rpc)?;
    // One port, and it is the gateway's.
    loaded.config.rpc.enabled = false;
    run_to_end(loaded, |context, loaded| serve(context, loaded, args))
}

async fn serve(context: runtime::Context, loaded: Loaded, args: RunArgs) -> Result<ExitCode> {
    let NodeConfig { gateway: config, rpc, data_dir, .. } = loaded.config.clone();
    let mut node = run::start(context, loaded, |channels| channels).await?;
    let gateway = gateway::start(config, rpc, &data_dir, node.api.clone()).await?;
    match args.json {
        true => println!("{}", json!({ "url": gateway.url(), "payer": gateway.payer() })),
        false => println!("{}", gateway.url()),
    }
    let outcome = tokio::select! {
        reason = node.failed() => Err(eyre::eyre!("{reason}")),
        () = stop_requested(args.stop_with_stdin) => Ok(ExitCode::SUCCESS),
    };
    if let Err(reason) = &outcome {
        error!(target: "blindfold::node", %reason, "stopping");
    } else {
        info!(target: "blindfold::node", "stopping");
    }
    gateway.stop().await;
    node.stop().await;
    outcome
}
