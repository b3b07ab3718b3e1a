//! `blindfold bridge`: ether from L1 and back.
//!
//! ```text
//!  L1  ── deposit ──▶ forced queue ── a height that cannot leave it out ──▶ balance or escrow on L2
//!  L2  ── withdraw ─▶ outbox ── batch on L1 ── output, final after its window ──▶ claim on L1
//! ```
//!
//! Nothing is taken on the node's word: what a claim rests on is proven against the state root that L1 has, and checked
//! here before it is sent.

mod claim;
mod deposit;
mod stage;
mod withdraw;

use super::tx::{NodeArgs, connect, read_key};
use crate::{
    config::SettlementConfig,
    settlement::{self, Contracts},
};
use alloy_primitives::{Address, U64};
use blindfold_sdk::{Client, SigningKey, rpc::WithdrawalDocument};
use blindfold_settlement::l1::SharedL1;
use clap::{Args, Subcommand};
use eyre::{Context as _, Result};
use std::{path::PathBuf, process::ExitCode};
use tokio::runtime::Runtime;

/// Ether from L1 and back.
#[derive(Debug, Subcommand)]
pub enum BridgeCommand {
    /// Send ether from an account on L1 to one on L2, and wait until it is there.
    Deposit(deposit::DepositArgs),
    /// Send ether from an account on L2 to one on L1, where it is claimed later. Sealed like any transaction.
    Withdraw(withdraw::WithdrawArgs),
    /// List an account's withdrawals, and how far each has got.
    Withdrawals(claim::WithdrawalsArgs),
    /// Claim withdrawals on L1 whose time has come.
    Claim(claim::ClaimArgs),
}

/// Runs `blindfold bridge`. Exit code 0: done; 1: it came to nothing, or its time has not come.
///
/// # Errors
/// If the arguments make no sense, the node or L1 does not answer, or is of another chain.
pub fn run(command: BridgeCommand) -> Result<ExitCode> {
    match command {
        BridgeCommand::Deposit(args) => deposit::run(&args),
        BridgeCommand::Withdraw(args) => withdraw::run(&args),
        BridgeCommand::Withdrawals(args) => claim::list(&args),
        BridgeCommand::Claim(args) => claim::run(&args),
    }
}

/// The chain on both sides.
#[derive(Debug, Args)]
struct SidesArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// JSON-RPC of an L1 node.
    #[arg(long)]
    l1_rpc: String,
}

/// The L2 through a node, and the contracts on L1.
struct Sides {
    client: Client,
    runtime: Runtime,
    l1: SharedL1,
    contracts: Contracts,
}

impl Sides {
    fn reach(args: &SidesArgs) -> Result<Self> {
        let client = connect(&args.node)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
        let config =
            SettlementConfig { l1_rpc: args.l1_rpc.clone(), ..SettlementConfig::default() };
        let (l1, contracts) = runtime.block_on(async {
            let l1 = settlement::connect(&config)
                .await
                .wrap_err_with(|| format!("L1 at {}", args.l1_rpc))?;
            let contracts = Contracts::find(l1.as_ref(), client.committee().genesis()).await?;
            Ok::<_, eyre::Report>((l1, contracts))
        })?;
        if let Some(banner) = l1.kind().banner() {
            eprintln!("{banner}");
        }
        Ok(Self { client, runtime, l1, contracts })
    }

    /// All withdrawals of an account, as the node has them.
    fn withdrawals_of(&self, sender: Address) -> Result<Vec<WithdrawalDocument>> {
        let mut all: Vec<WithdrawalDocument> = Vec::new();
        loop {
            let first = all.last().map_or(0, |last| last.index.saturating_add(1));
            let page: Vec<WithdrawalDocument> =
                self.client.request("sealed_getWithdrawals", (sender, U64::from(first)))?;
            // A node that does not go on would keep us for ever.
            if page.first().is_none_or(|page| page.index < first) {
                return Ok(all);
            }
            all.extend(page);
        }
    }
}

/// The account that is meant: the one that is named, or else the key's.
fn account(named: Option<Address>, key_file: Option<&PathBuf>) -> Result<Address> {
    match named {
        Some(address) => Ok(address),
        None => Ok(read_key(key_file.map(PathBuf::as_path))?.address()),
    }
}

/// A key on L1, and who it is for the messages.
fn l1_key(key_file: Option<&PathBuf>) -> Result<SigningKey> {
    read_key(key_file.map(PathBuf::as_path)).wrap_err("the account on L1 that pays")
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::{CommandFactory as _, Parser};

    #[derive(Debug, Parser)]
    struct Line {
        #[command(subcommand)]
        command: BridgeCommand,
    }

    #[test]
    fn lines_mean_what_people_type() {
        Line::command().debug_assert();
        let parses = |line: &str| Line::try_parse_from(line.split(' ')).is_ok();
        for good in [
            "bridge deposit --l1-rpc http://l1 --amount 0.1ether",
            "bridge deposit --l1-rpc http://l1 --amount 5 --escrow --no-wait --json",
            "bridge withdraw --amount 2gwei",
            "bridge withdrawals --l1-rpc http://l1 --open",
            "bridge claim --l1-rpc http://l1",
            "bridge claim 0 7 --wait --l1-rpc http://l1",
        ] {
            assert!(parses(good), "{good}");
        }
        for bad in [
            "bridge deposit --amount 1",
            "bridge deposit --l1-rpc http://l1",
            "bridge withdraw --amount 1lira",
            "bridge claim --wait --l1-rpc http://l1",
            "bridge claim 1 --sender 0x0000000000000000000000000000000000000001 --l1-rpc http://l1",
            "bridge claim -1 --l1-rpc http://l1",
        ] {
            assert!(!parses(bad), "{bad}");
        }
    }
}
