//! `eth_*`: chain, blocks, transactions, accounts, calls.

use std::sync::Arc;

use alloy_primitives::{Address, B256, Bytes, TxKind, U64, U256};
use alloy_rpc_types_eth::{
    Block, BlockId, BlockNumberOrTag, Index, SyncInfo, SyncStatus, Transaction, TransactionReceipt,
    TransactionRequest,
};
use alloy_serde::JsonStorageKey;
use jsonrpsee::{RpcModule, core::RegisterMethodError, types::params::ParamsSequence};
use serde_json::Value;

use super::{
    api::{BlockView, CallOutcome, CallRequest, NodeApi, ReadError, Readiness},
    convert, errors,
    server::{Answer, Context, read},
};

/// Storage slots that one `eth_getProof` may ask for.
pub(crate) const MAX_PROOF_SLOTS: usize = 256;

/// How often a read of the newest state follows a head that moves on under it.
const MAX_HEAD_TRIES: u32 = 8;

/// Methods that would carry a plaintext transaction. They are refused without a look at their
/// parameters.
const PLAINTEXT_METHODS: [&str; 3] =
    ["eth_sendRawTransaction", "eth_sendRawTransactionSync", "eth_sendTransaction"];

pub(crate) fn register(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    chain(module)?;
    blocks(module)?;
    transactions(module)?;
    accounts(module)?;
    calls(module)
}

fn chain(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    read(module, "eth_chainId", |context, _| Ok(U64::from(context.api.genesis().chain_id)))?;
    read(module, "eth_blockNumber", |context, _| {
        Ok(U64::from(context.api.head().executed_height))
    })?;
    read(module, "eth_syncing", |context, _| {
        Ok(match context.api.readiness() {
            Readiness::Syncing { started_at, current, highest } => {
                SyncStatus::Info(Box::new(SyncInfo {
                    starting_block: U256::from(started_at),
                    current_block: U256::from(current),
                    highest_block: U256::from(highest),
                    ..Default::default()
                }))
            }
            Readiness::Ready | Readiness::NotReady(_) => SyncStatus::None,
        })
    })?;
    read(module, "eth_accounts", |_, _| Ok(Vec::<Address>::new()))?;
    for name in PLAINTEXT_METHODS {
        module
            .register_method(name, |_, _, _| -> Answer<()> { Err(errors::plaintext_refused()) })?;
    }
    Ok(())
}

fn blocks(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    read(module, "eth_getBlockByNumber", |context, params| -> Answer<Option<Block>> {
        let mut params = params.sequence();
        let (number, full): (BlockNumberOrTag, bool) = (params.next()?, optional(&mut params)?);
        let view = context.find_block(number.into())?;
        Ok(view.map(|view| convert::block(&view, full)))
    })?;
    read(module, "eth_getBlockByHash", |context, params| -> Answer<Option<Block>> {
        let mut params = params.sequence();
        let (hash, full): (B256, bool) = (params.next()?, optional(&mut params)?);
        let view = context.find_block(hash.into())?;
        Ok(view.map(|view| convert::block(&view, full)))
    })?;
    read(module, "eth_getBlockTransactionCountByNumber", |context, params| {
        let number: BlockNumberOrTag = params.sequence().next()?;
        let view = context.find_block(number.into())?;
        Ok(view.map(|view| U64::from(view.transactions.len())))
    })?;
    read(module, "eth_getBlockTransactionCountByHash", |context, params| {
        let hash: B256 = params.sequence().next()?;
        let view = context.find_block(hash.into())?;
        Ok(view.map(|view| U64::from(view.transactions.len())))
    })?;
    read(module, "eth_getBlockReceipts", |context, params| {
        let at: BlockId = params.sequence().next()?;
        let view = context.find_block(at)?;
        Ok(view.map(|view| -> Vec<TransactionReceipt> {
            (0..view.transactions.len()).filter_map(|at| convert::receipt(&view, at)).collect()
        }))
    })
}

