//! `blindfold demo`: members that break rules, and what it costs them. Only in builds with the feature `demo`.

mod auditor;

use super::devnet::{
    self,
    l1::{DevL1, L1Args},
    rng::Choices,
};
use crate::{
    config::NodeConfig,
    settlement::{Contracts, read},
};
use alloy_network::ReceiptResponse as _;
use alloy_primitives::{Address, B256, Bytes, U256};
use alloy_provider::Provider as _;
use alloy_sol_types::SolEvent as _;
use auditor::Auditor;
use blindfold_sdk::SigningKey;
use blindfold_settlement::{
    bindings::{BatchInbox, Slasher, StakeVault},
    evidence::{Offence, OffenceKind},
    l1::{SharedL1, sending},
};
use blindfold_wire::Genesis;
use clap::{Args, Subcommand};
use eyre::{OptionExt as _, Result, ensure};
use serde_json::json;
use std::{
    path::PathBuf,
    process::ExitCode,
    time::{Duration, Instant},
};

/// The member that posts another order.
const CULPRIT: usize = 1;
/// How long its batch may take.
const BATCH_TIMEOUT: Duration = Duration::from_secs(240);
/// What the reporter has for gas, in wei.
const REPORTER_WEI: u128 = 1_000_000_000_000_000_000;

/// Demonstrations.
#[derive(Debug, Subcommand)]
pub enum DemoCommand {
    /// One member posts a reordered batch: it is found from L1's data, proven, and the stake burns.
    Slash(SlashArgs),
}

/// How to show it.
#[derive(Debug, Args)]
pub struct SlashArgs {
    /// Number of members.
    #[arg(long, default_value_t = 4)]
    nodes: usize,
    /// Fixes keys and the wallets' choices.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    #[command(flatten)]
    l1: L1Args,
    /// Folder for keys, databases and logs [default: a new one, removed at the end].
    #[arg(long)]
    data_dir: Option<PathBuf>,
    /// Print one JSON object as the last line.
    #[arg(long)]
    json: bool,
}

/// What came of it.
struct Slashed {
    kind: OffenceKind,
    culprit: Address,
    stake_before: U256,
    stake_after: U256,
    reward: U256,
    gas: u64,
}

/// Runs a demonstration. Exit code 0 if the culprit, and nobody else, lost its stake.
///
/// # Errors
/// If the network does not run, or nothing is found.
pub fn run(command: DemoCommand) -> Result<ExitCode> {
    let DemoCommand::Slash(args) = command;
    let slashed = devnet::stage(
        &devnet::Stage {
            nodes: args.nodes,
            seed: args.seed,
            l1: args.l1.clone(),
            data_dir: args.data_dir.clone(),
        },
        &|member, config: &mut NodeConfig| config.settlement.reorder = member == CULPRIT,
        &mut |l1, genesis| watch_and_report(l1, genesis, args.seed),
    )?;
    println!(
        "{} by {}: stake {} wei before, {} after; {} to the reporter, the rest burned; {} gas",
        slashed.kind.name(),
        slashed.culprit,
        slashed.stake_before,
        slashed.stake_after,
        slashed.reward,
        slashed.gas
    );
    if args.json {
        println!(
            "{}",
            json!({
                "offence": slashed.kind.name(),
                "culprit": slashed.culprit,
                "stake_before_wei": slashed.stake_before.to_string(),
                "stake_after_wei": slashed.stake_after.to_string(),
                "reward_wei": slashed.reward.to_string(),
                "gas": slashed.gas,
            })
        );
    }
    let good = slashed.stake_after.is_zero() && !slashed.reward.is_zero();
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Reads batch after batch from L1 until one is wrong, and reports it.
fn watch_and_report(l1: &DevL1, genesis: &Genesis, seed: u64) -> Result<Slashed> {
    let (runtime, chain, deployer, _, from_block) = l1.parts();
    let culprit = genesis.committee.members.get(CULPRIT).ok_or_eyre("too few members")?.signer;
    let mut auditor = Auditor::new(genesis)?;
    let deadline = Instant::now() + BATCH_TIMEOUT;
    let offence = loop {
        let batches = runtime.block_on(read::batches(chain.as_ref(), genesis, from_block))?;
        let known = auditor.batches().len();
        let mut found = Vec::new();
        for batch in batches.iter().skip(known) {
            eprintln!(
                "batch {} by {}: heights {} to {}, {} openings",
                batch.header.index,
                batch.header.poster,
                batch.header.first_height,
                batch.header.last_height,
                batch.header.opening_count
            );
            found = auditor.look(batch)?;
            if !found.is_empty() {
                break;
            }
        }
        if let Some(offence) = found.into_iter().next() {
            break offence;
        }
        ensure!(Instant::now() < deadline, "no wrong batch within {BATCH_TIMEOUT:?}");
        std::thread::sleep(Duration::from_millis(500));
    };
    let accused = offence.verify(&auditor.chain, auditor.batches())?;
    eprintln!("found: {} by {}", accused.kind.name(), accused.signer);
    ensure!(accused.signer == culprit, "the wrong one is accused: {}", accused.signer);
    let evidence = offence.to_call(&auditor.chain)?;
    let reporter = SigningKey::random(Choices::new(seed, "reporter").bytes());
    runtime.block_on(report(
        chain,
        deployer,
        &reporter,
        genesis,
        &offence,
        accused.signer,
        evidence.into(),
    ))
}

/// Commits to the report, waits, reveals it, and looks what became of the stake.
async fn report(
    l1: &SharedL1,
    deployer: &SigningKey,
    reporter: &SigningKey,
    genesis: &Genesis,
    offence: &Offence,
    culprit: Address,
    evidence: Bytes,
) -> Result<Slashed> {
    let funding = sending(l1.as_ref(), deployer);
    let give = alloy_rpc_types_eth::TransactionRequest::default();
    let give = give.to(reporter.address()).value(U256::from(REPORTER_WEI));
    funding.send_transaction(give).await?.get_receipt().await?;

    let inbox = BatchInbox::new(genesis.settlement, l1.provider());
    let _ = Contracts::find(l1.as_ref(), genesis).await?;
    let contracts = inbox.contracts().call().await?;
    let vault = StakeVault::new(contracts.vault, l1.provider());
    let slasher = Slasher::new(contracts.slasher, sending(l1.as_ref(), reporter));
    let stake_before = vault.stakeOf(culprit).call().await?;

    let salt = B256::repeat_byte(0x5a);
    let hash = alloy_primitives::keccak256(&evidence);
    let commit = slasher.commitOf(reporter.address(), hash, salt).call().await?;
    let committed = slasher.commitReport(commit).send().await?.get_receipt().await?;
    ensure!(committed.status(), "the commitment to the report was refused");
    eprintln!("reported in secret in L1 block {:?}", committed.block_number());
    let wait_until = committed.block_number().unwrap_or_default() + 2;
    while l1.heads().await?.latest.number < wait_until {
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
    let revealed = slasher.report(evidence, salt).send().await?.get_receipt().await?;
    ensure!(revealed.status(), "the report was refused");
    let event = revealed
        .logs()
        .iter()
        .find_map(|log| Slasher::Slashed::decode_log(&log.inner).ok())
        .ok_or_eyre("the report was taken without anybody being slashed")?;
    Ok(Slashed {
        kind: offence.kind(),
        culprit: event.culprit,
        stake_before,
        stake_after: vault.stakeOf(culprit).call().await?,
        reward: event.reward,
        gas: revealed.gas_used(),
    })
}
