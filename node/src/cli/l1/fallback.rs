//! `blindfold l1 fallback`: forced items that waited for too long, posted past the committee.

use crate::{
    cli::tx::read_key,
    config::SettlementConfig,
    settlement::{self, Contracts},
};
use alloy_network::ReceiptResponse as _;
use alloy_primitives::B256;
use alloy_provider::Provider as _;
use alloy_sol_types::SolEvent as _;
use blindfold_sdk::SigningKey;
use blindfold_settlement::{
    bindings::{BatchInbox, ForcedQueue},
    l1::sending,
};
use blindfold_wire::Genesis;
use clap::Args;
use eyre::{Context as _, OptionExt as _, Result, ensure};
use serde_json::json;
use std::{path::PathBuf, process::ExitCode};

/// Arguments of `l1 fallback`.
#[derive(Debug, Args)]
pub struct FallbackArgs {
    /// JSON-RPC of the L1.
    #[arg(long)]
    l1_rpc: String,
    /// File with the secret key of the L1 account that pays for the transaction; any will do.
    #[arg(long)]
    key_file: PathBuf,
    /// The chain's genesis document.
    #[arg(long, default_value = "genesis.json")]
    genesis: PathBuf,
    /// Take the first so many items of the queue [default: all that are in it].
    #[arg(long)]
    up_to: Option<u64>,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What L1 made of it.
struct Posted {
    from: u64,
    to: u64,
    batch: u64,
    block: u64,
    transaction: B256,
}

/// Runs `l1 fallback`.
///
/// # Errors
/// If nothing has waited for long enough, or L1 does not take it.
pub(super) fn run(args: &FallbackArgs) -> Result<ExitCode> {
    let text = std::fs::read_to_string(&args.genesis)
        .wrap_err_with(|| format!("cannot read {}", args.genesis.display()))?;
    let genesis = Genesis::from_json(&text)?;
    let key = read_key(Some(&args.key_file))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let posted = runtime.block_on(post(&args.l1_rpc, &genesis, &key, args.up_to))?;
    let Posted { from, to, batch, block, transaction } = posted;
    if args.json {
        let result = json!({
            "from": from, "to": to, "batch": batch, "l1Block": block, "l1Transaction": transaction,
        });
        println!("{result}");
    } else {
        println!("taken  items {from} to {}, in batch {batch}", to.saturating_sub(1));
        println!("L1     {transaction} in block {block}");
    }
    Ok(ExitCode::SUCCESS)
}

async fn post(
    l1_rpc: &str,
    genesis: &Genesis,
    key: &SigningKey,
    up_to: Option<u64>,
) -> Result<Posted> {
    let config = SettlementConfig { l1_rpc: l1_rpc.to_owned(), ..SettlementConfig::default() };
    let l1 = settlement::connect(&config).await.wrap_err_with(|| format!("L1 at {l1_rpc}"))?;
    let contracts = Contracts::find(l1.as_ref(), genesis).await?;
    let queue = ForcedQueue::new(contracts.queue, l1.provider());
    let inbox = BatchInbox::new(contracts.inbox, sending(l1.as_ref(), key));
    let (first, length) = (inbox.head().call().await?.forcedHead, queue.length().call().await?);
    ensure!(first < length, "no forced item waits: batches have consumed all {length}");
    let came = queue.blockOf(first).call().await?;
    let from_block = came.saturating_add(inbox.forcedFallbackBlocks().call().await?);
    // The transaction is in a later block than the newest.
    let next = l1.provider().get_block_number().await?.saturating_add(1);
    ensure!(
        from_block <= next,
        "item {first} came in L1 block {came}, so it is the committee's until block {from_block}; the next is {next}"
    );
    let up_to = up_to.unwrap_or(length);
    ensure!(
        first < up_to && up_to <= length,
        "items {first} to {} wait; --up-to must be above {first}, and {length} at most",
        length.saturating_sub(1)
    );
    let sent = inbox.postForced(up_to).send().await.wrap_err_with(|| {
        format!("L1 refused; does {} have gas, and did nobody come first?", key.address())
    })?;
    let receipt = sent.get_receipt().await.wrap_err("sent to L1, its end there is unknown")?;
    let transaction = receipt.transaction_hash();
    ensure!(receipt.status(), "the inbox refused, in L1 transaction {transaction}");
    let logs = || receipt.logs().iter().filter(|log| log.address() == contracts.inbox);
    let unsaid = "L1 took the transaction without taking the items";
    let taken = logs()
        .find_map(|log| BatchInbox::ForcedPosted::decode_log(&log.inner).ok())
        .ok_or_eyre(unsaid)?;
    let batch = logs()
        .find_map(|log| BatchInbox::BatchPosted::decode_log(&log.inner).ok())
        .ok_or_eyre(unsaid)?;
    Ok(Posted {
        from: taken.from,
        to: taken.to,
        batch: batch.index,
        block: receipt.block_number().unwrap_or_default(),
        transaction,
    })
}