fn transactions(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    read(module, "eth_getTransactionByHash", |context, params| -> Answer<Option<Transaction>> {
        let hash = params.sequence().next()?;
        let place = context.find_transaction(hash)?;
        Ok(place.and_then(|(view, index)| convert::transaction(&view, index)))
    })?;
    read(module, "eth_getTransactionReceipt", |context, params| {
        let hash = params.sequence().next()?;
        let place = context.find_transaction(hash)?;
        Ok(place.and_then(|(view, index)| convert::receipt(&view, index)))
    })?;
    read(module, "eth_getTransactionByBlockNumberAndIndex", |context, params| {
        let mut params = params.sequence();
        let (number, index): (BlockNumberOrTag, Index) = (params.next()?, params.next()?);
        let view = context.find_block(number.into())?;
        Ok(view.and_then(|view| convert::transaction(&view, index.into())))
    })?;
    read(module, "eth_getTransactionByBlockHashAndIndex", |context, params| {
        let mut params = params.sequence();
        let (hash, index): (B256, Index) = (params.next()?, params.next()?);
        let view = context.find_block(hash.into())?;
        Ok(view.and_then(|view| convert::transaction(&view, index.into())))
    })
}

fn accounts(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    read(module, "eth_getBalance", |context, params| {
        let mut params = params.sequence();
        let address = params.next()?;
        let account =
            context.on_state(&mut params, |height| context.api.account(height, address))?;
        Ok(account.balance)
    })?;
    read(module, "eth_getTransactionCount", |context, params| {
        let mut params = params.sequence();
        let address = params.next()?;
        let account =
            context.on_state(&mut params, |height| context.api.account(height, address))?;
        Ok(U64::from(account.nonce))
    })?;
    read(module, "eth_getCode", |context, params| {
        let mut params = params.sequence();
        let address = params.next()?;
        context.on_state(&mut params, |height| context.api.code(height, address))
    })?;
    read(module, "eth_getStorageAt", |context, params| {
        let mut params = params.sequence();
        let (address, slot): (Address, JsonStorageKey) = (params.next()?, params.next()?);
        context.on_state(&mut params, |height| context.api.storage(height, address, slot.as_b256()))
    })?;
    read(module, "eth_getProof", |context, params| {
        let mut params = params.sequence();
        let (address, keys): (Address, Vec<JsonStorageKey>) = (params.next()?, params.next()?);
        if keys.len() > MAX_PROOF_SLOTS {
            return Err(errors::limit_exceeded(format!("at most {MAX_PROOF_SLOTS} slots a proof")));
        }
        let slots: Vec<B256> = keys.iter().map(JsonStorageKey::as_b256).collect();
        let mut proof =
            context.on_state(&mut params, |height| context.api.proof(height, address, &slots))?;
        // A client looks for the keys in the form in which it gave them.
        for (slot, key) in proof.storage_proof.iter_mut().zip(&keys) {
            slot.key = *key;
        }
        Ok(proof)
    })
}

fn calls(module: &mut RpcModule<Context>) -> Result<(), RegisterMethodError> {
    read(module, "eth_call", |context, params| -> Answer<Bytes> {
        let mut params = params.sequence();
        let request = call_request(params.next()?, context.limits.call_gas_cap)?;
        let at = params.optional_next()?;
        no_overrides(&mut params)?;
        match context.on_state_at(at, |height| context.api.call(height, request.clone()))? {
            CallOutcome::Returned(data) => Ok(data),
            failed => Err(errors::call_failed(failed)),
        }
    })?;
    read(module, "eth_estimateGas", |context, params| -> Answer<U64> {
        let mut params = params.sequence();
        let request = call_request(params.next()?, context.limits.call_gas_cap)?;
        let at = params.optional_next()?;
        no_overrides(&mut params)?;
        match context.on_state_at(at, |height| {
            context.api.estimate_gas(height, affordable(&*context.api, height, request.clone())?)
        })? {
            Ok(gas) => Ok(U64::from(gas)),
            Err(failed) => Err(errors::call_failed(failed)),
        }
    })
}

/// The fields of an RPC call object that this chain understands. Nonce and chain id are ignored,
/// as Ethereum clients ignore them for calls.
pub(crate) fn call_request(request: TransactionRequest, gas_cap: u64) -> Answer<CallRequest> {
    if request.blob_versioned_hashes.is_some() || request.max_fee_per_blob_gas.is_some() {
        return Err(errors::invalid_params("blob transactions do not exist on this chain"));
    }
    let input = request
        .input
        .try_into_unique_input()
        .map_err(|_| errors::invalid_params("`data` and `input` differ"))?;
    let to = match request.to {
        Some(TxKind::Call(to)) => Some(to),
        Some(TxKind::Create) | None => None,
    };
    Ok(CallRequest {
        from: request.from.unwrap_or_default(),
        to,
        gas_limit: request.gas.unwrap_or(gas_cap).min(gas_cap),
        gas_price_wei: request.gas_price.or(request.max_fee_per_gas).unwrap_or_default(),
        value: request.value.unwrap_or_default(),
        input: input.unwrap_or_default(),
        access_list: request.access_list.unwrap_or_default(),
        authorization_list: request.authorization_list.unwrap_or_default(),
    })
}

