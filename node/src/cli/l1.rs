//! `blindfold l1`: the settlement contracts on an L1, and an embedded L1 for development.

use super::{node::stop_requested, tx::read_key};
use crate::{
    config::SettlementConfig,
    l1::{self, serve},
    settlement::leader_table,
};
use alloy_primitives::{Address, U256};
use alloy_provider::Provider as _;
use blindfold_settlement::{
    deploy::{self, DeploymentPlan, L1Params},
    l1::{L1, embedded},
};
use blindfold_wire::Genesis;
use clap::{Args, Subcommand};
use eyre::{Context as _, Result, ensure};
use serde_json::json;
use std::{net::SocketAddr, path::PathBuf, process::ExitCode, time::Duration};

/// The settlement contracts, and an embedded L1.
#[derive(Debug, Subcommand)]
pub enum L1Command {
    /// Run an embedded L1 for development until Ctrl-C. It is no real L1.
    Serve(ServeArgs),
    /// Say where an account's contracts will be: the inbox goes into the genesis document.
    Plan(PlanArgs),
    /// Put the contracts on an L1, for a genesis document that names the planned inbox. May be called again
    /// after it broke off.
    Deploy(DeployArgs),
}

/// How to serve.
#[derive(Debug, Args)]
pub struct ServeArgs {
    /// TCP address of its JSON-RPC.
    #[arg(long, default_value = "127.0.0.1:8546")]
    listen: SocketAddr,
    /// Chain id.
    #[arg(long, default_value_t = 31_337)]
    chain_id: u64,
    /// Milliseconds between two blocks.
    #[arg(long, default_value_t = 1_000)]
    block_time_ms: u64,
    /// An account to fund at the start: `0xADDRESS=WEI`. May be repeated.
    #[arg(long, value_parser = super::committee::parse_allocation)]
    fund: Vec<(Address, U256)>,
    /// Folder that keeps the chain [default: none, it is gone at the end].
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Let callers make blocks and reorgs: for tests.
    #[arg(long)]
    admin: bool,
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

/// Runs an `l1` command.
///
/// # Errors
/// If the arguments make no sense, a file or port cannot be had, or L1 refuses.
pub fn run(command: L1Command) -> Result<ExitCode> {
    match command {
        L1Command::Serve(args) => serve(args),
        L1Command::Plan(args) => {
            let plan = DeploymentPlan::new(args.deployer, args.nonce);
            println!("{}", json!({ "settlement": plan.settlement_address(), "contracts": plan.addresses() }));
            Ok(ExitCode::SUCCESS)
        }
        L1Command::Deploy(args) => deploy(&args),
    }
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    Ok(tokio::runtime::Builder::new_multi_thread().worker_threads(1).enable_all().build()?)
}

fn serve(args: ServeArgs) -> Result<ExitCode> {
    let chain = embedded::Config { chain_id: args.chain_id, alloc: args.fund, ..embedded::Config::default() };
    let options = serve::Options {
        chain,
        listen: args.listen,
        block_time: Duration::from_millis(args.block_time_ms),
        folder: args.data_dir,
        admin: args.admin,
    };
    runtime()?.block_on(async {
        let server = serve::Server::start(options).await?;
        eprintln!("{}", embedded::BANNER);
        println!("{}", server.url());
        stop_requested(false).await;
        server.stop().await;
        Ok(ExitCode::SUCCESS)
    })
}

fn deploy(args: &DeployArgs) -> Result<ExitCode> {
    let text = std::fs::read_to_string(&args.genesis)
        .wrap_err_with(|| format!("cannot read {}", args.genesis.display()))?;
    let genesis = Genesis::from_json(&text)?;
    genesis.validate()?;
    let params = match &args.params {
        Some(path) => {
            let text = std::fs::read_to_string(path)
                .wrap_err_with(|| format!("cannot read {}", path.display()))?;
            serde_json::from_str(&text).wrap_err_with(|| format!("{}", path.display()))?
        }
        None => L1Params {
            forced_delay_blocks: genesis.params.forced_delay_blocks,
            forced_deadline_blocks: genesis.params.forced_deadline_blocks,
            ..L1Params::default()
        },
    };
    ensure!(
        params.forced_delay_blocks == genesis.params.forced_delay_blocks
            && params.forced_deadline_blocks == genesis.params.forced_deadline_blocks,
        "the delays of forced items differ from those in the genesis document"
    );
    let key = read_key(Some(&args.key_file))?;
    let plan = DeploymentPlan::new(key.address(), args.nonce);
    let table = leader_table(&genesis)?;
    let creations = deploy::creations(&plan, &genesis, table.signers(), &params)?;
    let config = SettlementConfig { l1_rpc: args.l1_rpc.clone(), ..SettlementConfig::default() };
    let pause = || -> futures::future::BoxFuture<'static, ()> {
        Box::pin(tokio::time::sleep(Duration::from_secs(1)))
    };
    let (gas, from_block) = runtime()?.block_on(async {
        let l1 = l1::connect(&config).await.wrap_err_with(|| format!("L1 at {}", args.l1_rpc))?;
        if let Some(banner) = l1.kind().banner() {
            eprintln!("{banner}");
        }
        let from_block = l1.provider().get_block_number().await?;
        let gas =
            deploy::deploy(l1.as_ref(), &key, &plan, &creations, &genesis, &pause).await?;
        Ok::<_, eyre::Report>((gas, from_block))
    })?;
    println!("{}", json!({ "contracts": plan.addresses(), "fromBlock": from_block, "gas": gas }));
    Ok(ExitCode::SUCCESS)
}
