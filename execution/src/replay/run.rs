//! From a block to what the engines run, and back.

use std::sync::Arc;

use alloy_consensus::TxType;
use alloy_eips::eip2935::HISTORY_STORAGE_ADDRESS;
use alloy_eips::eip4788::BEACON_ROOTS_ADDRESS;
use alloy_primitives::{Address, B256, Bytes, TxKind};
use blindfold_wire::{ChainParams, SkipReason};
use revm::context::TxEnv;
use revm::context_interface::either::Either;

use super::{Fork, ReplayBlock, ReplayOutcome, ReplayReceipt, ReplayTransaction};
use crate::evm::{self, BlockFacts, Body, CodeCache, Finished, InOrder, Job, Ran, Run};
use crate::executor::ExecutionError;
use crate::state::{Overlay, StateView};

/// Runs a block on an engine.
pub(super) fn run(
    block: &ReplayBlock,
    state: &Arc<dyn StateView>,
    engine: &dyn evm::Engine,
) -> Result<ReplayOutcome, ExecutionError> {
    let facts = facts(block);
    // Only charges ask for parameters, and here nobody is charged.
    let params = Arc::new(ChainParams::default());
    let overlay = system_calls(block, &facts, &params, state)?;
    let jobs = block.transactions.iter().map(|tx| Job { body: body(tx), charge: None }).collect();
    let Finished { results, diff, .. } =
        engine.run(Run { params, facts, overlay, gas_used: 0 }, jobs)?;

    let mut outcome = ReplayOutcome { diff, ..ReplayOutcome::default() };
    for (index, (result, transaction)) in results.into_iter().zip(&block.transactions).enumerate() {
        match result.ran {
            Ran::Executed { success, gas_used, logs } => {
                outcome.gas_used = outcome.gas_used.saturating_add(gas_used);
                outcome.receipts.push(ReplayReceipt {
                    tx_type: transaction.tx_type,
                    success,
                    gas_used,
                    cumulative_gas_used: outcome.gas_used,
                    logs,
                });
            }
            Ran::Skipped(reason) => outcome.skipped.push((index, reason)),
            Ran::Nothing => {}
        }
    }
    Ok(outcome)
}

fn facts(block: &ReplayBlock) -> BlockFacts {
    BlockFacts {
        spec: block.fork.spec(),
        chain_id: block.chain_id,
        height: block.number,
        beneficiary: block.beneficiary,
        timestamp_s: block.timestamp_s,
        gas_limit: block.gas_limit,
        base_fee_wei: block.base_fee_wei,
        difficulty: block.difficulty,
        prev_randao: (block.fork >= Fork::Paris).then_some(block.prev_randao),
        excess_blob_gas: match block.fork >= Fork::Cancun {
            true => Some(block.excess_blob_gas.unwrap_or_default()),
            false => None,
        },
        blob_update_fraction: Some(block.blob_update_fraction),
    }
}

/// The overlay to begin with: with the system calls that come before the first transaction, where their
/// contracts are.
fn system_calls(
    block: &ReplayBlock,
    facts: &BlockFacts,
    params: &Arc<ChainParams>,
    state: &Arc<dyn StateView>,
) -> Result<Overlay, ExecutionError> {
    let beacon = block.parent_beacon_block_root.filter(|_| block.fork >= Fork::Cancun);
    let history = (block.fork >= Fork::Prague).then_some(block.parent_hash);
    let calls = [(BEACON_ROOTS_ADDRESS, beacon), (HISTORY_STORAGE_ADDRESS, history)];
    let mut due: Vec<(Address, B256)> = Vec::new();
    for (contract, input) in calls {
        let account = state.account(contract)?;
        if let Some(input) = input.filter(|_| account.is_some_and(|account| account.has_code())) {
            due.push((contract, input));
        }
    }
    let mut overlay = Overlay::new(Arc::clone(state));
    overlay.follow(facts.spec);
    if due.is_empty() {
        return Ok(overlay);
    }
    let mut in_order = InOrder::new(Arc::clone(params), *facts, overlay, CodeCache::default(), 0);
    for (contract, input) in due {
        in_order.system_call(contract, Bytes::copy_from_slice(input.as_slice()))?;
    }
    Ok(in_order.into_parts().0)
}

fn body(transaction: &ReplayTransaction) -> Body {
    // These types have no encoding without a target, so the EVM does not look at it.
    match (transaction.tx_type, transaction.to) {
        (TxType::Eip4844 | TxType::Eip7702, TxKind::Create) => Body::Skip(SkipReason::Invalid),
        _ => Body::Run(Box::new(tx_env(transaction))),
    }
}

fn tx_env(transaction: &ReplayTransaction) -> TxEnv {
    TxEnv {
        tx_type: transaction.tx_type as u8,
        caller: transaction.sender,
        gas_limit: transaction.gas_limit,
        gas_price: transaction.max_fee_per_gas_wei,
        kind: transaction.to,
        value: transaction.value_wei,
        data: transaction.input.clone(),
        nonce: transaction.nonce,
        chain_id: transaction.chain_id,
        access_list: transaction.access_list.clone(),
        gas_priority_fee: transaction.max_priority_fee_per_gas_wei,
        blob_hashes: transaction.blob_versioned_hashes.clone(),
        max_fee_per_blob_gas: transaction.max_fee_per_blob_gas_wei,
        authorization_list: transaction
            .authorization_list
            .iter()
            .cloned()
            .map(Either::Left)
            .collect(),
    }
}
