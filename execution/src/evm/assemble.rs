//! From an opened batch to jobs, and from what became of them to a block.

use std::num::NonZeroUsize;
use std::sync::{Arc, OnceLock};

use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header};
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{B256, Bytes, Log, U256, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;

use blindfold_wire::{
    Certified, ChainParams, Envelope, ForcedItem, ForcedKind, OpenedEnvelope, Opening,
    OrderCommitment, Prices, SkipReason, executed_root,
};

use super::engine::{Decoded, Messages};
use super::{
    BlockFacts, Body, Charge, DoneForced, ForcedRan, Job, JobResult, Ran, SPEC, Transaction,
};
use crate::access::AccessRecord;
use crate::block::{
    BlockRecord, ExecutedBlock, ForcedOutcome, ForcedVerdict, Outcome, Receipt, Verdict,
};
use crate::chain::tip_writes;
use crate::escrow::{self, ESCROW_ADDRESS};
use crate::executor::{BlockContext, ExecutionError};
use crate::state::{Layer, ParentState, Sealed, StateDiff, StateWrites, Tip, seal};

/// A trie has so many subtries below its root.
const MAX_ROOT_THREADS: usize = 16;

/// Positions ready to run, and the transaction that each holds if it holds one. `decode` decodes the messages
/// of those that opened.
pub(crate) fn prepare(
    items: &[OpenedEnvelope],
    prices: Prices,
    decode: impl FnOnce(Messages) -> Vec<Decoded>,
) -> (Vec<Job>, Vec<Option<Transaction>>) {
    let message = |item: &OpenedEnvelope| match &item.opening {
        Opening::Opened { message, .. } => {
            Some((message.clone(), item.envelope.header().gas_limit))
        }
        Opening::Undecryptable { .. } => None,
    };
    let mut decoded = decode(items.iter().filter_map(message).collect()).into_iter();
    let job = |item: &OpenedEnvelope| {
        let charge = Charge::new(
            item.envelope.payer(),
            item.envelope.header().clone(),
            item.envelope.size_bytes(),
            prices,
        );
        let decoded = match &item.opening {
            Opening::Opened { .. } => decoded.next(),
            Opening::Undecryptable { .. } => None,
        };
        let (body, transaction) = match decoded {
            None => (Body::Nothing, None),
            Some(Ok(transaction)) => (Body::Run(Box::new(transaction.tx_env())), Some(transaction)),
            Some(Err(reason)) => (Body::Skip(reason), None),
        };
        (Job { body, charge: Some(charge) }, transaction)
    };
    items.iter().map(job).unzip()
}

/// What the block of a height tells its transactions.
pub(crate) fn facts_of(
    tip: u64,
    order: &Certified<OrderCommitment>,
    context: &BlockContext,
    chain_id: u64,
    params: &ChainParams,
) -> Result<BlockFacts, ExecutionError> {
    let commitment = order.get();
    let height = commitment.height;
    if Some(height) != tip.checked_add(1) {
        return Err(ExecutionError::NotNext { height, tip });
    }
    let base_fee_wei = u64::try_from(commitment.base_fee)
        .map_err(|_| ExecutionError::BaseFeeRange { base_fee_wei: commitment.base_fee })?;
    Ok(BlockFacts {
        spec: SPEC,
        chain_id,
        height,
        beneficiary: context.beneficiary,
        timestamp_s: commitment.timestamp_ms / 1_000,
        gas_limit: params.block_gas_limit,
        base_fee_wei,
        difficulty: U256::ZERO,
        prev_randao: Some(keccak256(order.digest())),
        excess_blob_gas: Some(0),
        blob_update_fraction: None,
    })
}

/// The header of a block in which nothing happened. Roots and gas are the caller's.
pub(crate) fn empty_header(facts: &BlockFacts, commitment: B256) -> Header {
    Header {
        parent_hash: B256::ZERO,
        ommers_hash: EMPTY_OMMER_ROOT_HASH,
        beneficiary: facts.beneficiary,
        state_root: EMPTY_ROOT_HASH,
        transactions_root: EMPTY_ROOT_HASH,
        receipts_root: EMPTY_ROOT_HASH,
        difficulty: U256::ZERO,
        number: facts.height,
        gas_limit: facts.gas_limit,
        gas_used: 0,
        timestamp: facts.timestamp_s,
        extra_data: Bytes::copy_from_slice(commitment.as_slice()),
        mix_hash: facts.prev_randao.unwrap_or_default(),
        base_fee_per_gas: Some(facts.base_fee_wei),
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

/// Everything of a block but what depends on the state root.
#[derive(Debug)]
pub(crate) struct Results {
    pub(crate) forced: Vec<ForcedOutcome>,
    pub(crate) transactions: Vec<Transaction>,
    pub(crate) receipts: Vec<Receipt>,
    pub(crate) outcomes: Vec<Outcome>,
    pub(crate) gas_used: u64,
}

impl Results {
    /// Notes a transaction that was executed; returns its index.
    fn executed(
        &mut self,
        transaction: Transaction,
        ran: (bool, u64, Vec<Log>),
        base_fee_wei: u64,
    ) -> u32 {
        let (success, gas_used, logs) = ran;
        self.gas_used = self.gas_used.saturating_add(gas_used);
        let transaction_index = u32::try_from(self.transactions.len()).unwrap_or(u32::MAX);
        self.receipts.push(Receipt {
            tx_type: transaction.tx_type(),
            success,
            gas_used,
            cumulative_gas_used: self.gas_used,
            effective_gas_price_wei: transaction.effective_gas_price(base_fee_wei),
            contract_address: transaction.created_address(),
            logs,
        });
        self.transactions.push(transaction);
        transaction_index
    }
}

/// Receipts and outcomes from what became of each forced item and each position.
pub(crate) fn results(
    forced: DoneForced,
    items: &[OpenedEnvelope],
    held: Vec<Option<Transaction>>,
    done: Vec<JobResult>,
    base_fee_wei: u64,
) -> Results {
    let mut out = Results {
        forced: Vec::with_capacity(forced.ran.len()),
        transactions: Vec::new(),
        receipts: Vec::new(),
        outcomes: Vec::with_capacity(items.len()),
        gas_used: 0,
    };
    let DoneForced { forced, ran } = forced;
    let positions = forced_positions(forced.span.items(), items);
    let done_items = forced.span.items().iter().zip(forced.held).zip(ran).zip(positions);
    for (((item, transaction), ran), position) in done_items {
        let transaction_hash = transaction.as_ref().map(Transaction::hash);
        let invalid =
            ForcedVerdict::Skipped { reason: SkipReason::ForcedInvalid, transaction_hash };
        let verdict = match (ran, transaction) {
            (ForcedRan::Ran(Ran::Executed { success, gas_used, logs }), Some(transaction)) => {
                let transaction_hash = transaction.hash();
                let ran = (success, gas_used, logs);
                let transaction_index = out.executed(transaction, ran, base_fee_wei);
                ForcedVerdict::Executed { transaction_index, transaction_hash, success }
            }
            (ForcedRan::Ran(Ran::Skipped(reason)), _) => {
                ForcedVerdict::Skipped { reason, transaction_hash }
            }
            (ForcedRan::Credited { to, wei }, _) => ForcedVerdict::Credited { to, wei },
            (ForcedRan::Ran(Ran::Nothing | Ran::Executed { .. }), _) => {
                position.map_or(invalid, |position| ForcedVerdict::Ordered { position })
            }
        };
        let ForcedItem { index, kind, sender, .. } = *item;
        out.forced.push(ForcedOutcome { index, kind, sender, verdict });
    }
    for ((item, transaction), JobResult { ran, charge_wei }) in items.iter().zip(held).zip(done) {
        let transaction_hash = transaction.as_ref().map(Transaction::hash);
        let verdict = match (ran, transaction) {
            (Ran::Executed { success, gas_used, logs }, Some(transaction)) => {
                let transaction_hash = transaction.hash();
                let ran = (success, gas_used, logs);
                let transaction_index = out.executed(transaction, ran, base_fee_wei);
                Verdict::Executed { transaction_index, transaction_hash, success }
            }
            (Ran::Skipped(reason), _) => Verdict::Skipped { reason, transaction_hash },
            (Ran::Nothing | Ran::Executed { .. }, _) => Verdict::Undecryptable,
        };
        let (envelope_id, payer) = (item.envelope.id(), item.envelope.payer());
        out.outcomes.push(Outcome { envelope_id, payer, charge_wei, verdict });
    }
    out
}

/// The position of each forced item's envelope, if it has one. The order begins with those that the order rule took,
/// in the order of the queue, so an item whose envelope is not the next one was not taken.
fn forced_positions(items: &[ForcedItem], ordered: &[OpenedEnvelope]) -> Vec<Option<u32>> {
    let mut next = 0;
    let mut position = |item: &ForcedItem| {
        if item.kind() != Some(ForcedKind::Sealed) {
            return None;
        }
        let id = Envelope::decode(&item.data).ok()?.id();
        let at = next;
        (ordered.get(at)?.envelope.id() == id).then(|| next += 1)?;
        u32::try_from(at).ok()
    };
    items.iter().map(&mut position).collect()
}

/// The header of the block that came to these results.
pub(crate) fn header(
    facts: &BlockFacts,
    commitment: B256,
    parent_hash: B256,
    state_root: B256,
    results: &Results,
) -> Header {
    let receipts: Vec<_> = results.receipts.iter().map(Receipt::to_consensus).collect();
    let signed: Vec<_> = results.transactions.iter().map(Transaction::signed).collect();
    Header {
        parent_hash,
        state_root,
        transactions_root: calculate_transaction_root(&signed),
        receipts_root: calculate_receipt_root(&receipts),
        logs_bloom: receipts
            .iter()
            .fold(Default::default(), |bloom, receipt| bloom | receipt.logs_bloom),
        gas_used: results.gas_used,
        ..empty_header(facts, commitment)
    }
}

/// An executed height without its state root.
#[derive(Debug)]
pub(crate) struct Executed {
    pub(crate) facts: BlockFacts,
    pub(crate) commitment: B256,
    pub(crate) opening_root: B256,
    pub(crate) results: Results,
    pub(crate) diff: Arc<StateDiff>,
    pub(crate) access: Arc<AccessRecord>,
}

impl Executed {
    /// Computes the state root and makes the block.
    pub(crate) fn seal(self, parent: &ParentState) -> Result<ExecutedBlock, ExecutionError> {
        let Self { facts, commitment, opening_root, results, diff, access } = self;
        let height = facts.height;
        let Sealed { state_root, mut writes, watched } =
            seal(parent, &diff, height, ESCROW_ADDRESS, root_threads())?;
        let header = header(&facts, commitment, parent.tip().block_hash, state_root, &results);
        let Results { forced, transactions, receipts, outcomes, .. } = results;
        let tip = Tip {
            height,
            block_hash: header.hash_slow(),
            state_root,
            timestamp_s: facts.timestamp_s,
            base_fee_wei: facts.base_fee_wei,
        };
        writes.extend(escrow::history_writes(height, &watched));
        writes.extend(tip_writes(&tip));
        Ok(ExecutedBlock {
            record: Arc::new(BlockRecord {
                hash: tip.block_hash,
                header,
                commitment,
                transactions,
                receipts,
                outcomes,
                forced,
                opening_root,
                executed_root: executed_root(state_root, opening_root),
            }),
            layer: Arc::new(Layer { tip, writes: StateWrites::new(writes) }),
            diff,
            access,
        })
    }
}

/// Threads that compute a state root: one for each core, and no more than the root has subtries.
fn root_threads() -> usize {
    static THREADS: OnceLock<usize> = OnceLock::new();
    let cores = || std::thread::available_parallelism().map_or(1, NonZeroUsize::get);
    *THREADS.get_or_init(|| cores().min(MAX_ROOT_THREADS))
}
