//! `blindfold l1`: the embedded L1 as a server, for development; contracts on any L1, and the fallback of their forced
//! queue.

mod fallback;

use super::{node::stop_requested, tx::read_key};
use crate::{
    l1::{
        Sleep,
        http::{self, HttpOptions},
        server::{L1Server, L1ServerConfig},
    },
    settlement::leader_table,
};
use alloy_primitives::{Address, U256};
use alloy_provider::Provider as _;
use blindfold_settlement::{
    deploy::{self, DeploymentPlan, L1Params},
    l1::{L1 as _, embedded::BANNER},
};
use blindfold_wire::Genesis;
use clap::{Args, Subcommand};
use eyre::{Context as _, Result, ensure};
use serde_json::json;
use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

/// Wei of one ether.
const ETHER: u64 = 1_000_000_000_000_000_000;

/// An L1 for development on this machine, and what anyone may do on any.
#[derive(Debug, Subcommand)]
pub enum L1Command {
    /// Serve the embedded L1 (one process, no consensus: not a real L1) until Ctrl-C.
    Serve(ServeArgs),
    /// Say where an account's contracts will be: the inbox goes into the genesis document.
    Plan(PlanArgs),
    /// Put the contracts on an L1, for a genesis document that names the planned inbox. May be called again
    /// after it broke off.
    Deploy(DeployArgs),
    /// Take forced items that waited for too long out of the committee's hands: no batch of it counts from then on
    /// that has not consumed them. Anyone may.
    Fallback(fallback::FallbackArgs),
}

/// Which account deploys.
#[derive(Debug, Args)]
pub struct PlanArgs {
    /// The account.
    #[arg(long)]
    deployer: Address,
    /// Its nonce when it deploys.
    #[arg(long, default_value_t = 0)]
    nonce: u64,
}

/// What to deploy.
#[derive(Debug, Args)]
pub struct DeployArgs {
    /// JSON-RPC of the L1.
    #[arg(long)]
    l1_rpc: String,
    /// File with the deployer's secret key.
    #[arg(long)]
    key_file: PathBuf,
    /// The deployer's nonce at which it was planned.
    #[arg(long, default_value_t = 0)]
    nonce: u64,
    /// The chain's genesis document.
    #[arg(long, default_value = "genesis.json")]
    genesis: PathBuf,
    /// File with the L1 parameters as JSON [default: days where people must be able to react].
    #[arg(long)]
    params: Option<PathBuf>,
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
        L1Command::Plan(args) => {
            let plan = DeploymentPlan::new(args.deployer, args.nonce);
            let (settlement, contracts) = (plan.settlement_address(), plan.addresses());
            println!("{}", json!({ "settlement": settlement, "contracts": contracts }));
            Ok(ExitCode::SUCCESS)
        }
        L1Command::Deploy(args) => deploy_contracts(&args),
        L1Command::Fallback(args) => fallback::run(&args),
    }
}

fn deploy_contracts(args: &DeployArgs) -> Result<ExitCode> {
    let text = std::fs::read_to_string(&args.genesis)
        .wrap_err_with(|| format!("cannot read {}", args.genesis.display()))?;
    let genesis = Genesis::from_json(&text)?;
    genesis.validate()?;
    let (delay, deadline) =
        (genesis.params.forced_delay_blocks, genesis.params.forced_deadline_blocks);
    let params = match &args.params {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .wrap_err_with(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str(&text).wrap_err_with(|| format!("{}", path.display()))?
        }
        None => L1Params {
            forced_delay_blocks: delay,
            forced_deadline_blocks: deadline,
            ..L1Params::default()
        },
    };
    ensure!(
        (params.forced_delay_blocks, params.forced_deadline_blocks) == (delay, deadline),
        "the delays of forced items differ from those in the genesis document"
    );
    let key = read_key(Some(&args.key_file))?;
    let plan = DeploymentPlan::new(key.address(), args.nonce);
    let table = leader_table(&genesis)?;
    let creations = deploy::creations(&plan, &genesis, &table, &params)?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let (gas, from_block) = runtime.block_on(async {
        let l1 = http::connect(&args.l1_rpc, &HttpOptions::default()).await?;
        if let Some(banner) = l1.kind().banner() {
            eprintln!("{banner}");
        }
        let from_block = l1.provider().get_block_number().await?;
        let pace = Sleep(Duration::from_secs(1));
        let gas = deploy::deploy(&l1, &key, &plan, &creations, &genesis, &pace).await?;
        Ok::<_, eyre::Report>((gas, from_block))
    })?;
    println!("{}", json!({ "contracts": plan.addresses(), "fromBlock": from_block, "gas": gas }));
    Ok(ExitCode::SUCCESS)
}

async fn serve(args: ServeArgs) -> Result<ExitCode> {
    let config = L1ServerConfig {
        listen: args.listen,
        chain_id: args.chain_id,
        block_time: (args.block_time > 0).then(|| Duration::from_secs(args.block_time)),
        data_dir: args.data_dir,
        genesis_timestamp_s: None,
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
