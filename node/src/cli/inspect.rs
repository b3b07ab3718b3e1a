//! `blindfold inspect`: decode what the protocol signs, stores or sends. Nothing but `witness` asks a node.

use super::replay_blocks::ReplayBlocksInput;
use super::witness::{self, ReplayWitnessInput, WitnessInput};
use crate::{
    config::NodeConfig,
    store::{Family, Store},
};
use alloy_primitives::{Bytes, hex};
use blindfold_wire::{
    Envelope, Evidence, SignedCommitment, envelope::ENVELOPE_TYPE, genesis::Genesis,
};
use clap::{Args, Subcommand};
use eyre::{Context as _, Result, bail, ensure};
use serde_json::{Value, json};
use std::{
    io::Read as _,
    path::{Path, PathBuf},
    process::ExitCode,
};

/// Longest input, in bytes of text.
const MAX_INPUT_BYTES: u64 = 16 << 20;

/// Decode anything the protocol signs, stores or sends.
#[derive(Debug, Subcommand)]
pub enum InspectCommand {
    /// A sealed transaction.
    Envelope(Input),
    /// A signed order commitment.
    Commitment(Input),
    /// Evidence of an offence, verified against a genesis document.
    Evidence(EvidenceInput),
    /// A genesis document: its hash, and whether its keys and proofs hold.
    Genesis(GenesisInput),
    /// A height of a running node with all that it takes to execute it again, as JSON.
    Witness(WitnessInput),
    /// A file that `witness` wrote: executes the block again, in order, from it alone.
    ReplayWitness(ReplayWitnessInput),
    /// The database of a stopped node: copies its newest rows to files, a folder for each family.
    Rows(RowsInput),
    /// Replay Ethereum blocks on both executors, and compare them with each other and with the headers.
    ReplayBlocks(ReplayBlocksInput),
}

