//! `eth_gasPrice`, `eth_maxPriorityFeePerGas`, `eth_feeHistory`.
//!
//! All figures are about executed blocks and the next height to be ordered. The base fee follows
//! the *reserved* gas of ordered heights, so `gasUsedRatio` alone does not explain its course.

use std::sync::Arc;

use alloy_consensus::Transaction as _;
use alloy_primitives::{U64, U128};
use alloy_rpc_types_eth::{BlockNumberOrTag, FeeHistory};
use jsonrpsee::{RpcModule, core::RegisterMethodError};

use super::{
    api::BlockView,
    errors,
    server::{Answer, Context, read},
};

/// Blocks that one `eth_feeHistory` looks at; more are cut off, as Ethereum clients do.
pub(crate) const MAX_FEE_HISTORY_BLOCKS: u64 = 1024;
/// Blocks it looks at when rewards are asked for, which takes whole blocks.
pub(crate) const MAX_FEE_HISTORY_REWARD_BLOCKS: u64 = 128;
/// Percentiles that one `eth_feeHistory` may ask for.
pub(crate) const MAX_FEE_HISTORY_PERCENTILES: usize = 100;

pub(crate) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    read(module, "eth_gasPrice", |context, _| {
        let head = context.api.head();
        Ok(U128::from(head.next_base_fee_wei.saturating_add(head.suggested_priority_fee_wei)))
    })?;
    read(module, "eth_maxPriorityFeePerGas", |context, _| {
        Ok(U128::from(context.api.head().suggested_priority_fee_wei))
    })?;
    read(module, "eth_feeHistory", |context, params| {
        let mut params = params.sequence();
        let (count, newest): (U64, BlockNumberOrTag) = (params.next()?, params.next()?);
        let percentiles: Option<Vec<f64>> = params.optional_next()?;
        fee_history(context, count.to(), newest, percentiles)
    })
}

fn fee_history(
    context: &Context,
    count: u64,
    newest: BlockNumberOrTag,
    percentiles: Option<Vec<f64>>,
) -> Answer<FeeHistory> {
    let percentiles = percentiles.unwrap_or_default();
    check_percentiles(&percentiles)?;
    let newest = context.resolve(newest.into())?.ok_or_else(errors::block_not_found)?;
    let most =
        if percentiles.is_empty() { MAX_FEE_HISTORY_BLOCKS } else { MAX_FEE_HISTORY_REWARD_BLOCKS };
    let count = count.min(most).min(newest + 1);
    if count == 0 {
        return Ok(FeeHistory::default());
    }
    let oldest = newest + 1 - count;
    let mut history = FeeHistory { oldest_block: oldest, ..Default::default() };
    let mut rewards = Vec::new();
    for height in oldest..=newest {
        let header = context.api.header(height)?.ok_or_else(errors::block_not_found)?.header;
        history.base_fee_per_gas.push(header.base_fee_per_gas.unwrap_or_default().into());
        history.base_fee_per_blob_gas.push(0);
        history.blob_gas_used_ratio.push(0.0);
        history.gas_used_ratio.push(header.gas_used as f64 / header.gas_limit.max(1) as f64);
        if !percentiles.is_empty() {
            let view = context.api.block(height)?.ok_or_else(errors::block_not_found)?;
            rewards.push(block_rewards(&view, &percentiles));
        }
    }
    let next = match context.api.header(newest + 1)? {
        Some(header) => header.header.base_fee_per_gas.unwrap_or_default().into(),
        None => context.api.head().next_base_fee_wei,
    };
    history.base_fee_per_gas.push(next);
    history.base_fee_per_blob_gas.push(0);
    history.reward = (!percentiles.is_empty()).then_some(rewards);
    Ok(history)
}

fn check_percentiles(percentiles: &[f64]) -> Answer<()> {
    if percentiles.len() > MAX_FEE_HISTORY_PERCENTILES {
        return Err(errors::limit_exceeded(format!(
            "at most {MAX_FEE_HISTORY_PERCENTILES} percentiles"
        )));
    }
    let in_range = percentiles.iter().all(|percentile| (0.0..=100.0).contains(percentile));
    if !in_range || !percentiles.is_sorted() {
        return Err(errors::invalid_params("percentiles must rise from 0 to 100"));
    }
    Ok(())
}

/// Effective priority fees at the percentiles of the gas used.
fn block_rewards(view: &Arc<BlockView>, percentiles: &[f64]) -> Vec<u128> {
    let base_fee = view.header.base_fee_per_gas.unwrap_or_default();
    let mut paid: Vec<(u128, u64)> = view
        .transactions
        .iter()
        .map(|executed| {
            let tip = executed.transaction.effective_tip_per_gas(base_fee).unwrap_or_default();
            (tip, executed.gas_used)
        })
        .collect();
    paid.sort_unstable();
    let total: u64 = paid.iter().map(|(_, gas)| gas).sum();
    percentiles
        .iter()
        .map(|percentile| {
            let threshold = (total as f64 * percentile / 100.0) as u64;
            let mut seen = 0u64;
            let at = paid.iter().find(|(_, gas)| {
                seen = seen.saturating_add(*gas);
                seen >= threshold
            });
            at.map_or(0, |(tip, _)| *tip)
        })
        .collect()
}
