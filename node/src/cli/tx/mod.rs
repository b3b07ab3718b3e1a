//! `blindfold tx`: a wallet on the command line, over the SDK.
//!
//! The transaction is built, signed and sealed in this process. Nothing is asked of the node that
//! would tell it what is inside: gas is not estimated there, and the sender's nonce is asked for
//! only if the sender also pays, which is public anyway.

mod force;
mod input;
#[cfg(test)]
mod tests;

use std::{path::PathBuf, process::ExitCode, time::Duration};

use alloy_consensus::{SignableTransaction as _, TxEip1559, TxEnvelope};
use alloy_eips::eip2718::Encodable2718 as _;
use alloy_primitives::{Address, B256, Bytes, Signature, TxKind, U64, U256};
use blindfold_sdk::{
    Client, Committee, Fees, HttpTransport, SealedTransaction, SigningKey, TxStatus, Wallet, ask,
    rpc::{SettlementDocument, SettlementState, TransactionDocument},
};
use clap::{Args, Subcommand};
use eyre::{Context as _, OptionExt as _, bail, ensure};
use serde_json::json;
use zeroize::Zeroizing;

use input::read_raw;
pub(crate) use input::{parse_amount, parse_fee, read_key};

/// Gas of a plain transfer.
const TRANSFER_GAS: u64 = 21_000;

/// A wallet on the command line.
#[derive(Debug, Subcommand)]
pub enum TxCommand {
    /// Build, sign and seal a transaction, and print the sealed bytes.
    Seal(SealArgs),
    /// Build, sign, seal and submit a transaction, and wait for its end.
    Send(SendArgs),
    /// Put a transaction into the queue on L1, past which no leader can order anything once it is due.
    Force(Box<force::ForceArgs>),
    /// Show where a sealed transaction stands.
    Status(StatusArgs),
}

/// Which node and which chain.
#[derive(Debug, Args)]
pub struct NodeArgs {
    /// The node's JSON-RPC.
    #[arg(long, default_value = "http://127.0.0.1:8545")]
    pub(super) rpc: String,
    /// Genesis hash of the chain, from a source you trust. Keys are accepted only under it. Needed,
    /// unless --genesis is given.
    #[arg(long)]
    genesis_hash: Option<B256>,
    /// Genesis document of the chain, from a source you trust; in place of its hash.
    #[arg(long, conflicts_with = "genesis_hash")]
    genesis: Option<PathBuf>,
}

/// The transaction to be sealed.
#[derive(Debug, Default, Args)]
pub struct InnerArgs {
    /// A transaction signed elsewhere, as hex, or `-` to read it from stdin.
    #[arg(long, conflicts_with_all = ["to", "value", "data", "nonce"])]
    pub(super) raw: Option<String>,
    /// Recipient; none creates a contract from --data.
    #[arg(long)]
    pub(super) to: Option<Address>,
    /// Value: wei, or with a unit, like 0.1ether.
    #[arg(long, default_value = "0", value_parser = parse_amount)]
    pub(super) value: U256,
    /// Call data or init code, hex.
    #[arg(long, default_value = "0x")]
    pub(super) data: Bytes,
    /// The sender's nonce [default: asked of the node].
    #[arg(long)]
    pub(super) nonce: Option<u64>,
    /// Gas limit [default: 21000 for a plain transfer; needed otherwise, as asking the node to
    /// estimate would show it the transaction].
    #[arg(long)]
    pub(super) gas_limit: Option<u64>,
    /// Most to pay per gas: wei, or with a unit, like 2gwei [default: twice the base fee].
    #[arg(long, value_parser = parse_fee)]
    pub(super) max_fee: Option<u128>,
    /// Most to give the leader per gas; the order follows it [default: what the node suggests].
    #[arg(long, value_parser = parse_fee)]
    pub(super) priority_fee: Option<u128>,
    /// Last height at which it may be ordered [default: 200 from now].
    #[arg(long)]
    pub(super) expiry_height: Option<u64>,
    /// Envelope nonce, to replace a pending envelope [default: the next].
    #[arg(long)]
    pub(super) envelope_nonce: Option<u64>,
    /// File with the sender's secret key as 64 hex digits [default: $BLINDFOLD_KEY].
    #[arg(long)]
    pub(super) key_file: Option<PathBuf>,
    /// File with the payer's secret key, if someone else pays for the envelope.
    #[arg(long)]
    pub(super) payer_key_file: Option<PathBuf>,
}

