//! `blindfold tx force`: a transaction through the queue on L1, which no leader can pass over.
//!
//! Sealed as by `tx send`, it is ordered first in the height that takes it, and read after that. With `--plain` it
//! is public from the moment L1 has it, and is executed before everything that is ordered.

use super::{InnerArgs, NodeArgs, connect, describe, prepare, prepare_plain, read_key};
use crate::{
    cli::queued::Queued,
    config::SettlementConfig,
    settlement::{self, Contracts},
};
use alloy_primitives::{B256, Bytes};
use blindfold_sdk::{Client, SigningKey, TxStatus};
use blindfold_settlement::{bindings::ForcedQueue, l1::sending};
use blindfold_wire::forced::{ForcedKind, MAX_FORCED_DATA_BYTES};
use clap::Args;
use eyre::{Context as _, Result, ensure};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// Arguments of `tx force`.
#[derive(Debug, Args)]
pub struct ForceArgs {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    inner: InnerArgs,
    /// JSON-RPC of an L1 node.
    #[arg(long)]
    l1_rpc: String,
    /// File with the secret key of the L1 account that pays for the item [default: as --key-file].
    #[arg(long)]
    l1_key_file: Option<PathBuf>,
    /// Do not seal it: anybody can read it as soon as L1 has it.
    #[arg(long)]
    plain: bool,
    /// Return once L1 has it.
    #[arg(long)]
    no_wait: bool,
    /// Seconds to wait for its end on the L2.
    #[arg(long, default_value_t = 300)]
    timeout_seconds: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `tx force`. Exit code 0: executed with success, or queued with `--no-wait`; 1: it ended otherwise.
pub(super) fn run(args: &ForceArgs) -> Result<ExitCode> {
    let client = connect(&args.node)?;
    let (kind, data, envelope, hash) = if args.plain {
        let (encoded, hash) = prepare_plain(&client, &args.inner)?;
        (ForcedKind::Plain, encoded, None, hash)
    } else {
        let (sealed, hash) = prepare(&client, &args.inner)?;
        (ForcedKind::Sealed, Bytes::from(sealed.encode()), Some(sealed.id()), hash)
    };
    ensure!(
        data.len() <= MAX_FORCED_DATA_BYTES,
        "{} bytes, and the queue on L1 takes {MAX_FORCED_DATA_BYTES}: send it with `blindfold tx send`",
        data.len()
    );
    let key = read_key(args.l1_key_file.as_deref().or(args.inner.key_file.as_deref()))?;
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build()?;
    let queued = runtime.block_on(queue(&client, &args.l1_rpc, key, kind, data))?;
    if !args.json {
        println!("queued       item {} in L1 block {}", queued.index, queued.block);
        println!("L1           {}", queued.transaction);
        println!("transaction  {hash}");
    }
    let (end, good) = match args.no_wait {
        true => (Value::Null, true),
        false => {
            wait(&client, envelope, hash, Duration::from_secs(args.timeout_seconds), args.json)?
        }
    };
    if args.json {
        let result = json!({
            "index": queued.index, "l1Transaction": queued.transaction, "l1Block": queued.block,
            "envelopeId": envelope, "transactionHash": hash, "end": end,
        });
        println!("{result}");
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn queue(
    client: &Client,
    l1_rpc: &str,
    key: SigningKey,
    kind: ForcedKind,
    data: Bytes,
) -> Result<Queued> {
    let genesis = client.committee().genesis();
    let config = SettlementConfig { l1_rpc: l1_rpc.to_owned(), ..SettlementConfig::default() };
    let l1 = settlement::connect(&config).await.wrap_err_with(|| format!("L1 at {l1_rpc}"))?;
    let contracts = Contracts::find(l1.as_ref(), genesis).await?;
    let queue = ForcedQueue::new(contracts.queue, sending(l1.as_ref(), &key));
    let fee = queue.forcedFee().call().await.wrap_err("the queue's fee")?;
    let sent = queue.force(kind as u8, data).value(fee).send().await.wrap_err_with(|| {
        format!("L1 refused; does {} have the fee of {fee} wei?", key.address())
    })?;
    Queued::by(sent, contracts.queue, "the item").await
}

/// Waits for the end on the L2: of an envelope by its id, of a plain transaction by its receipt.
fn wait(
    client: &Client,
    envelope: Option<B256>,
    hash: B256,
    timeout: Duration,
    quiet: bool,
) -> Result<(Value, bool)> {
    /// How often the node is asked.
    const POLL: Duration = Duration::from_millis(250);
    if let Some(id) = envelope {
        let status = client.wait(id, timeout).wrap_err("queued on L1, end unknown")?;
        if !quiet {
            println!("end          {}", describe(&status));
        }
        let good = matches!(status, TxStatus::Executed { success: true, .. });
        return Ok((serde_json::to_value(&status)?, good));
    }
    let start = Instant::now();
    loop {
        let receipt: Option<Value> = client.request("eth_getTransactionReceipt", [hash])?;
        if let Some(receipt) = receipt {
            let good = receipt["status"] == "0x1";
            if !quiet {
                let how = if good { "success" } else { "reverted" };
                println!("end          executed at height {}: {how}", receipt["blockNumber"]);
            }
            return Ok((receipt, good));
        }
        ensure!(
            start.elapsed() < timeout,
            "queued on L1, and not executed within {timeout:?}: it is not due yet, or it was skipped"
        );
        thread::sleep(POLL);
    }
}