/// Hex, or `-` for standard input.
#[derive(Debug, Args)]
pub struct Input {
    /// 0x hex, or `-` to read it from standard input.
    bytes: String,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// Evidence and what it is to be judged by.
#[derive(Debug, Args)]
pub struct EvidenceInput {
    #[command(flatten)]
    input: Input,
    /// The chain's genesis document.
    #[arg(long)]
    genesis: PathBuf,
}

/// A genesis document.
#[derive(Debug, Args)]
pub struct GenesisInput {
    /// The file.
    path: PathBuf,
    /// One JSON object instead of lines.
    #[arg(long)]
    json: bool,
}

/// A stopped node's database.
#[derive(Debug, Args)]
pub struct RowsInput {
    /// The node's `node.toml`.
    #[arg(long)]
    config: PathBuf,
    /// Folder to write to: `<family>/<key in hex>`.
    #[arg(long)]
    out: PathBuf,
    /// Rows of each family, at most; those with the largest keys, which for heights are the newest.
    #[arg(long, default_value_t = 100)]
    limit: usize,
}

/// Runs an `inspect` command.
pub fn run(command: InspectCommand) -> Result<ExitCode> {
    match command {
        InspectCommand::Envelope(input) => show(&envelope(&input.read()?)?, input.json),
        InspectCommand::Commitment(input) => show(&commitment(&input.read()?)?, input.json),
        InspectCommand::Evidence(args) => {
            let (report, holds) = evidence(&args.input.read()?, &read_genesis(&args.genesis)?)?;
            show(&report, args.input.json)?;
            return Ok(if holds { ExitCode::SUCCESS } else { ExitCode::from(1) });
        }
        InspectCommand::Genesis(args) => {
            let genesis = read_genesis(&args.path)?;
            let problem = genesis.validate().err();
            let report = json!({
                "hash": genesis.hash(),
                "chainId": genesis.chain_id,
                "keyId": genesis.key_id(),
                "members": genesis.committee.members.len(),
                "threshold": genesis.committee.threshold,
                "valid": problem.is_none(),
                "problem": problem.as_ref().map(ToString::to_string),
            });
            show(&report, args.json)?;
            return Ok(if problem.is_none() { ExitCode::SUCCESS } else { ExitCode::from(1) });
        }
        InspectCommand::Witness(args) => witness::fetch(&args),
        InspectCommand::ReplayWitness(args) => return witness::verify(&args),
        InspectCommand::Rows(args) => rows(&args),
        InspectCommand::ReplayBlocks(args) => return super::replay_blocks::run(&args),
    }?;
    Ok(ExitCode::SUCCESS)
}

impl Input {
    fn read(&self) -> Result<Vec<u8>> {
        let mut text = String::new();
        if self.bytes == "-" {
            std::io::stdin()
                .take(MAX_INPUT_BYTES)
                .read_to_string(&mut text)
                .wrap_err("cannot read standard input")?;
        } else {
            text.push_str(&self.bytes);
        }
        hex::decode(text.trim()).wrap_err("the input is not hex")
    }
}

fn read_genesis(path: &Path) -> Result<Genesis> {
    let text = std::fs::read_to_string(path)
        .wrap_err_with(|| format!("cannot read {}", path.display()))?;
    Genesis::from_json(&text).wrap_err_with(|| format!("{} is no genesis document", path.display()))
}

fn envelope(bytes: &[u8]) -> Result<Value> {
    if bytes.first() != Some(&ENVELOPE_TYPE) {
        bail!("a sealed transaction begins with 0x{ENVELOPE_TYPE:02x}");
    }
    let envelope = Envelope::decode(bytes)?;
    let (header, sealed) = (&envelope.header, &envelope.ciphertext);
    Ok(json!({
        "id": envelope.id(),
        "payer": envelope.recover_payer().map(|payer| payer.to_string()).unwrap_or_else(|error| error.to_string()),
        "chainId": header.chain_id,
        "keyId": header.key_id,
        "payerNonce": header.payer_nonce,
        "maxFeePerGas": header.max_fee_per_gas.to_string(),
        "maxPriorityFeePerGas": header.max_priority_fee_per_gas.to_string(),
        "gasLimit": header.gas_limit,
        "expiryHeight": header.expiry_height,
        "u": Bytes::copy_from_slice(&sealed.u),
        "bodyBytes": sealed.body.len(),
        "sizeBytes": envelope.size_bytes(),
    }))
}

fn commitment(bytes: &[u8]) -> Result<Value> {
    let signed = SignedCommitment::decode(bytes)?;
    let commitment = &signed.commitment;
    Ok(json!({
        "digest": signed.digest(),
        "leader": signed.recover_leader().map(|leader| leader.to_string()).unwrap_or_else(|error| error.to_string()),
        "chainId": commitment.chain_id,
        "settlement": commitment.settlement,
        "epoch": commitment.epoch,
        "height": commitment.height,
        "view": commitment.view,
        "parent": commitment.parent,
        "timestampMs": commitment.timestamp_ms,
        "baseFee": commitment.base_fee.to_string(),
        "count": commitment.count,
        "orderRoot": commitment.order_root,
        "l1Block": commitment.l1_block,
        "l1BaseFee": commitment.l1_base_fee,
        "forcedCursor": commitment.forced_cursor,
        "forcedHash": commitment.forced_hash,
        "executedRoot": commitment.executed_root,
    }))
}

fn evidence(bytes: &[u8], genesis: &Genesis) -> Result<(Value, bool)> {
    genesis.validate()?;
    let evidence = Evidence::decode(bytes)?;
    let verdict = evidence.verify(genesis, &genesis.committee_public()?);
    let report = json!({
        "id": evidence.id(),
        "offence": evidence.offence(),
        "holds": verdict.is_ok(),
        "culprit": verdict.as_ref().ok().map(|offender| offender.member),
        "signer": verdict.as_ref().ok().map(|offender| offender.signer),
        "problem": verdict.as_ref().err().map(ToString::to_string),
    });
    Ok((report, verdict.is_ok()))
}

/// Copies rows to files as they are.
fn rows(args: &RowsInput) -> Result<()> {
    let config = NodeConfig::read(&args.config)?;
    let folder = config.data_dir.join("db");
    // Opening creates what is not there, which nobody wants of an inspection.
    ensure!(folder.join("CURRENT").exists(), "{} holds no database", folder.display());
    let genesis_hash = read_genesis(&config.genesis)?.hash().0;
    let store = Store::open_within(&folder, genesis_hash, &config.storage)?;
    let mut copied = 0usize;
    for family in Family::all() {
        let rows = store.newest(family, args.limit)?;
        if rows.is_empty() {
            continue;
        }
        let folder = args.out.join(family.name());
        std::fs::create_dir_all(&folder)
            .wrap_err_with(|| format!("cannot create {}", folder.display()))?;
        copied += rows.len();
        for (key, value) in rows {
            // The root of a trie has the empty key.
            let name = if key.is_empty() { "root".to_owned() } else { hex::encode(&key) };
            let path = folder.join(name);
            std::fs::write(&path, value)
                .wrap_err_with(|| format!("cannot write {}", path.display()))?;
        }
    }
    println!("{copied} rows");
    Ok(())
}

fn show(report: &Value, as_json: bool) -> Result<()> {
    if as_json {
        println!("{report}");
        return Ok(());
    }
    for (name, value) in report.as_object().into_iter().flatten() {
        match value {
            Value::String(text) => println!("{name}: {text}"),
            Value::Null => {}
            other => println!("{name}: {other}"),
        }
    }
    Ok(())
}
