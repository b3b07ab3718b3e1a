//! `eth_getLogs`: a bounded scan, block by block, that skips by bloom filter.

use alloy_rpc_types_eth::{BlockNumberOrTag, Filter, FilterBlockOption, Log};
use jsonrpsee::{RpcModule, core::RegisterMethodError};

use super::{
    convert, errors,
    server::{Answer, Context, read},
};

pub(crate) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    read(module, "eth_getLogs", |context, params| get_logs(context, &params.sequence().next()?))
}

fn get_logs(context: &Context, filter: &Filter) -> Answer<Vec<Log>> {
    let Some((from, to)) = range(context, filter)? else { return Ok(Vec::new()) };
    let most = context.limits.max_log_blocks;
    if to - from >= most {
        return Err(errors::limit_exceeded(format!("at most {most} blocks a query; ask in parts")));
    }
    let mut found = Vec::new();
    for height in from..=to {
        let Some(header) = context.api.header(height)? else { break };
        if !filter.matches_bloom(header.header.logs_bloom) {
            continue;
        }
        let Some(view) = context.api.block(height)? else { break };
        found.extend(convert::matching_logs(&view, filter));
        let most = context.limits.max_log_results;
        if found.len() > most {
            return Err(errors::limit_exceeded(format!(
                "more than {most} logs; ask for fewer blocks"
            )));
        }
    }
    Ok(found)
}

/// Inclusive range of executed heights that a filter asks for; `None` if it is empty.
fn range(context: &Context, filter: &Filter) -> Answer<Option<(u64, u64)>> {
    let head = context.api.head().executed_height;
    let height = |at: Option<BlockNumberOrTag>| match at {
        Some(BlockNumberOrTag::Earliest) => 0,
        Some(BlockNumberOrTag::Number(number)) => number,
        _ => head,
    };
    match filter.block_option {
        FilterBlockOption::AtBlockHash(hash) => {
            let height = context.api.height_of(hash)?.ok_or_else(errors::block_not_found)?;
            Ok(Some((height, height)))
        }
        FilterBlockOption::Range { from_block, to_block } => {
            let (from, to) = (height(from_block), height(to_block));
            if from > to && to_block.is_some() {
                return Err(errors::invalid_params("fromBlock is above toBlock"));
            }
            Ok((from <= head).then_some((from, to.min(head))))
        }
    }
}
