//! One envelope after the other, on one core. The reference that faster executors must equal.

use std::sync::Arc;

use alloy_consensus::proofs::{calculate_receipt_root, calculate_transaction_root};
use alloy_consensus::{EMPTY_OMMER_ROOT_HASH, Header};
use alloy_eips::eip7685::EMPTY_REQUESTS_HASH;
use alloy_primitives::{B256, Bytes, U256, keccak256};
use alloy_trie::EMPTY_ROOT_HASH;
use revm::ExecuteEvm;
use revm::context::{ContextTr, JournalTr};
use revm::context_interface::result::{EVMError, ExecutionResult};
use revm::handler::MainnetContext;
use revm::{Database, MainnetEvm};

use blindfold_wire::{
    ChainParams, Genesis, OpenedBatch, OpenedEnvelope, Opening, SkipReason, executed_root, fees,
};

use super::{BlockFacts, DecodedAhead, Transaction, build, database, skip_reason};
use crate::block::{BlockRecord, ExecutedBlock, Outcome, Receipt, Verdict};
use crate::chain::tip_writes;
use crate::escrow::{self, ESCROW_ADDRESS};
use crate::executor::{BlockContext, ExecutionError, Executor};
use crate::state::{Finished, Layer, Overlay, ParentState, StateWrites, StoreError, Tip};

/// [`Executor`] without parallelism.
#[derive(Clone, Debug)]
pub struct SequentialExecutor {
    chain_id: u64,
    params: ChainParams,
    ahead: DecodedAhead,
}

impl SequentialExecutor {
    /// An executor for the chain of this genesis.
    #[must_use]
    pub fn new(genesis: &Genesis) -> Self {
        let chain_id = genesis.chain_id;
        Self { chain_id, params: genesis.params.clone(), ahead: DecodedAhead::new(chain_id) }
    }

    /// Has the executor use what was decoded while the height was still being opened. The blocks are
    /// the same with or without.
    #[must_use]
    pub fn with_decoded(mut self, ahead: DecodedAhead) -> Self {
        self.ahead = ahead;
        self
    }
}

impl Executor for SequentialExecutor {
    fn execute(
        &self,
        parent: &ParentState,
        batch: &OpenedBatch,
        context: &BlockContext,
    ) -> Result<ExecutedBlock, ExecutionError> {
        let commitment = batch.commitment();
        let digest = batch.certified().digest();
        let height = commitment.height;
        if Some(height) != parent.tip().height.checked_add(1) {
            return Err(ExecutionError::NotNext { height, tip: parent.tip().height });
        }
        let base_fee_wei = u64::try_from(commitment.base_fee)
            .map_err(|_| ExecutionError::BaseFeeRange { base_fee_wei: commitment.base_fee })?;
        let facts = BlockFacts {
            chain_id: self.chain_id,
            height,
            beneficiary: context.beneficiary,
            timestamp_s: commitment.timestamp_ms / 1_000,
            gas_limit: self.params.block_gas_limit,
            base_fee_wei,
            prev_randao: keccak256(digest),
        };

        let mut overlay = Overlay::new(parent.clone());
        let run = Run {
            params: &self.params,
            facts: &facts,
            ahead: &self.ahead,
            evm: build(&mut overlay, &facts, |_| {}),
            transactions: Vec::new(),
            receipts: Vec::new(),
            outcomes: Vec::with_capacity(batch.items().len()),
            gas_used: 0,
        };
        let Executed { transactions, receipts, outcomes, gas_used } = run.all(batch.items())?;
        let Finished { state_root, mut writes, watched } =
            overlay.finish(height, ESCROW_ADDRESS)?;

        let consensus_receipts: Vec<_> = receipts.iter().map(Receipt::to_consensus).collect();
        let signed: Vec<_> = transactions.iter().map(Transaction::signed).collect();
        let header = Header {
            parent_hash: parent.tip().block_hash,
            state_root,
            transactions_root: calculate_transaction_root(&signed),
            receipts_root: calculate_receipt_root(&consensus_receipts),
            logs_bloom: consensus_receipts
                .iter()
                .fold(Default::default(), |bloom, receipt| bloom | receipt.logs_bloom),
            gas_used,
            ..empty_header(&facts, digest)
        };
        let opening_root = batch.opening_root();
        let tip = Tip {
            height,
            block_hash: header.hash_slow(),
            state_root,
            timestamp_s: facts.timestamp_s,
            base_fee_wei,
        };
        writes.extend(escrow::history_writes(height, &watched));
        writes.extend(tip_writes(&tip));
        Ok(ExecutedBlock {
            record: Arc::new(BlockRecord {
                hash: tip.block_hash,
                header,
                commitment: digest,
                transactions,
                receipts,
                outcomes,
                opening_root,
                executed_root: executed_root(state_root, opening_root),
            }),
            layer: Arc::new(Layer { tip, writes: StateWrites::new(writes) }),
        })
    }
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
        mix_hash: facts.prev_randao,
        base_fee_per_gas: Some(facts.base_fee_wei),
        withdrawals_root: Some(EMPTY_ROOT_HASH),
        blob_gas_used: Some(0),
        excess_blob_gas: Some(0),
        parent_beacon_block_root: Some(B256::ZERO),
        requests_hash: Some(EMPTY_REQUESTS_HASH),
        ..Header::default()
    }
}

