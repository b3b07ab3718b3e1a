//! `blindfold bridge deposit`: ether from L1, through the queue that no leader can pass over.

use super::{Sides, SidesArgs, l1_key};
use crate::cli::{queued::Queued, tx::parse_amount};
use alloy_primitives::{Address, U64, U256};
use blindfold_sdk::{
    Client, SigningKey,
    rpc::{ForcedStatus, HeightDocument},
};
use blindfold_settlement::{bindings::Bridge, l1::sending};
use clap::Args;
use eyre::{Context as _, OptionExt as _, Result, bail, ensure};
use serde_json::json;
use std::{
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// How often the node is asked for the next height.
const POLL: Duration = Duration::from_millis(250);

/// Arguments of `bridge deposit`.
#[derive(Debug, Args)]
pub struct DepositArgs {
    #[command(flatten)]
    sides: SidesArgs,
    /// How much: wei, or with a unit, like 0.1ether.
    #[arg(long, value_parser = parse_amount)]
    amount: U256,
    /// The account on L2 that gets it [default: the key's own].
    #[arg(long)]
    to: Option<Address>,
    /// Into its escrow, which pays for sealed transactions, and not to its balance.
    #[arg(long)]
    escrow: bool,
    /// File with the secret key of the account on L1 as 64 hex digits [default: $BLINDFOLD_KEY].
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// Return once L1 has it.
    #[arg(long)]
    no_wait: bool,
    /// Seconds to wait until it is on L2. It comes once its L1 block is final.
    #[arg(long, default_value_t = 3_600)]
    timeout_seconds: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// What L2 made of it.
struct Arrived {
    height: u64,
    outcome: ForcedStatus,
}

/// Runs `bridge deposit`. Exit code 0: credited, or on L1 with `--no-wait`; 1: it came to nothing.
pub(super) fn run(args: &DepositArgs) -> Result<ExitCode> {
    ensure!(!args.amount.is_zero(), "nothing to deposit: the bridge takes no deposit of 0");
    let key = l1_key(args.key_file.as_ref())?;
    let sides = Sides::reach(&args.sides)?;
    let to = args.to.unwrap_or(key.address());
    // Before it is on L1: it cannot be in an earlier height.
    let from_height = sides.client.head()?.executed_height;
    let queued = sides.runtime.block_on(queue(&sides, &key, to, args))?;
    if !args.json {
        println!("on L1        {} in block {}", queued.transaction, queued.block);
        println!("queued       item {}", queued.index);
    }
    let arrived = match args.no_wait {
        true => None,
        false => {
            if !args.json {
                println!("waiting      until that block is final, and a height takes the item");
            }
            let timeout = Duration::from_secs(args.timeout_seconds);
            Some(wait(&sides.client, queued.index, from_height, timeout)?)
        }
    };
    let good = arrived
        .as_ref()
        .is_none_or(|arrived| matches!(arrived.outcome, ForcedStatus::Credited { .. }));
    if args.json {
        let (height, outcome) = match &arrived {
            Some(arrived) => (Some(arrived.height), serde_json::to_value(&arrived.outcome)?),
            None => (None, serde_json::Value::Null),
        };
        let result = json!({
            "index": queued.index, "l1Transaction": queued.transaction, "l1Block": queued.block,
            "to": to, "amountWei": args.amount, "escrow": args.escrow,
            "height": height, "outcome": outcome,
        });
        println!("{result}");
    } else if let Some(Arrived { height, outcome }) = &arrived {
        let whereto = if args.escrow { "escrow" } else { "balance" };
        match outcome {
            ForcedStatus::Credited { to, wei } => {
                println!("credited     {wei} wei to the {whereto} of {to}, at height {height}");
            }
            ForcedStatus::Skipped { reason, .. } => {
                println!("skipped      at height {height}: {reason}");
            }
            other => println!("ended        at height {height}: {other:?}"),
        }
    }
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

async fn queue(sides: &Sides, key: &SigningKey, to: Address, args: &DepositArgs) -> Result<Queued> {
    let bridge = Bridge::new(sides.contracts.bridge, sending(sides.l1.as_ref(), key));
    let refused = || {
        format!(
            "L1 refused; does {} have {} wei and some for gas there?",
            key.address(),
            args.amount
        )
    };
    let sent = match args.escrow {
        true => bridge.depositToEscrow(to).value(args.amount).send().await,
        false => bridge.depositToBalance(to).value(args.amount).send().await,
    };
    Queued::by(sent.wrap_err_with(refused)?, sides.contracts.queue, "the deposit").await
}

/// Reads heights above `height` until one has consumed the item.
fn wait(client: &Client, index: u64, mut height: u64, timeout: Duration) -> Result<Arrived> {
    let start = Instant::now();
    loop {
        let next = height.saturating_add(1);
        let document: Option<HeightDocument> =
            client.request("sealed_getHeight", [U64::from(next)])?;
        // Without a state root it is not executed yet.
        if let Some(document) = document.filter(|document| document.state_root.is_some()) {
            height = next;
            if let Some(item) = document.forced.into_iter().find(|item| item.index == index) {
                let outcome = item.outcome.ok_or_eyre("the node executed it without an outcome")?;
                return Ok(Arrived { height, outcome });
            }
            continue;
        }
        if start.elapsed() >= timeout {
            bail!(
                "on L1, and not on L2 within {timeout:?}: it comes once its L1 block is final and due, whatever leaders \
                 want; look at the balance of its account later"
            );
        }
        thread::sleep(POLL);
    }
}
