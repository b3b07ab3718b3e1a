//! What auditors read: witnesses, access lists, and blocks to be executed again.

use alloy_primitives::U64;
use alloy_rpc_types_eth::{BlockId, BlockNumberOrTag};
use blindfold_execution::witness::{ExecutionWitness, ReplayFile};
use jsonrpsee::{RpcModule, core::RegisterMethodError};

use super::{
    errors,
    server::{Answer, Context, read},
};

pub(crate) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    read(module, "debug_executionWitness", |context, params| -> Answer<ExecutionWitness> {
        let height = executed_height(context, params.sequence().next()?)?;
        context.api.witness(height)?.ok_or_else(errors::block_not_found)
    })?;
    read(module, "debug_replayFile", |context, params| -> Answer<ReplayFile> {
        let height = params.sequence().next::<U64>()?.to();
        let height = executed_height(context, BlockNumberOrTag::Number(height).into())?;
        context.api.replay_file(height)?.ok_or_else(errors::block_not_found)
    })?;
    read(module, "eth_getBlockAccessList", |context, params| {
        let Some(height) = context.resolve(params.sequence().next::<BlockId>()?)? else {
            return Ok(None);
        };
        Ok(context.api.access_list(height)?.map(|list| list.accounts().to_vec()))
    })
}

/// The height of a block that was executed: neither the genesis block, nor one that is still being made.
fn executed_height(context: &Context, at: BlockId) -> Answer<u64> {
    if at == BlockId::Number(BlockNumberOrTag::Pending) {
        return Err(errors::invalid_params("a pending block has no witness"));
    }
    match context.resolve(at)? {
        None => Err(errors::block_not_found()),
        Some(0) => Err(errors::invalid_params("the genesis block was not executed")),
        Some(height) => Ok(height),
    }
}
