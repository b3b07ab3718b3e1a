//! `blindfold bridge withdraw`: ether to the outbox, sealed like any transaction.

use super::super::tx::{InnerArgs, NodeArgs, connect, describe, parse_amount, parse_fee, prepare};
use alloy_primitives::{Address, B256, U256};
use alloy_rpc_types_eth::TransactionReceipt;
use alloy_sol_types::{SolCall as _, SolEvent as _};
use blindfold_execution::{contracts::IOutbox, escrow::OUTBOX_ADDRESS};
use blindfold_sdk::{Client, TxStatus};
use clap::Args;
use eyre::{Context as _, OptionExt as _, Result, ensure};
use serde_json::{Value, json};
use std::{path::PathBuf, process::ExitCode, time::Duration};

/// Gas of the call, with room: two slots that were never used, a log.
const WITHDRAW_GAS: u64 = 120_000;

/// Arguments of `bridge withdraw`.
#[derive(Debug, Args)]
pub struct WithdrawArgs {
    #[command(flatten)]
    node: NodeArgs,
    /// How much: wei, or with a unit, like 0.1ether.
    #[arg(long, value_parser = parse_amount)]
    amount: U256,
    /// The account on L1 that gets it [default: the key's own].
    #[arg(long)]
    to: Option<Address>,
    /// File with the secret key of the account on L2 as 64 hex digits [default: $BLINDFOLD_KEY].
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// File with the payer's secret key, if someone else pays for the envelope; --nonce is needed then.
    #[arg(long)]
    payer_key_file: Option<PathBuf>,
    /// The sender's nonce [default: asked of the node].
    #[arg(long)]
    nonce: Option<u64>,
    /// Gas limit.
    #[arg(long, default_value_t = WITHDRAW_GAS)]
    gas_limit: u64,
    /// Most to pay per gas: wei, or with a unit, like 2gwei [default: twice the base fee].
    #[arg(long, value_parser = parse_fee)]
    max_fee: Option<u128>,
    /// Most to give the leader per gas [default: what the node suggests].
    #[arg(long, value_parser = parse_fee)]
    priority_fee: Option<u128>,
    /// Return once it is submitted.
    #[arg(long)]
    no_wait: bool,
    /// Seconds to wait for its end on L2.
    #[arg(long, default_value_t = 60)]
    timeout_seconds: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `bridge withdraw`. Exit code 0: recorded, or submitted with `--no-wait`; 1: it ended otherwise.
pub(super) fn run(args: &WithdrawArgs) -> Result<ExitCode> {
    ensure!(!args.amount.is_zero(), "nothing to withdraw: the outbox takes no withdrawal of 0");
    let client = connect(&args.node)?;
    ensure!(
        !client.committee().genesis().settlement.is_zero(),
        "this chain has no settlement contract on L1, and no outbox"
    );
    let to = super::account(args.to, args.key_file.as_ref())?;
    let inner = InnerArgs {
        to: Some(OUTBOX_ADDRESS),
        value: args.amount,
        data: IOutbox::withdrawCall { to }.abi_encode().into(),
        nonce: args.nonce,
        gas_limit: Some(args.gas_limit),
        max_fee: args.max_fee,
        priority_fee: args.priority_fee,
        key_file: args.key_file.clone(),
        payer_key_file: args.payer_key_file.clone(),
        ..InnerArgs::default()
    };
    let (sealed, hash) = prepare(&client, &inner)?;
    let id = sealed.id();
    client.submit(&sealed).wrap_err("the envelope was not admitted")?;
    if !args.json {
        println!("envelope     {id}\ntransaction  {hash} (secret until opened)");
    }
    if args.no_wait {
        if args.json {
            println!("{}", json!({ "envelopeId": id, "transactionHash": hash }));
        }
        return Ok(ExitCode::SUCCESS);
    }
    let status =
        client.wait(id, Duration::from_secs(args.timeout_seconds)).wrap_err_with(|| {
            format!(
                "submitted, end unknown; ask again with `blindfold tx status --rpc {} {id}`",
                args.node.rpc
            )
        })?;
    let recorded = match status {
        TxStatus::Executed { success: true, .. } => Some(recorded(&client, hash)?),
        _ => None,
    };
    if args.json {
        let withdrawal = match &recorded {
            Some(IOutbox::Recorded { index, sender, to, amountWei }) => json!({
                "index": index.saturating_to::<u64>(), "sender": sender, "to": to, "amountWei": amountWei,
            }),
            None => Value::Null,
        };
        let result = json!({
            "envelopeId": id, "transactionHash": hash, "status": status, "withdrawal": withdrawal,
        });
        println!("{result}");
    } else {
        println!("end          {}", describe(&status));
        if let Some(IOutbox::Recorded { index, to, amountWei, .. }) = &recorded {
            println!("withdrawal   {index}: {amountWei} wei to {to} on L1");
            println!(
                "next         `blindfold bridge withdrawals` says when, `blindfold bridge claim {index}` gets it"
            );
        }
    }
    Ok(if recorded.is_some() { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// What the outbox recorded in a transaction.
fn recorded(client: &Client, transaction: B256) -> Result<IOutbox::Recorded> {
    let receipt: Option<TransactionReceipt> =
        client.request("eth_getTransactionReceipt", [transaction])?;
    let receipt = receipt.ok_or_eyre("executed, and the node has no receipt of it")?;
    receipt
        .logs()
        .iter()
        .filter(|log| log.inner.address == OUTBOX_ADDRESS)
        .find_map(|log| IOutbox::Recorded::decode_log(&log.inner).ok())
        .map(|log| log.data)
        .ok_or_eyre("executed, and the outbox recorded nothing: is the predeploy another?")
}