/// Cuts the gas limit to what the caller can pay for. Wallets name their fees when they estimate, and
/// few accounts could pay them for the whole cap.
pub(crate) fn affordable(
    api: &dyn NodeApi,
    height: u64,
    mut call: CallRequest,
) -> Result<CallRequest, ReadError> {
    if call.gas_price_wei > 0 {
        let balance = api.account(height, call.from)?.balance;
        // One that cannot pay the value fails on that, and says so.
        if let Some(left) = balance.checked_sub(call.value) {
            let gas = left / U256::from(call.gas_price_wei);
            call.gas_limit = call.gas_limit.min(u64::try_from(gas).unwrap_or(u64::MAX));
        }
    }
    Ok(call)
}

/// Refuses state and block overrides instead of ignoring them.
fn no_overrides(params: &mut ParamsSequence<'_>) -> Answer<()> {
    for _ in 0..2 {
        let given: Option<Value> = params.optional_next()?;
        if given.is_some_and(|value| !value.is_null() && value != Value::Object(Default::default()))
        {
            return Err(errors::invalid_params("state and block overrides are not supported"));
        }
    }
    Ok(())
}

/// The next parameter, or its default if absent or null.
fn optional<T: Default + serde::de::DeserializeOwned>(
    params: &mut ParamsSequence<'_>,
) -> Answer<T> {
    Ok(params.optional_next::<T>()?.unwrap_or_default())
}

impl Context {
    /// Reads the state after the block that the next parameter names; `latest` if absent.
    fn on_state<T>(
        &self,
        params: &mut ParamsSequence<'_>,
        read: impl Fn(u64) -> Result<T, ReadError>,
    ) -> Answer<T> {
        self.on_state_at(params.optional_next()?, read)
    }

    /// Reads the state after a block; `latest` if absent.
    ///
    /// The chain may grow between finding out what the newest height is and reading its state. Where
    /// a tag was asked for, that is no error: it means a newer height by now.
    pub(crate) fn on_state_at<T>(
        &self,
        at: Option<BlockId>,
        read: impl Fn(u64) -> Result<T, ReadError>,
    ) -> Answer<T> {
        let at = at.unwrap_or_default();
        let follows_head = !matches!(
            at,
            BlockId::Hash(_)
                | BlockId::Number(BlockNumberOrTag::Number(_) | BlockNumberOrTag::Earliest)
        );
        let mut tries_left = if follows_head { MAX_HEAD_TRIES } else { 1 };
        loop {
            let height = self.resolve(at)?.ok_or_else(errors::block_not_found)?;
            tries_left -= 1;
            match read(height) {
                Err(ReadError::HistoryUnavailable { .. }) if tries_left > 0 => {}
                answer => return Ok(answer?),
            }
        }
    }

    /// Executed height that a block id names, if there is one.
    pub(crate) fn resolve(&self, at: BlockId) -> Answer<Option<u64>> {
        let head = self.api.head().executed_height;
        match at {
            BlockId::Hash(hash) => Ok(self.api.height_of(hash.block_hash)?),
            BlockId::Number(BlockNumberOrTag::Earliest) => Ok(Some(0)),
            BlockId::Number(BlockNumberOrTag::Number(number)) => {
                Ok((number <= head).then_some(number))
            }
            // What is executed is final, so the other tags name the same height.
            BlockId::Number(_) => Ok(Some(head)),
        }
    }

    /// Block that a block id names, if there is one.
    pub(crate) fn find_block(&self, at: BlockId) -> Answer<Option<Arc<BlockView>>> {
        match self.resolve(at)? {
            Some(height) => Ok(self.api.block(height)?),
            None => Ok(None),
        }
    }

    /// Block and index of an executed transaction.
    pub(crate) fn find_transaction(&self, hash: B256) -> Answer<Option<(Arc<BlockView>, usize)>> {
        let Some(place) = self.api.transaction_location(hash)? else { return Ok(None) };
        let view = self.api.block(place.height)?;
        Ok(view.map(|view| (view, place.index as usize)))
    }
}