/// Arguments of `tx seal`.
#[derive(Debug, Args)]
pub struct SealArgs {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    inner: InnerArgs,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `tx send`.
#[derive(Debug, Args)]
pub struct SendArgs {
    #[command(flatten)]
    node: NodeArgs,
    #[command(flatten)]
    inner: InnerArgs,
    /// Return once it is submitted.
    #[arg(long)]
    no_wait: bool,
    /// Seconds to wait for its end.
    #[arg(long, default_value_t = 60)]
    timeout_seconds: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `tx status`.
#[derive(Debug, Args)]
pub struct StatusArgs {
    /// Envelope id, or the hash of the inner transaction once it was opened.
    id: B256,
    /// The node's JSON-RPC; its answer is taken on its word.
    #[arg(long, default_value = "http://127.0.0.1:8545")]
    rpc: String,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `blindfold tx`. Exit code 0: done, or still under way; 1: it ended without success, or the
/// node does not know it.
///
/// # Errors
/// If the arguments make no sense, the node does not answer, or it serves another chain.
pub fn run(command: TxCommand) -> eyre::Result<ExitCode> {
    match command {
        TxCommand::Seal(args) => {
            let client = connect(&args.node)?;
            let (sealed, hash) = prepare(&client, &args.inner)?;
            let bytes = Bytes::from(sealed.encode());
            if args.json {
                let id = sealed.id();
                println!(
                    "{}",
                    json!({ "envelopeId": id, "transactionHash": hash, "sealed": bytes })
                );
            } else {
                println!("{bytes}");
            }
            Ok(ExitCode::SUCCESS)
        }
        TxCommand::Send(args) => send(&args),
        TxCommand::Force(args) => force::run(&args),
        TxCommand::Status(args) => {
            let transport = HttpTransport::new(&args.rpc)?;
            let status: Option<TransactionDocument> =
                ask(&transport, "sealed_getTransaction", [args.id])?;
            if args.json {
                println!("{}", serde_json::to_string(&status)?);
            } else {
                match &status {
                    Some(document) => {
                        println!("{}", describe(&document.status));
                        if let Some(settlement) = &document.settlement {
                            println!("{}", describe_settlement(settlement));
                        }
                    }
                    None => println!("unknown to this node"),
                }
            }
            Ok(if status.is_some() { ExitCode::SUCCESS } else { ExitCode::from(1) })
        }
    }
}

fn send(args: &SendArgs) -> eyre::Result<ExitCode> {
    let client = connect(&args.node)?;
    let (sealed, hash) = prepare(&client, &args.inner)?;
    let id = sealed.id();
    let receipt = client.submit(&sealed).wrap_err("the envelope was not admitted")?.receipt;
    let (member, height_seen) = (receipt.member, receipt.height_seen);
    if !args.json {
        println!("envelope     {id}\ntransaction  {hash} (secret until opened)");
        println!("receipt      member {member}, at height {height_seen}");
    }
    let status = match args.no_wait {
        true => None,
        false => Some(client.wait(id, Duration::from_secs(args.timeout_seconds)).wrap_err_with(
            || {
                format!(
                    "submitted, end unknown; ask again with `blindfold tx status --rpc {} {id}`",
                    args.node.rpc
                )
            },
        )?),
    };
    if args.json {
        let result = json!({
            "envelopeId": id, "transactionHash": hash, "member": member, "heightSeen": height_seen,
            "status": status,
        });
        println!("{result}");
    } else if let Some(status) = &status {
        println!("end          {}", describe(status));
    }
    let good = !matches!(&status, Some(status) if !matches!(status, TxStatus::Executed { success: true, .. }));
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// A status in words.
pub(super) fn describe(status: &TxStatus) -> String {
    match status {
        TxStatus::Pending => "pending".to_owned(),
        TxStatus::Ordered { height, position } => {
            format!("ordered at height {height}, position {position}; still sealed")
        }
        TxStatus::Opened { height, position } => {
            format!("opened at height {height}, position {position}")
        }
        TxStatus::Executed { height, success, .. } => {
            format!(
                "executed at height {height}: {}",
                if *success { "success" } else { "reverted" }
            )
        }
        TxStatus::Skipped { height, reason, .. } => {
            format!("skipped at height {height}: {reason}; the transaction is public now")
        }
        TxStatus::Undecryptable { height, .. } => format!("undecryptable, at height {height}"),
        TxStatus::Expired { height } => format!("expired at height {height}; seal it again"),
        TxStatus::Replaced { by } => format!("replaced by {by}"),
        TxStatus::Evicted => {
            "dropped from a full mempool; send it again with a higher fee".to_owned()
        }
    }
}

/// Where a height stands on L1, in words.
fn describe_settlement(settlement: &SettlementDocument) -> String {
    let SettlementDocument { batch, l1_block, l1_transaction, .. } = settlement;
    let state = match settlement.state {
        SettlementState::Posted => "posted",
        SettlementState::Finalized => "final on L1",
    };
    format!("{state}: batch {batch}, L1 block {l1_block}, transaction {l1_transaction}")
}

/// A client of the node, for the chain that the user trusts.
pub(super) fn connect(args: &NodeArgs) -> eyre::Result<Client> {
    let transport = HttpTransport::new(&args.rpc)?;
    match (&args.genesis, args.genesis_hash) {
        (Some(path), _) => {
            let text = std::fs::read_to_string(path)
                .wrap_err_with(|| format!("cannot read the genesis document {}", path.display()))?;
            let genesis = blindfold_wire::Genesis::from_json(&text)?;
            // The file is what the user trusts, so its hash is the pin.
            let pinned = genesis.hash();
            let committee = Committee::from_genesis(genesis, pinned)?;
            Ok(Client::with_committee(transport, committee))
        }
        (None, Some(pinned)) => Ok(Client::with_transport(transport, pinned)?),
        (None, None) => {
            bail!("name the chain, from a source you trust: --genesis-hash HASH or --genesis FILE")
        }
    }
}

/// Builds, signs and seals. Returns the envelope and the hash of what is in it.
pub(super) fn prepare(
    client: &Client,
    args: &InnerArgs,
) -> eyre::Result<(SealedTransaction, B256)> {
    let sender = match (&args.key_file, &args.raw, &args.payer_key_file) {
        (None, Some(_), Some(_)) => None,
        (file, ..) => Some(read_key(file.as_deref())?),
    };
    let payer = args.payer_key_file.as_deref().map(|file| read_key(Some(file))).transpose()?;
    let payer_key =
        payer.as_ref().or(sender.as_ref()).ok_or_eyre("whose escrow pays? give --key-file")?;
    let wallet = Wallet::new(payer_key.clone(), client.committee().clone());
    match args.envelope_nonce {
        Some(nonce) => wallet.set_next_nonce(nonce),
        None => drop(client.sync(&wallet)?),
    }
    let transaction = match (&args.raw, &sender) {
        (Some(raw), _) => read_raw(raw)?,
        (None, None) => bail!("who sends? give --key-file"),
        (None, Some(sender)) => build(client, args, sender, wallet.address())?,
    };
    let encoded = Zeroizing::new(transaction.encoded_2718());
    let fees = fees(client, args, alloy_consensus::Transaction::gas_limit(&transaction))?;
    let sealed = wallet.seal(&encoded, &fees)?;
    Ok((sealed, *transaction.tx_hash()))
}

/// Builds and signs a transaction that is not sealed. Returns its bytes and its hash.
fn prepare_plain(client: &Client, args: &InnerArgs) -> eyre::Result<(Bytes, B256)> {
    let transaction = match &args.raw {
        Some(raw) => read_raw(raw)?,
        None => {
            let sender = read_key(args.key_file.as_deref())?;
            // It will be public: nothing is lost by asking for the sender's nonce.
            build(client, args, &sender, sender.address())?
        }
    };
    Ok((transaction.encoded_2718().into(), *transaction.tx_hash()))
}

fn fees(client: &Client, args: &InnerArgs, gas_limit: u64) -> eyre::Result<Fees> {
    if let (Some(max_fee), Some(priority_fee), Some(expiry_height)) =
        (args.max_fee, args.priority_fee, args.expiry_height)
    {
        return Ok(Fees {
            max_fee_per_gas: max_fee,
            max_priority_fee_per_gas: priority_fee,
            gas_limit,
            expiry_height,
        });
    }
    let suggested = client.suggest_fees(gas_limit)?;
    let max_fee_per_gas = args.max_fee.unwrap_or_else(|| {
        suggested.max_fee_per_gas.saturating_add(args.priority_fee.unwrap_or_default())
    });
    Ok(Fees {
        max_fee_per_gas,
        max_priority_fee_per_gas: args
            .priority_fee
            .unwrap_or(suggested.max_priority_fee_per_gas.min(max_fee_per_gas)),
        expiry_height: args.expiry_height.unwrap_or(suggested.expiry_height),
        gas_limit,
    })
}

fn build(
    client: &Client,
    args: &InnerArgs,
    sender: &SigningKey,
    payer: Address,
) -> eyre::Result<TxEnvelope> {
    let gas_limit = match args.gas_limit {
        Some(gas) => gas,
        None if args.to.is_some() && args.data.is_empty() => TRANSFER_GAS,
        None => {
            bail!("give --gas-limit: having the node estimate it would show it the transaction")
        }
    };
    let nonce = match args.nonce {
        Some(nonce) => nonce,
        None => {
            ensure!(
                sender.address() == payer,
                "give --nonce: asking the node for it would show it who sends"
            );
            client.request::<U64>("eth_getTransactionCount", (sender.address(), "latest"))?.to()
        }
    };
    let fees = fees(client, args, gas_limit)?;
    let transaction = TxEip1559 {
        chain_id: client.committee().chain_id(),
        nonce,
        gas_limit,
        max_fee_per_gas: fees.max_fee_per_gas,
        max_priority_fee_per_gas: fees.max_priority_fee_per_gas,
        to: args.to.map_or(TxKind::Create, TxKind::Call),
        value: args.value,
        access_list: Default::default(),
        input: args.data.clone(),
    };
    Ok(sign(transaction, sender))
}

/// Signs an EIP-1559 transaction.
pub fn sign(transaction: TxEip1559, key: &SigningKey) -> TxEnvelope {
    let signed = key.sign_digest(transaction.signature_hash());
    let (r, s) = (U256::from_be_bytes(signed.r), U256::from_be_bytes(signed.s));
    transaction.into_signed(Signature::new(r, s, signed.y_parity)).into()
}
