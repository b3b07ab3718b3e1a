//! `blindfold bridge withdrawals` and `blindfold bridge claim`.

use super::{
    Sides, SidesArgs, account, l1_key,
    stage::{Stage, check_funds, to_json, withdrawal},
};
use alloy_primitives::{Address, B256, U64};
use alloy_provider::Provider as _;
use alloy_rpc_types_eth::EIP1186AccountProofResponse;
use blindfold_sdk::{SigningKey, rpc::WithdrawalDocument};
use blindfold_settlement::{
    bindings::Bridge,
    l1::sending,
    withdrawal::{OUTBOX, WithdrawalProof},
};
use clap::Args;
use eyre::{Context as _, Result, ensure, eyre};
use serde_json::{Value, json};
use std::{
    path::PathBuf,
    process::ExitCode,
    thread,
    time::{Duration, Instant},
};

/// How often it is looked whether the time has come.
const POLL: Duration = Duration::from_secs(1);

/// Arguments of `bridge withdrawals`.
#[derive(Debug, Args)]
pub struct WithdrawalsArgs {
    #[command(flatten)]
    sides: SidesArgs,
    /// The account on L2 that sent them [default: the key's own].
    #[arg(long)]
    sender: Option<Address>,
    /// File with its secret key as 64 hex digits, if --sender is not given [default: $BLINDFOLD_KEY].
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// Leave out what was claimed.
    #[arg(long)]
    open: bool,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Arguments of `bridge claim`.
#[derive(Debug, Args)]
pub struct ClaimArgs {
    #[command(flatten)]
    sides: SidesArgs,
    /// Numbers of the withdrawals [default: all of --sender that can be claimed].
    indices: Vec<u64>,
    /// The account on L2 that sent them [default: the key's own].
    #[arg(long, conflicts_with = "indices")]
    sender: Option<Address>,
    /// File with the secret key of the account on L1 that pays for the transaction, as 64 hex digits. Anyone may claim:
    /// the money goes where the withdrawal says [default: $BLINDFOLD_KEY].
    #[arg(long)]
    key_file: Option<PathBuf>,
    /// Wait for those whose time has not come.
    #[arg(long, requires = "indices")]
    wait: bool,
    /// Seconds to wait with --wait.
    #[arg(long, default_value_t = 3_600)]
    timeout_seconds: u64,
    /// Print one JSON object.
    #[arg(long)]
    json: bool,
}

/// Runs `bridge withdrawals`.
pub(super) fn list(args: &WithdrawalsArgs) -> Result<ExitCode> {
    let sender = account(args.sender, args.key_file.as_ref())?;
    let sides = Sides::reach(&args.sides)?;
    let mut found = Vec::new();
    for document in sides.withdrawals_of(sender)? {
        let stage = sides.stage(&document)?;
        if !(args.open && stage == Stage::Claimed) {
            found.push((document, stage));
        }
    }
    if args.json {
        let withdrawals: Vec<Value> =
            found.iter().map(|(document, stage)| to_json(document, stage)).collect();
        println!("{}", json!({ "sender": sender, "withdrawals": withdrawals }));
        return Ok(ExitCode::SUCCESS);
    }
    if found.is_empty() {
        println!("none of {sender}");
    }
    for (document, stage) in &found {
        print(&sides, document, stage);
    }
    Ok(ExitCode::SUCCESS)
}

fn print(sides: &Sides, document: &WithdrawalDocument, stage: &Stage) {
    let WithdrawalDocument { index, to, amount_wei, height, .. } = document;
    println!("withdrawal {index}: {amount_wei} wei to {to}, at height {height}");
    println!("  {}: {}", stage.name(), stage.describe(sides.contracts.output_window_s));
}

/// Runs `bridge claim`. Exit code 0: all that was asked for is claimed; 1: the time of some has not come, or they were
/// claimed before.
pub(super) fn run(args: &ClaimArgs) -> Result<ExitCode> {
    let key = l1_key(args.key_file.as_ref())?;
    let sides = Sides::reach(&args.sides)?;
    let named = !args.indices.is_empty();
    let documents = match named {
        true => args.indices.iter().map(|index| sides.document(*index)).collect::<Result<_>>()?,
        false => sides.withdrawals_of(args.sender.unwrap_or(key.address()))?,
    };
    let deadline = Instant::now() + Duration::from_secs(args.timeout_seconds);
    let (mut results, mut good, mut claimed) = (Vec::new(), true, 0);
    for document in documents {
        let (document, stage) = until_claimable(&sides, document, args, deadline)?;
        let mut result = to_json(&document, &stage);
        if let Stage::Claimable { batch, last_height, state_root } = stage {
            if !args.json {
                print(&sides, &document, &stage);
            }
            let transaction =
                claim(&sides, &key, &document, Against { batch, last_height, state_root })?;
            claimed += 1;
            result["stage"] = json!("claimed");
            result["l1Transaction"] = json!(transaction);
            if !args.json {
                println!("  claimed in L1 transaction {transaction}");
            }
        } else if named {
            good = false;
            if !args.json {
                print(&sides, &document, &stage);
            }
        } else if stage != Stage::Claimed && !args.json {
            print(&sides, &document, &stage);
        }
        results.push(result);
    }
    if args.json {
        println!("{}", json!({ "claimed": claimed, "withdrawals": results }));
    } else if claimed == 0 {
        println!("nothing was claimed");
    }
    good &= named || claimed > 0;
    Ok(if good { ExitCode::SUCCESS } else { ExitCode::from(1) })
}

/// Asks how far it has got; with `--wait`, until it can be claimed or the time is up.
fn until_claimable(
    sides: &Sides,
    mut document: WithdrawalDocument,
    args: &ClaimArgs,
    deadline: Instant,
) -> Result<(WithdrawalDocument, Stage)> {
    let mut told = None;
    loop {
        let stage = sides.stage(&document)?;
        let over = matches!(stage, Stage::Claimable { .. } | Stage::Claimed);
        if over || !args.wait || Instant::now() >= deadline {
            return Ok((document, stage));
        }
        if !args.json && told != Some(stage.name()) {
            told = Some(stage.name());
            print(sides, &document, &stage);
        }
        thread::sleep(POLL);
        document = sides.document(document.index)?;
    }
}

/// What a withdrawal is claimed against.
struct Against {
    batch: u64,
    last_height: u64,
    state_root: B256,
}

/// Has it proven, checks the proof, and has L1 pay it out.
fn claim(
    sides: &Sides,
    key: &SigningKey,
    document: &WithdrawalDocument,
    against: Against,
) -> Result<B256> {
    let withdrawal = withdrawal(document);
    let height = U64::from(against.last_height);
    let answer: EIP1186AccountProofResponse = sides
        .client
        .request("eth_getProof", (OUTBOX, [withdrawal.slot()], height))
        .wrap_err("the node does not prove the withdrawal; another node may")?;
    let storage = answer.storage_proof.into_iter().next();
    let proof = WithdrawalProof {
        account: answer.account_proof,
        storage: storage.map(|slot| slot.proof).unwrap_or_default(),
    };
    proof.check(against.state_root, &withdrawal).wrap_err_with(|| {
        format!(
            "the node's proof does not fit the state root of output {} on L1: the node is at fault, or the output; ask \
             another node",
            against.batch
        )
    })?;
    sides.runtime.block_on(pay(sides, key, document, proof, against.batch))
}

async fn pay(
    sides: &Sides,
    key: &SigningKey,
    document: &WithdrawalDocument,
    proof: WithdrawalProof,
    batch: u64,
) -> Result<B256> {
    let provider = sending(sides.l1.as_ref(), key);
    let held = provider.get_balance(sides.contracts.bridge).await?;
    check_funds(held, document)?;
    let bridge = Bridge::new(sides.contracts.bridge, &provider);
    let call = proof.into_call(batch, &withdrawal(document));
    let sent = bridge.call_builder(&call).send().await.map_err(|error| match error
        .as_decoded_error::<Bridge::TransferFailed>(
    ) {
        Some(_) => eyre!(
            "{} does not take the money: a contract that reverts on receiving it cannot be paid",
            document.to
        ),
        None => eyre::Report::new(error).wrap_err(format!(
            "L1 refused the claim; does {} have wei for gas there?",
            key.address()
        )),
    })?;
    let transaction = *sent.tx_hash();
    let receipt = sent
        .get_receipt()
        .await
        .wrap_err_with(|| format!("sent to L1 as {transaction}, its end there is unknown"))?;
    ensure!(
        receipt.status(),
        "the bridge refused the claim in L1 transaction {transaction}: somebody else may have been faster; ask again"
    );
    Ok(transaction)
}