struct Executed {
    transactions: Vec<Transaction>,
    receipts: Vec<Receipt>,
    outcomes: Vec<Outcome>,
    gas_used: u64,
}

/// A block being executed.
struct Run<'a, DB: Database> {
    params: &'a ChainParams,
    facts: &'a BlockFacts,
    ahead: &'a DecodedAhead,
    evm: MainnetEvm<MainnetContext<DB>>,
    transactions: Vec<Transaction>,
    receipts: Vec<Receipt>,
    outcomes: Vec<Outcome>,
    gas_used: u64,
}

impl<'a> Run<'a, &'a mut Overlay> {
    fn overlay(&mut self) -> &mut Overlay {
        self.evm.ctx.journal_mut().db_mut()
    }

    fn all(mut self, items: &[OpenedEnvelope]) -> Result<Executed, ExecutionError> {
        for item in items {
            let outcome = self.envelope(item)?;
            self.outcomes.push(outcome);
        }
        Ok(Executed {
            transactions: self.transactions,
            receipts: self.receipts,
            outcomes: self.outcomes,
            gas_used: self.gas_used,
        })
    }

    /// Protocol §6, per envelope: charge, open, execute, settle.
    fn envelope(&mut self, item: &OpenedEnvelope) -> Result<Outcome, ExecutionError> {
        let header = item.envelope.header();
        let payer = item.envelope.payer();
        let size_bytes = item.envelope.size_bytes();
        let base_fee = u128::from(self.facts.base_fee_wei);
        let params = self.params;
        let charge = |used_gas| fees::charge(params, header, size_bytes, base_fee, used_gas);

        let due_wei = charge(0);
        let taken_wei = escrow::take(self.overlay(), payer, due_wei)?;
        if taken_wei < due_wei {
            // The order rule makes this impossible; say so rather than stop the chain.
            tracing::error!(
                target: "blindfold::execution",
                height = self.facts.height,
                %payer,
                %due_wei,
                %taken_wei,
                "escrow does not cover an ordered envelope"
            );
        }
        escrow::advance_nonce(self.overlay(), payer, header.payer_nonce.saturating_add(1))?;

        let (verdict, used_gas) = match &item.opening {
            Opening::Undecryptable { .. } => (Verdict::Undecryptable, 0),
            Opening::Opened { message, .. } => self.message(message, header.gas_limit)?,
        };

        let beneficiary = self.facts.beneficiary;
        let charge_wei = charge(used_gas);
        let charge_wei = escrow::settle(self.overlay(), payer, taken_wei, charge_wei, beneficiary)?;
        Ok(Outcome { envelope_id: item.envelope.id(), payer, charge_wei, verdict })
    }

    /// Runs an opened message; returns what became of it and the gas it used.
    fn message(
        &mut self,
        message: &[u8],
        gas_class: u64,
    ) -> Result<(Verdict, u64), ExecutionError> {
        let skipped = |reason, transaction_hash| Verdict::Skipped { reason, transaction_hash };
        let transaction = match self.ahead.take(message, gas_class) {
            Ok(transaction) => transaction,
            Err(reason) => return Ok((skipped(reason, None), 0)),
        };
        let hash = transaction.hash();
        // Classes of a height never add up to more than the block holds; stay within it anyway.
        let room = self.facts.gas_limit.saturating_sub(self.gas_used);
        if transaction.tx_env().gas_limit > room {
            return Ok((skipped(SkipReason::GasAboveClass, Some(hash)), 0));
        }
        let result = match self.evm.transact(transaction.tx_env()) {
            Ok(result) => result,
            Err(EVMError::Transaction(invalid)) => {
                return Ok((skipped(skip_reason(&invalid), Some(hash)), 0));
            }
            Err(EVMError::Database(error)) => return Err(error.into()),
            Err(error) => return Err(evm_error(&error)),
        };
        database::commit(self.overlay(), result.state)?;

        let used_gas = result.result.tx_gas_used();
        self.gas_used = self.gas_used.saturating_add(used_gas);
        let success = result.result.is_success();
        let logs = match result.result {
            ExecutionResult::Success { logs, .. } => logs,
            // A failed transaction's logs are undone with everything else it did.
            _ => Vec::new(),
        };
        let transaction_index = u32::try_from(self.transactions.len()).unwrap_or(u32::MAX);
        self.receipts.push(Receipt {
            tx_type: transaction.tx_type(),
            success,
            gas_used: used_gas,
            cumulative_gas_used: self.gas_used,
            effective_gas_price_wei: transaction.effective_gas_price(self.facts.base_fee_wei),
            contract_address: transaction.created_address(),
            logs,
        });
        self.transactions.push(transaction);
        Ok((Verdict::Executed { transaction_index, transaction_hash: hash, success }, used_gas))
    }
}

fn evm_error(error: &EVMError<StoreError>) -> ExecutionError {
    ExecutionError::Evm(error.to_string())
}
